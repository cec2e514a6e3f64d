"""lta-dump-control and lta-glue killed or failed at a system call: no file lost or doubled, all of it bundled in the end.

All points: bench/lta_sweep.py dump.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import lta_dump, sweep
from tests.faults.calls import NO_MORE
from tests.faults.conftest import prepared
from tests.faults.lta_dump import BY_NAME, Slots
from tests.faults.test_kill_sweep import table

pytestmark = pytest.mark.needs("strace")
SEED = 20261126
POINTS = 4  # of each stage


@pytest.fixture(scope="module")
def machine(tree: Path) -> Iterator[Slots]:
    yield from prepared(tree, Slots, lta_dump.prepare)


@pytest.mark.parametrize("stage", BY_NAME)
def test_killed_anywhere_no_file_is_lost_or_doubled(machine: Slots, stage: str) -> None:
    found = lta_dump.points(machine, BY_NAME[stage])
    rows = [lta_dump.run(machine, BY_NAME[stage], call) for call in sweep.sample(found, POINTS, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO"])
def test_an_error_anywhere_is_told_and_the_next_passes_go_on(machine: Slots, fault: str) -> None:
    rows = []
    for stage in BY_NAME.values():
        found = [call for call in lta_dump.points(machine, stage) if call.subject != NO_MORE]
        rows += [lta_dump.run(machine, stage, call, f"error={fault}") for call in sweep.sample(found, 1, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)
