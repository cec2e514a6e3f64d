"""lta-manual-files, lta-restore and lta-audit killed or failed at a system call: no file lost or half there, the next ends it.

All points: bench/lta_sweep.py back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import lta_back, sweep
from tests.faults.calls import NO_MORE
from tests.faults.conftest import prepared
from tests.faults.lta_back import BY_NAME, BackMachine
from tests.faults.test_kill_sweep import table

pytestmark = pytest.mark.needs("strace")
SEED = 20261126
POINTS = 2  # of each stage


@pytest.fixture(scope="module")
def _back_machine(tree: Path) -> Iterator[BackMachine]:
    yield from prepared(tree, BackMachine, lta_back.prepare)


@pytest.fixture
def back_machine(_back_machine: BackMachine) -> Iterator[BackMachine]:
    yield _back_machine
    _back_machine.stop_servers(kill=True)


@pytest.mark.parametrize("stage", BY_NAME)
def test_killed_anywhere_nothing_is_lost_or_half_there(back_machine: BackMachine, stage: str) -> None:
    found = lta_back.points(back_machine, BY_NAME[stage])
    rows = [lta_back.run(back_machine, BY_NAME[stage], call) for call in sweep.sample(found, POINTS, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)


@pytest.mark.parametrize(("stage", "fault"), [("trash", "EIO"), ("landed", "ENOSPC"), ("audit", "EIO")])
def test_an_error_anywhere_is_told_and_the_next_run_goes_on(back_machine: BackMachine, stage: str, fault: str) -> None:
    found = [call for call in lta_back.points(back_machine, BY_NAME[stage]) if call.subject != NO_MORE]
    chosen = sweep.sample(found, POINTS, SEED)
    rows = [lta_back.run(back_machine, BY_NAME[stage], call, f"error={fault}") for call in chosen]
    assert [row for row in rows if row.wrong] == [], table(rows)
