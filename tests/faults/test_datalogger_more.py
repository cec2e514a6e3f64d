"""Events, plot site and timeline killed or failed at a system call. All points: bench/datalogger_sweep.py more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import datalogger_more, sweep
from tests.faults.calls import NO_MORE
from tests.faults.conftest import prepared
from tests.faults.datalogger_more import BY_NAME, More
from tests.faults.test_kill_sweep import table

pytestmark = pytest.mark.needs("strace")
SEED = 20261127


@pytest.fixture(scope="module")
def machine(tree: Path) -> Iterator[More]:
    yield from prepared(tree, More, datalogger_more.prepare)


@pytest.mark.parametrize("stage", BY_NAME)
def test_killed_or_failed_anywhere_the_next_passes_make_it_whole(machine: More, stage: str) -> None:
    found = datalogger_more.points(machine, BY_NAME[stage])
    rows = [datalogger_more.run(machine, BY_NAME[stage], call) for call in sweep.sample(found, 3, SEED)]
    failing = [call for call in found if call.subject != NO_MORE]
    rows += [datalogger_more.run(machine, BY_NAME[stage], call, "error=ENOSPC") for call in sweep.sample(failing, 1, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)
    assert any(row.code == -9 for row in rows)


def test_whoever_looks_at_what_a_killed_pass_left_of_a_new_site_finds_all_that_it_names(machine: More) -> None:
    found = [call for call in datalogger_more.points(machine, BY_NAME["site"]) if "site/.index.json" in call.subject]
    rows = [datalogger_more.run(machine, BY_NAME["site"], call) for call in found if call.name == "renameat"]
    assert [row.code for row in rows] == [-9]
    assert [row for row in rows if row.wrong] == [], table(rows)
