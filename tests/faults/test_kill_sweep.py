"""Killed at a system call: nothing is lost, nothing is sent twice, the next passes carry on. All points: bench/kill_sweep.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import sweep
from tests.faults.control import SUBMIT_BEFORE_INTENT
from tests.faults.machine import Edit, EditDoesNotFit, Machine, copy_tree
from tests.faults.sweep import BY_NAME, Row

pytestmark = pytest.mark.needs("strace")
SEED = 20261124
POINTS = 15  # of each stage


def table(rows: list[Row]) -> str:
    return "\n".join("  ".join(sweep.cells(row)) for row in rows)


@pytest.mark.parametrize("stage", BY_NAME)
def test_killed_anywhere_nothing_is_lost_or_doubled(machine: Machine, stage: str) -> None:
    found = sweep.points(machine, BY_NAME[stage])
    rows = list(sweep.rows(machine, BY_NAME[stage], sweep.sample(found, POINTS, SEED)))
    assert len(rows) == POINTS
    assert [row for row in rows if row.wrong] == [], table(rows)
    assert [row for row in rows if row.code != -9] == [], f"not killed:\n{table(rows)}"


def test_the_command_survives_behind_its_last_call(machine: Machine) -> None:
    stage = BY_NAME["producer"]
    last = [call for call in sweep.points(machine, stage) if call.subject == sweep.NO_MORE and call.name == "rename"]
    rows = list(sweep.rows(machine, stage, last))
    assert [(row.hit, row.code, row.wrong) for row in rows] == [(False, 1, ())], table(rows)


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Machine]:
    """A machine whose tree submits before the intent is committed."""
    machine = Machine(copy_tree(tmp_path / "tree", SUBMIT_BEFORE_INTENT))
    yield machine
    machine.close()


def test_a_tree_that_submits_before_its_intent_goes_red(broken: Machine) -> None:
    """The control: without it a sweep that sees nothing would pass as well."""
    stage = BY_NAME["one"]
    sweep.prepare(broken, [stage.name])
    pages = [call for call in sweep.points(broken, stage) if call.name == "pwrite64" and call.subject.endswith("-wal")]
    rows = []
    for call in pages[len(pages) // 2 :: -4] + pages[len(pages) // 2 :: 4]:  # from the middle outwards
        rows.append(sweep.run(broken, stage, call))
        if rows[-1].copies > 7:
            break
    assert "copies opened" in rows[-1].verdict, table(rows)


def test_an_edit_that_does_not_fit_is_told(tmp_path: Path) -> None:
    with pytest.raises(EditDoesNotFit, match="0 times, not once"):
        copy_tree(tmp_path, [Edit("dmtools/clock.py", "no such text", "")])
