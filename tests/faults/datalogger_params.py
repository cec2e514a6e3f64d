"""The sweep over datalogger-params: a day of two devices, killed or failed anywhere, plain passes to the end, the judgement."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.datalogger.steps import HERTZ, NOW, devices, rows, should, when
from tests.faults import calls, judge
from tests.faults.calls import Call
from tests.faults.machine import FIRST_SEED, Machine
from tests.faults.sweep import KILL, Row, Stage, argv
from tests.faults.warm import Done
from tests.support import environment

DAY = (when("2026-11-04T06:00"), when("2026-11-05T06:00"))
NAMES = ("B:VIMIN", "B:VIMAX")
FILE = "params-20261104T060000Z-20261105T060000Z.h5"
HOUR = 3600.0
STARTED = datetime.now(UTC)


@dataclass
class Plants(Machine):
    """A HOME that logs two devices, and its logger; two threads ask, in two pieces a day."""

    def init(self, lfns: Sequence[bytes] = ()) -> None:
        """A fresh HOME."""
        super().init(())
        listed = ", ".join(f'{{name = "{name}", hertz = {HERTZ}}}' for name in NAMES)
        own = f"datalogger.devices = [{listed}]\ndatalogger.settle_minutes = 0\ndatalogger.chunk_minutes = 720\n"
        settings = self.home / "dmtools.toml"
        settings.write_text(own + settings.read_text("utf-8"), "utf-8")

    @property
    def command(self) -> tuple[str, ...]:
        """As cron starts it."""
        return ("datalogger-params", "--days", "1", "--outdir", str(self.home / "datalogger/out"))

    def environment(self, seed: str = FIRST_SEED, offset: float | None = None) -> dict[str, str]:
        """Each round is an hour later than the one before, from that morning on."""
        return super().environment(seed, self.to_now() + self.rounds * HOUR if offset is None else offset)

    @staticmethod
    def to_now() -> float:
        """How far the clock is moved."""
        return (NOW - STARTED).total_seconds()

    def start_servers(self) -> None:
        """The logger, at a time when all rounds are over."""
        env = environment(self.home, {"PYTHONPATH": str(self.tree), "DMTOOLS_CLOCK_OFFSET": str(self.to_now() + 24 * HOUR)})
        self._sim = self.warm.serve("dm-sim", "datalogger", "--port", "0", "--hertz", HERTZ, env=env, listening=1)

    def round(self) -> list[Done]:
        """A plain pass, an hour later."""
        self.rounds += 1
        return [self.run(*self.command)]

    def open(self) -> list[str]:
        """What is not done, or not in a file that is out."""
        with closing(self.tables()) as db:
            found = [f"{n} {s}" for n, s in db.execute("SELECT name, state FROM datalogger_window WHERE state != 'done'")]
            found += [f"{n} {s}" for n, s in db.execute("SELECT name, state FROM datalogger_file WHERE state != 'published'")]
            if not db.execute("SELECT 1 FROM datalogger_file").fetchone():
                found.append("no file")
        return found

    def to_the_end(self, most: int = 6) -> list[Done]:
        """And one more, in which nothing happens."""
        return [*super().to_the_end(most), *self.round()]


STAGES = (Stage("day", ()),)  # a day is over, nothing of it is owed yet
BY_NAME = {stage.name: stage for stage in STAGES}


def prepare(machine: Plants) -> None:
    """The template of the one stage: nothing is owed yet."""
    machine.init()
    machine.keep("day")


def points(machine: Plants, stage: Stage) -> list[Call]:
    """Every call of the pass that matters."""
    machine.fill(stage.name)
    machine.start_servers()
    return calls.relevant(argv(machine, machine.command), machine.environment(), machine.home, machine.place / "trace")


def run(machine: Plants, stage: Stage, call: Call, fault: str = KILL) -> Row:
    """One point."""
    machine.fill(stage.name)
    machine.start_servers()
    log = machine.place / "trace"
    outcome = calls.disturbed(argv(machine, machine.command), machine.environment(), machine.home, log, call, fault)
    wrong = [] if outcome.code == -9 else judge.said_badly(machine.command[0], outcome.code, outcome.err)
    wrong += judged(machine, machine.to_the_end())
    hidden = len([path for path in judge.leftovers(machine.home) if "/datalogger/" in path])
    return Row(stage.name, outcome.hit or call, fault, outcome.hit is not None, outcome.code, 0, hidden, tuple(wrong))


def judged(machine: Plants, passes: Sequence[Done]) -> list[str]:
    """What is wrong: each window once, in one file, every value as the formula has it; the books agree; nothing is left over."""
    found = [f"still open: {what}" for what in machine.open()] + judge._talk(machine, passes)
    out = machine.home / "datalogger/out"
    there = sorted(path.name for path in out.iterdir())
    held = [(file, name) for file in there if not file.startswith(".") for name in devices(out / file)]
    found += [] if sorted(name for _, name in held) == sorted(NAMES) else [f"out: {there}, with {held}"]
    found += [
        f"{name} of {file} is not as the formula has it" for file, name in held if rows(out / file, name) != should(name, *DAY)
    ]
    found += [f"left in the draft directory: {p.name}" for p in (machine.home / "datalogger/draft").glob("*.rows")]
    found += [f"left in out: {name}" for name in there if name.startswith(".")]
    with closing(machine.tables()) as db:
        tally = dict(db.execute("SELECT state, SUM(n) FROM tally WHERE pipeline='datalogger' GROUP BY state HAVING SUM(n) != 0"))
        ends = db.execute("SELECT COUNT(*) FROM journal WHERE kind='datalogger-window' AND to_state='done'").fetchone()[0]
        leases = db.execute("SELECT resource FROM lease").fetchall()
    found += [] if (tally, ends) == ({"done": len(NAMES)}, len(NAMES)) else [f"counts {tally}, {ends} ends in the journal"]
    return found + [f"a lease is left: {leases}"] * bool(leases)
