"""The sweep over what else the datalogger writes: a day of events, the plot site, a supercycle of the timeline."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tests.datalogger import test_events as events
from tests.faults import calls, judge
from tests.faults.calls import Call
from tests.faults.datalogger_params import DAY, NAMES, Plants
from tests.faults.machine import FIRST_SEED
from tests.faults.sweep import KILL, Row, Stage, argv
from tests.faults.warm import Done

EVENTS, SITE, AGAIN, TIMELINE = "events", "site", "again", "timeline"
SUPERCYCLE = Fraction("60.066666")
JSON = ("datalogger-json",)
STAGES = (
    Stage(EVENTS, ("datalogger-events", "--days", "1")),  # a day is over, nothing of it is owed yet
    Stage(SITE, JSON),  # there are statistics, and no site
    Stage(AGAIN, (*JSON, "--again")),  # there is a site
    Stage(TIMELINE, ("datalogger-timeline", "--once")),  # nothing was ever recorded
)
BY_NAME = {stage.name: stage for stage in STAGES}


@dataclass
class More(Plants):
    """A HOME that logs two devices and the event of each supercycle; `stage`: what its passes do."""

    stage: str = EVENTS

    def init(self, lfns: Sequence[bytes] = ()) -> None:
        """A fresh HOME."""
        super().init()
        settings = self.home / "dmtools.toml"
        settings.write_text('datalogger.events = ["00"]\n' + settings.read_text("utf-8"), "utf-8")

    def pass_of(self, stage: Stage) -> tuple[str, ...]:
        """As cron starts it."""
        return (*stage.command, "--outdir", str(self.home / "datalogger/out")) if stage.name == EVENTS else stage.command

    def round(self) -> list[Done]:
        """A plain pass, an hour later."""
        self.rounds += 1
        plain = JSON if self.stage == AGAIN else self.pass_of(BY_NAME[self.stage])
        return [self.run(*plain)]

    def open(self) -> list[str]:
        """What is not there yet."""
        if self.stage in (SITE, AGAIN):
            return [] if (self.home / "datalogger/site/index.html").exists() else ["no site"]
        with closing(self.tables()) as db:
            if self.stage == TIMELINE:
                return [] if db.execute("SELECT 1 FROM datalogger_supercycle").fetchone() else ["no supercycle"]
            done = db.execute("SELECT 1 FROM datalogger_file WHERE kind = 'event' AND state = 'published'").fetchone()
            return [] if done else ["no file of events"]


def prepare(machine: More) -> None:
    """The templates, and what a pass that nothing disturbed makes of the site."""
    machine.init()
    for name in (EVENTS, TIMELINE):
        machine.keep(name)
    machine.start_servers()
    machine.expect(machine.run(*machine.command), 0)
    machine.expect(machine.run("datalogger-distill"), 0)
    machine.stop_servers()
    machine.keep(SITE)
    machine.expect(machine.run(*JSON), 0)
    assert len(figures(machine.home)) == len(NAMES)
    machine.keep(AGAIN)


def start(machine: More, stage: Stage) -> None:
    """HOME as the stage has it, and its logger."""
    machine.fill(stage.name)
    machine.stage = stage.name
    if stage.name in (EVENTS, TIMELINE):
        machine.start_servers()


def points(machine: More, stage: Stage) -> list[Call]:
    """Every call of the pass that matters."""
    start(machine, stage)
    env, trace = machine.environment(FIRST_SEED), machine.place / "trace"
    return calls.relevant(argv(machine, machine.pass_of(stage)), env, machine.home, trace)


def run(machine: More, stage: Stage, call: Call, fault: str = KILL) -> Row:
    """One point."""
    start(machine, stage)
    log = machine.place / "trace"
    env = machine.environment(FIRST_SEED)
    outcome = calls.disturbed(argv(machine, machine.pass_of(stage)), env, machine.home, log, call, fault)
    wrong = [] if outcome.code == -9 else judge.said_badly(stage.command[0], outcome.code, outcome.err)
    wrong += whole_site(machine.home)  # who looks just now sees the old one or the new one
    passes = machine.to_the_end()
    wrong += judge._talk(machine, passes) + [f"still open: {what}" for what in machine.open()] + JUDGES[stage.name](machine)
    hidden = len([path for path in judge.leftovers(machine.home) if "/datalogger/" in path])
    with closing(machine.tables()) as db:
        if leases := db.execute("SELECT resource FROM lease").fetchall():
            wrong.append(f"a lease is left: {leases}")
    return Row(stage.name, outcome.hit or call, fault, outcome.hit is not None, outcome.code, 0, hidden, tuple(wrong))


def figures(home: Path) -> dict[str, bytes]:
    """The figures of the site."""
    return {path.name: path.read_bytes() for path in (home / "datalogger/site/data").glob("*.json")}


def whole_site(home: Path) -> list[str]:
    """What index.html names and is not there; figures that are no JSON."""
    site = home / "datalogger/site"
    if not (site / "index.html").exists():
        return []
    named = re.findall(r'(?:src|href|data-file)="([^"#:]+)"', (site / "index.html").read_text())
    found = [f"index.html names {name}, which is not there" for name in named if not (site / name).exists()]
    for name, text in figures(home).items():
        try:
            json.loads(text)
        except ValueError:
            found.append(f"{name} is no JSON")
    return found


def _site(machine: More) -> list[str]:
    found, should = figures(machine.home), figures(machine.place / AGAIN)
    wrong = [] if found == should else [f"figures {sorted(found)} are not those of a pass that nothing disturbed"]
    return wrong + whole_site(machine.home)  # hidden files of killed passes go with the old ones, some hours later


def _events(machine: More) -> list[str]:
    out = machine.home / "datalogger/out"
    there = sorted(path.name for path in out.iterdir())
    if there != [events.FILE]:
        return [f"out: {there}"]
    right = events.rows(out / events.FILE, "Event00") == events.should(*DAY, hertz=1 / SUPERCYCLE)
    return [] if right else ["Event00 is not as the formula has it"]


def _timeline(machine: More) -> list[str]:
    with closing(machine.tables()) as db:
        starts = [row[0] for row in db.execute("SELECT start FROM datalogger_supercycle")]
        query = (
            "SELECT t.entries, COUNT(e.entry) FROM datalogger_supercycle s "
            "LEFT JOIN datalogger_timeline t ON t.id = s.timeline_id "
            "LEFT JOIN datalogger_timeline_event e ON e.timeline_id = t.id GROUP BY s.id"
        )
        counts = db.execute(query).fetchall()
        alone = db.execute(
            "SELECT COUNT(*) FROM datalogger_timeline WHERE id NOT IN (SELECT timeline_id FROM datalogger_supercycle)"
        ).fetchone()[0]
    wrong = [f"{said} entries are booked, {have} are there" for said, have in counts if said != have or not have]
    wrong += ["a supercycle is there twice"] * (len(set(starts)) != len(starts))
    return wrong + ["a timeline without its supercycle"] * bool(alone)


JUDGES = {EVENTS: _events, SITE: _site, AGAIN: _site, TIMELINE: _timeline}
