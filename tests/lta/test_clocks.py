"""The database's clock alone says when a claim is over: ends whose clocks are an hour apart don't take each other's work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools.ledger import open_ledger
from dmtools.settings import load
from tests.lta.bookkeeping import add, again, direct, take
from tests.support import ROOT, Result, environment

CLAIM = """
import sys
from pathlib import Path
from dmtools.settings import load
from tests.lta.bookkeeping import direct, take
print(len(take(direct(Path(sys.argv[1])), "Untouched", holder="wrong clock")))
"""


def _ahead(seconds: int, home: Path) -> dict[str, str]:
    return environment(home, {"DMTOOLS_CLOCK_OFFSET": str(seconds), "PYTHONPATH": str(ROOT)})


@pytest.mark.needs("mariadb")
def test_a_host_whose_clock_is_an_hour_ahead_takes_nothing_that_is_claimed(
    home: Path, mariadb: str, run: Callable[..., Result]
) -> None:
    file = home / "dmtools.toml"
    file.write_text(f'{file.read_text()}\n[database]\nurl = "{mariadb}"\n')
    run("dm-db", "upgrade", home=home).ok()
    books = direct(home, open_ledger(load(None, home)))
    add(books)
    held = take(books, "Untouched", seconds=600)[0]
    for offset in (3600, -3600):
        asked = [sys.executable, "-c", CLAIM, str(home)]
        done = subprocess.run(asked, env=_ahead(offset, home), cwd=ROOT, capture_output=True, text=True)
        assert done.stdout.strip() == "0", done.stderr
    assert again(books, held) == held
