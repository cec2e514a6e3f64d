"""daq-transfer killed or failed at a system call: no file lost, none removed unproved, disks handed back in the end.

All points: bench/daq_sweep.py transfer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import daq_transfer, sweep
from tests.faults.calls import NO_MORE
from tests.faults.daq_transfer import BY_NAME, DaqDisks
from tests.faults.sweep import Row
from tests.support import TEST_MARK

pytestmark = pytest.mark.needs("strace")
SEED = 20261126
POINTS = 5  # of each stage


def table(rows: list[Row]) -> str:
    return "\n".join("  ".join(sweep.cells(row)) for row in rows)


@pytest.fixture(scope="module")
def machine(tree: Path) -> Iterator[DaqDisks]:
    mark = os.environ.pop(TEST_MARK, None)  # its process outlives the test that came first
    made = DaqDisks(tree)
    try:
        daq_transfer.prepare(made)
        if mark:
            os.environ[TEST_MARK] = mark
        yield made
    finally:
        made.close()


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
