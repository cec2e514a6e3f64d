"""daq-archive killed or failed at a system call: no file lost, none zipped to tape twice, none Bad without cause.

All points: bench/daq_sweep.py archive.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import daq_archive, sweep
from tests.faults.calls import NO_MORE
from tests.faults.conftest import prepared
from tests.faults.daq_archive import BY_NAME, DaqMachine
from tests.faults.test_kill_sweep import table

pytestmark = pytest.mark.needs("strace")
SEED = 20261126
POINTS = 5  # of each stage


@pytest.fixture(scope="module")
def _daq_machine(tree: Path) -> Iterator[DaqMachine]:
    yield from prepared(tree, DaqMachine, daq_archive.prepare)


@pytest.fixture
def daq_machine(_daq_machine: DaqMachine) -> Iterator[DaqMachine]:
    yield _daq_machine
    _daq_machine.stop_servers(kill=True)


@pytest.mark.parametrize("stage", BY_NAME)
def test_killed_anywhere_nothing_is_lost_or_twice_on_tape(daq_machine: DaqMachine, stage: str) -> None:
    found = daq_archive.points(daq_machine, BY_NAME[stage])
    rows = [daq_archive.run(daq_machine, BY_NAME[stage], call) for call in sweep.sample(found, POINTS, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO"])
def test_an_error_anywhere_is_told_and_the_next_passes_go_on(daq_machine: DaqMachine, fault: str) -> None:
    rows = []
    for stage in BY_NAME.values():
        found = [call for call in daq_archive.points(daq_machine, stage) if call.subject != NO_MORE]
        rows += [daq_archive.run(daq_machine, stage, call, f"error={fault}") for call in sweep.sample(found, 2, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)
