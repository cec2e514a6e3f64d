"""lta-rest-server, killed or failed at a system call under clients that go on: nothing lost, nothing doubled, nothing given up.

All points: bench/lta_sweep.py server.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import lta_server, sweep
from tests.faults.calls import NO_MORE
from tests.faults.conftest import prepared
from tests.faults.lta_server import BY_NAME, ServerMachine
from tests.faults.test_kill_sweep import table

pytestmark = pytest.mark.needs("strace")
SEED = 20261128
FAULTS = {"signal=KILL": 2, "error=ENOSPC": 1, "error=EIO": 1}  # and how many points


@pytest.fixture
def machine(tree: Path) -> Iterator[ServerMachine]:
    yield from prepared(tree, ServerMachine, lta_server.prepare)


def test_a_server_that_dies_or_fails_anywhere_under_its_clients_loses_and_doubles_nothing(machine: ServerMachine) -> None:
    found = [call for call in lta_server.points(machine, BY_NAME["server"]) if call.subject != NO_MORE]
    rows = [
        lta_server.run(machine, BY_NAME["server"], call, fault)
        for number, (fault, n) in enumerate(FAULTS.items())
        for call in sweep.sample(found, n, SEED + number)
    ]
    assert [row for row in rows if row.wrong] == [], table(rows)
