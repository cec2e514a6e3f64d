"""A server that a module's tests share, and one of a test's own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.simulators.fts_client import Fts, make_home


@pytest.fixture(scope="module")
def fts() -> Iterator[Fts]:
    """One fts1 for all tests of a module; its own steps are quick."""
    place = Path(tempfile.mkdtemp(prefix="dmf-", dir="/tmp"))
    server = Fts(make_home(place / "home")).start("--staging", 0.05, "--archiving", 0.05, "--retry-delay", 0.05)
    yield server
    server.stop()
    shutil.rmtree(place)


@pytest.fixture
def own_fts(short_tmp: Path) -> Iterator[Callable[..., Fts]]:
    """`own_fts("--instant")` starts a server in the test's own HOME; it may be killed and started again."""
    home = make_home(short_tmp / "home")
    servers: list[Fts] = []

    def start(*options: object, name: str = "fts1") -> Fts:
        servers.append(Fts(home, name).start(*options))
        return servers[-1]

    yield start
    for server in servers:
        if server.process and server.process.poll() is None:
            server.stop()
