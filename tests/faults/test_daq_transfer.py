"""daq-transfer killed or failed at a system call: no file lost, none removed unproved, disks handed back in the end.

All points: bench/daq_sweep.py transfer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import daq_transfer, sweep
from tests.faults.calls import NO_MORE
from tests.faults.conftest import prepared
from tests.faults.daq_transfer import BY_NAME, DaqDisks
from tests.faults.test_kill_sweep import table

pytestmark = pytest.mark.needs("strace")
SEED = 20261126
POINTS = 5  # of each stage


@pytest.fixture(scope="module")
def machine(tree: Path) -> Iterator[DaqDisks]:
    yield from prepared(tree, DaqDisks, daq_transfer.prepare)


@pytest.mark.parametrize("stage", BY_NAME)
def test_killed_anywhere_nothing_is_lost_or_removed_unproved(machine: DaqDisks, stage: str) -> None:
    found = daq_transfer.points(machine, BY_NAME[stage])
    rows = [daq_transfer.run(machine, BY_NAME[stage], call) for call in sweep.sample(found, POINTS, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO"])
def test_an_error_anywhere_is_told_and_the_next_passes_go_on(machine: DaqDisks, fault: str) -> None:
    rows = []
    for stage in BY_NAME.values():
        found = [call for call in daq_transfer.points(machine, stage) if call.subject != NO_MORE]
        rows += [daq_transfer.run(machine, stage, call, f"error={fault}") for call in sweep.sample(found, 1, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)
