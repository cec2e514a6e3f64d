"""lta-bundle-scanner and lta-manual-bundle killed or failed at a system call: nothing is lost, sent twice or deleted unproved.

All points: bench/lta_sweep.py scanner.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import lta_scanner, sweep
from tests.faults.calls import NO_MORE, Call
from tests.faults.conftest import prepared
from tests.faults.lta_scanner import BY_NAME, LtaMachine
from tests.faults.test_kill_sweep import table

pytestmark = pytest.mark.needs("strace")
SEED = 20261126
POINTS = 2  # of each stage
SOME = ("scan", "intent", "ended", "delete")  # the others are much like them, and swept by the bench


@pytest.fixture(scope="module")
def _lta_machine(tree: Path) -> Iterator[LtaMachine]:
    yield from prepared(tree, LtaMachine, lta_scanner.prepare)


@pytest.fixture
def lta_machine(_lta_machine: LtaMachine) -> Iterator[LtaMachine]:
    yield _lta_machine
    _lta_machine.stop_servers(kill=True)


@pytest.fixture(scope="module")
def points(_lta_machine: LtaMachine) -> Callable[[str], list[Call]]:
    """The calls of a stage's pass; each pass is looked at once."""
    return functools.cache(lambda stage: lta_scanner.points(_lta_machine, BY_NAME[stage]))


Points = Callable[[str], list[Call]]


@pytest.mark.parametrize("stage", SOME)
def test_killed_between_any_two_steps_no_transfer_is_doubled_and_nothing_lost(
    lta_machine: LtaMachine, points: Points, stage: str
) -> None:
    rows = [lta_scanner.run(lta_machine, BY_NAME[stage], call) for call in sweep.sample(points(stage), POINTS, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)


def test_an_error_anywhere_is_told_and_the_next_passes_go_on(lta_machine: LtaMachine, points: Points) -> None:
    rows = []
    for (name, stage), fault in zip(BY_NAME.items(), itertools.cycle(("ENOSPC", "EIO"))):
        found = [call for call in points(name) if call.subject != NO_MORE]
        rows += [lta_scanner.run(lta_machine, stage, call, f"error={fault}") for call in sweep.sample(found, 1, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)
