"""datalogger-params killed or failed at a system call: after plain passes each window is there once, as the formula has it.

All points: bench/datalogger_sweep.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import datalogger_params, sweep
from tests.faults.calls import NO_MORE
from tests.faults.conftest import prepared
from tests.faults.datalogger_params import STAGES, Plants
from tests.faults.test_kill_sweep import table

pytestmark = pytest.mark.needs("strace")
SEED = 20261126
POINTS = 5


@pytest.fixture(scope="module")
def machine(tree: Path) -> Iterator[Plants]:
    yield from prepared(tree, Plants, datalogger_params.prepare)


def test_line_2_killed_anywhere_each_window_is_had_once_and_every_value_is_right(machine: Plants) -> None:
    found = datalogger_params.points(machine, STAGES[0])
    rows = [datalogger_params.run(machine, STAGES[0], call) for call in sweep.sample(found, POINTS, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)
    assert any(row.code == -9 for row in rows)


def test_a_full_disk_anywhere_is_told_and_the_next_passes_go_on(machine: Plants) -> None:
    found = [call for call in datalogger_params.points(machine, STAGES[0]) if call.subject != NO_MORE]
    rows = [datalogger_params.run(machine, STAGES[0], call, "error=ENOSPC") for call in sweep.sample(found, 2, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)
