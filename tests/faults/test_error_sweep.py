"""A disk error or a full disk at a system call: the right exit code, one sentence, and later passes mend all."""

from __future__ import annotations

import pytest

from tests.faults import sweep
from tests.faults.machine import Machine
from tests.faults.sweep import BY_NAME
from tests.faults.test_kill_sweep import SEED, table

pytestmark = pytest.mark.needs("strace")
POINTS = 10  # of each stage, half of them ENOSPC


@pytest.mark.parametrize("stage", BY_NAME)
def test_an_error_anywhere_is_told_and_mended(machine: Machine, stage: str) -> None:
    found = sweep.points(machine, BY_NAME[stage])
    chosen = sweep.sample(found, POINTS, SEED + 1)
    rows = [sweep.run(machine, BY_NAME[stage], call, f"error={('ENOSPC', 'EIO')[i % 2]}") for i, call in enumerate(chosen)]
    assert [row for row in rows if row.wrong] == [], table(rows)
    counted = [row for row in rows if row.call.subject != "server"]  # how often a server is asked is never quite the same
    assert all(row.hit for row in counted), f"not disturbed:\n{table(rows)}"
