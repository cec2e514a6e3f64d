"""The sweep over datalogger-distill: a day of two devices, killed or failed anywhere, plain passes, the judgement."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults import calls, datalogger_params, judge
from tests.faults.calls import Call
from tests.faults.datalogger_params import DAY, NAMES
from tests.faults.machine import FIRST_SEED
from tests.faults.sweep import KILL, Row, Stage, argv
from tests.faults.warm import Done

COMMAND = ("datalogger-distill",)


@dataclass
class Stills(datalogger_params.Plants):
    """A HOME with a file that is out, its draft still there."""

    def round(self) -> list[Done]:
        """A plain pass, an hour later."""
        self.rounds += 1
        return [self.run(*COMMAND)]

    def open(self) -> list[str]:
        """Files without statistics."""
        with closing(self.tables()) as db:
            return [
                f"{name} is not distilled" for (name,) in db.execute("SELECT name FROM datalogger_file WHERE distilled IS NULL")
            ]


STAGES = (
    Stage("first", COMMAND),  # there is no database of statistics
    Stage("anew", (*COMMAND, "--again")),  # there is one, with these rows
)
BY_NAME = {stage.name: stage for stage in STAGES}


def prepare(machine: Stills) -> None:
    """The templates; beside them what a pass that nothing disturbed has written."""
    machine.init()
    machine.start_servers()
    machine.expect(machine.run("datalogger-params", "--days", "1", "--outdir", str(machine.home / "datalogger/out")), 0)
    machine.stop_servers()
    machine.keep("first")
    machine.expect(machine.run(*COMMAND), 0)
    assert len(stored(machine.home)) == len(NAMES)
    machine.keep("anew")


def points(machine: Stills, stage: Stage) -> list[Call]:
    """Every call of the pass that matters."""
    machine.fill(stage.name)
    return calls.relevant(argv(machine, stage.command), machine.environment(FIRST_SEED), machine.home, machine.place / "trace")


def run(machine: Stills, stage: Stage, call: Call, fault: str = KILL) -> Row:
    """One point."""
    machine.fill(stage.name)
    log = machine.place / "trace"
    outcome = calls.disturbed(argv(machine, stage.command), machine.environment(FIRST_SEED), machine.home, log, call, fault)
    wrong = [] if outcome.code == -9 else judge.said_badly(COMMAND[0], outcome.code, outcome.err)
    wrong += judged(machine, machine.to_the_end())
    hidden = len([path for path in judge.leftovers(machine.home) if "/datalogger/" in path])
    return Row(stage.name, outcome.hit or call, fault, outcome.hit is not None, outcome.code, 0, hidden, tuple(wrong))


def stored(home: Path) -> list[tuple[Any, ...]]:
    """The rows of statistics but for when they were made."""
    with closing(sqlite3.connect(f"file:{home}/datalogger/GMPSAI.db?mode=ro", uri=True)) as db:
        names = [row[1] for row in db.execute("PRAGMA table_info(statistics)") if row[1] != "distilled"]
        quoted = ", ".join(f'"{name}"' for name in names)
        return db.execute(f"SELECT {quoted} FROM statistics ORDER BY name, start, end").fetchall()


def judged(machine: Stills, passes: Sequence[Done]) -> list[str]:
    """What is wrong: a row a device, as nothing had disturbed it, of all the samples of the formula; nothing is left over."""
    found = [f"still open: {what}" for what in machine.open()] + judge._talk(machine, passes)
    should = stored(machine.place / "anew")
    there = stored(machine.home)
    found += [] if there == should else [f"rows {there} where {should} should be"]
    with closing(sqlite3.connect(f"file:{machine.home}/datalogger/GMPSAI.db?mode=ro", uri=True)) as db:
        counts = db.execute(
            "SELECT parameter, epoch, seconds, value FROM stats WHERE stat = 'count' ORDER BY parameter"
        ).fetchall()
        schema = db.execute("SELECT number FROM statistics_schema").fetchall()
    start, seconds = DAY[0].timestamp(), (DAY[1] - DAY[0]).total_seconds()
    found += [] if counts == [(name, start, seconds, 8640) for name in sorted(NAMES)] else [f"the view has {counts}"]
    found += [] if len(schema) == 1 else [f"schema {schema}"]
    with closing(machine.tables()) as db:
        leases = db.execute("SELECT resource FROM lease").fetchall()
    left = [path for path in judge.leftovers(machine.home) if "distill" in path]
    return found + [f"a lease is left: {leases}"] * bool(leases) + [f"left over: {left}"] * bool(left)
