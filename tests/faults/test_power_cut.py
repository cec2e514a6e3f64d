"""The power goes at a system call: what was synced is there, of the rest anything; the next passes carry on."""

from __future__ import annotations

import pytest

from tests.faults import sweep
from tests.faults.machine import Machine
from tests.faults.powercut import IMAGES
from tests.faults.sweep import BY_NAME
from tests.faults.test_kill_sweep import SEED, table

pytestmark = pytest.mark.needs("strace")
POINTS = 6  # of each stage, a third of them with each image


@pytest.mark.parametrize("stage", BY_NAME)
def test_a_power_cut_anywhere_loses_and_doubles_nothing(machine: Machine, stage: str) -> None:
    found = sweep.sample(sweep.points(machine, BY_NAME[stage]), POINTS, SEED + 2)
    rows = [sweep.power_cut(machine, BY_NAME[stage], call, IMAGES[i % 3], SEED + i) for i, call in enumerate(found)]
    assert [row for row in rows if row.wrong] == [], table(rows)
    assert all(row.hit for row in rows), f"not cut:\n{table(rows)}"
