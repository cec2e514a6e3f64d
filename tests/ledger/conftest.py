"""A ledger of each kind: sqlite, and a real MariaDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dmtools import settings
from dmtools.ledger import Ledger, open_ledger, schema

KINDS = ["sqlite", pytest.param("mariadb", marks=pytest.mark.needs("mariadb"))]


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    return f"sqlite:///{tmp_path}/d.db" if request.param == "sqlite" else str(request.getfixturevalue("mariadb"))


def settings_for(url: str, home: Path, busy_seconds: int = 30) -> settings.Settings:
    return settings.parse(f'[database]\nurl = "{url}"\nbusy_seconds = {busy_seconds}\n', home=home, file=None)


@pytest.fixture
def opened(url: str, tmp_path: Path) -> Iterator[Callable[..., Ledger]]:
    """Opens the database, as often as it is called."""
    made: list[Ledger] = []

    def open_it(*, check: bool = True, busy_seconds: int = 30) -> Ledger:
        made.append(open_ledger(settings_for(url, tmp_path, busy_seconds), check=check))
        return made[-1]

    yield open_it
    for ledger in made:
        ledger.close()


@pytest.fixture
def ledger(opened: Callable[..., Ledger]) -> Ledger:
    """A database with its tables."""
    found = opened(check=False)
    schema.upgrade(found)
    return found
