"""datalogger-declare killed or failed at a system call: after plain passes each file is at each catalogue, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import datalogger_declare, sweep
from tests.faults.calls import NO_MORE, TO_SERVERS, Call
from tests.faults.conftest import prepared
from tests.faults.datalogger_declare import STAGES, Depots
from tests.faults.test_kill_sweep import table
from tests.real_catalogues import Rucio

pytestmark = pytest.mark.needs("strace")
SEED = 20261127
POINTS = 4


@pytest.fixture(scope="module")
def machine(tree: Path, rucio: Rucio) -> Iterator[Depots]:
    yield from prepared(tree, lambda place: Depots(place, rucio=rucio), datalogger_declare.prepare)


@pytest.fixture(scope="module")
def found(machine: Depots) -> list[Call]:
    return datalogger_declare.points(machine, STAGES[0])


def test_killed_between_any_two_steps_each_file_is_declared_once(machine: Depots, found: list[Call]) -> None:
    asked = [call for call in found if call.name in TO_SERVERS and call.subject != NO_MORE]
    wanted = [*sweep.sample(found, POINTS, SEED), asked[len(asked) // 2], asked[-2]]
    rows = [datalogger_declare.run(machine, STAGES[0], call) for call in wanted]
    assert [row for row in rows if row.wrong] == [], table(rows)
    assert any(row.code == -9 for row in rows)


def test_a_full_disk_anywhere_is_told_and_the_next_passes_go_on(machine: Depots, found: list[Call]) -> None:
    real = [call for call in found if call.subject != NO_MORE and call.name not in TO_SERVERS]
    rows = [datalogger_declare.run(machine, STAGES[0], call, "error=ENOSPC") for call in sweep.sample(real, 1, SEED)]
    assert [row for row in rows if row.wrong] == [], table(rows)
