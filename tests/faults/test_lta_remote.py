"""lta-nersc-client and its tape jobs, killed or failed at a system call: nothing lost, nothing twice on tape, nothing given up.

All points: bench/lta_sweep.py remote.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import lta_remote, sweep
from tests.faults.calls import NO_MORE
from tests.faults.conftest import prepared
from tests.faults.lta_remote import BY_NAME, RemoteMachine
from tests.faults.test_kill_sweep import table

pytestmark = pytest.mark.needs("strace")
SEED = 20261127
POINTS = 2  # of each stage


@pytest.fixture(scope="module")
def _remote_machine(tree: Path) -> Iterator[RemoteMachine]:
    yield from prepared(tree, RemoteMachine, lta_remote.prepare)


@pytest.fixture
def remote_machine(_remote_machine: RemoteMachine) -> Iterator[RemoteMachine]:
    yield _remote_machine
    _remote_machine.stop_servers(kill=True)


@pytest.mark.parametrize("stage", BY_NAME)
def test_killed_anywhere_nothing_is_lost_or_twice_on_tape(remote_machine: RemoteMachine, stage: str) -> None:
    found = lta_remote.points(remote_machine, BY_NAME[stage])
    rows = [lta_remote.run(remote_machine, BY_NAME[stage], call) for call in sweep.sample(found, POINTS, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)


def test_an_error_anywhere_is_told_and_the_next_passes_go_on(remote_machine: RemoteMachine) -> None:
    rows = []
    for number, stage in enumerate(BY_NAME.values()):
        found = [call for call in lta_remote.points(remote_machine, stage) if call.subject != NO_MORE]
        fault = f"error={('ENOSPC', 'EIO')[number % 2]}"
        rows += [lta_remote.run(remote_machine, stage, call, fault) for call in sweep.sample(found, 1, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)
