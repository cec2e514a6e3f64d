"""datalogger-distill killed or failed at a system call: after plain passes the statistics are those of an undisturbed pass.

All points: bench/datalogger_sweep.py distill.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import datalogger_distill, sweep
from tests.faults.calls import NO_MORE
from tests.faults.conftest import prepared
from tests.faults.datalogger_distill import STAGES, Stills
from tests.faults.test_kill_sweep import table

pytestmark = pytest.mark.needs("strace")
SEED = 20261127
POINTS = 4


@pytest.fixture(scope="module")
def machine(tree: Path) -> Iterator[Stills]:
    yield from prepared(tree, Stills, datalogger_distill.prepare)


def test_killed_anywhere_the_statistics_are_those_of_a_pass_that_was_not(machine: Stills) -> None:
    found = datalogger_distill.points(machine, STAGES[0])
    rows = [datalogger_distill.run(machine, STAGES[0], call) for call in sweep.sample(found, POINTS, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)
    assert any(row.code == -9 for row in rows)


def test_a_full_disk_anywhere_is_told_and_the_next_pass_goes_on(machine: Stills) -> None:
    found = [call for call in datalogger_distill.points(machine, STAGES[1]) if call.subject != NO_MORE]
    own = [call for call in found if "GMPSAI" in call.subject]
    rows = [datalogger_distill.run(machine, STAGES[1], call, "error=ENOSPC") for call in sweep.sample(own, 3, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)
    assert any(row.code == 75 for row in rows), table(rows)
