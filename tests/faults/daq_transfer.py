"""The sweeps over daq-transfer: flagged disks, its stages, plain passes until the disks are handed back, and the judgement.

A point is as in `sweep`: HOME as a stage has it, the pass with one system call killed or failed, a look at what is where, plain
passes, the judgement. What daq-archive does to a file is done to the books alone.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import unquote

from tests.daq.disk_steps import Disks, data, lfn
from tests.faults import calls, judge
from tests.faults.calls import Call
from tests.faults.machine import FIRST_SEED, Machine
from tests.faults.sweep import KILL, Row, Stage, argv
from tests.faults.warm import Done

TRANSFER = ("daq-transfer", "--threads", "2")
BODIES = {
    data(name): random.Random(name).randbytes(size) for name, size in (("a", 300), ("b c", 300_000), ("empty", 0), ("d", 99))
}
TWIN = data("a")  # disk 2 has it, too, with the same bytes
STAGES = (
    Stage("copy", TRANSFER),  # flagged disks: found, copied, proved
    Stage("free", TRANSFER),  # all of it on tape: removed, disks handed back
    Stage("all", TRANSFER),  # both in one pass, with site-verified
)
BY_NAME = {stage.name: stage for stage in STAGES}
ON_TAPE = ("OnTape", "Freed")


@dataclass
class DaqDisks(Machine):
    """A HOME with two flagged disks."""

    def init(self, lfns: Sequence[bytes] = ()) -> None:
        """A fresh HOME and its disks."""
        super().init(())
        for master in (self.home / "migrate/TODO/ListOfLFNs").glob("*.txt"):
            master.unlink()
        settings = self.home / "dmtools.toml"
        settings.write_text("daq.retry_seconds = 1\n" + settings.read_text("utf-8"), "utf-8")
        self.expect(self.run(*TRANSFER), 0)  # makes run/home-id and the rows of the disks
        for number in (1, 2):
            for path, body in self.on_disk(number).items():
                self.disks.file(path, body, disk=number)
            self.disks.flag(number)

    @property
    def disks(self) -> Disks:
        """Its disks."""
        return Disks(self.home)

    @staticmethod
    def on_disk(number: int) -> dict[str, bytes]:
        """What is on a disk in the beginning."""
        paths = [TWIN, data("d")] if number == 2 else [path for path in BODIES if path != data("d")]
        return {path: BODIES[path] for path in paths}

    def fill(self, name: str) -> None:
        """HOME as it was kept; its files have other inodes, which the books must not take for changes."""
        super().fill(name)
        with closing(sqlite3.connect(self.home / "dmtools.db")) as db, db:
            rows = db.execute("SELECT id, disk_id, path FROM daq_file WHERE place_key IS NOT NULL").fetchall()
            for number, disk, path in rows:
                inode = (self.disks.disk(disk) / unquote(path)).stat().st_ino
                db.execute("UPDATE daq_file SET inode = ? WHERE id = ?", (inode, number))

    def round(self) -> list[Done]:
        """A pass, later than the one before, and what daq-archive does then."""
        self.rounds += 1
        done = [self.run(*TRANSFER)]
        self.disks.to_tape()
        return done

    def open(self) -> list[str]:
        """What is not finished: files that are not Freed, disks that were not handed back."""
        with closing(self.tables()) as db:
            found = [f"file {n} {s}" for n, s in db.execute("SELECT path, state FROM daq_file WHERE state != 'Freed'")]
            found += [f"disk {n} {s}" for n, s in db.execute("SELECT path, state FROM daq_disk WHERE state = 'Emptying'")]
        return found + [f"disk {n} has its flag" for n in (1, 2) if (self.disks.disk(n) / "ReadyToTransfer").exists()]

    def to_the_end(self, most: int = 9) -> list[Done]:
        """And one more, in which nothing happens."""
        return [*super().to_the_end(most), self.run(*TRANSFER)]


def prepare(machine: DaqDisks) -> None:
    """The templates of the stages."""
    machine.init()
    machine.keep("copy")
    machine.disks.settings(safety="site-verified", retry_seconds=1)
    machine.keep("all")
    machine.fill("copy")
    machine.expect(machine.run(*TRANSFER), 0)
    machine.disks.to_tape()
    machine.rounds += 1
    machine.keep("free")


def points(machine: DaqDisks, stage: Stage) -> list[Call]:
    """Every call of the pass that matters."""
    machine.fill(stage.name)
    env = machine.environment(FIRST_SEED)
    return calls.relevant(argv(machine, stage.command), env, machine.home, machine.place / "trace")


def run(machine: DaqDisks, stage: Stage, call: Call, fault: str = KILL) -> Row:
    """One point."""
    machine.fill(stage.name)
    env, log = machine.environment(FIRST_SEED), machine.place / "trace"
    outcome = calls.disturbed(argv(machine, stage.command), env, machine.home, log, call, fault)
    wrong = [] if outcome.code == -9 else judge.said_badly(stage.command[0], outcome.code, outcome.err)
    wrong += lost(machine, before_tape=stage.name == "all")
    wrong += judged(machine, machine.to_the_end())
    hidden = len([path for path in judge.leftovers(machine.home) if "/site/" in path or "/daq/data" in path])
    copies = len(list((machine.home / "demo/site").rglob("*.dat")))
    return Row(stage.name, outcome.hit or call, fault, outcome.hit is not None, outcome.code, copies, hidden, tuple(wrong))


def lost(machine: DaqDisks, *, before_tape: bool) -> list[str]:
    """Each source is on its disk, or proved as far as the level says. Looked at right after the disturbed pass."""
    found = []
    for number in (1, 2):
        rows = dict(machine.disks.sql("SELECT path, state FROM daq_file WHERE disk_id = ?", number))
        there = Counter(file.read_bytes() for file in machine.disks.disk(number).rglob("*") if file.is_file())
        for path, body in machine.on_disk(number).items():
            if there[body]:
                continue
            copy = machine.disks.copy(path)
            if not copy.is_file() or copy.read_bytes() != body:
                found.append(f"{path} of disk {number} is neither on its disk nor at the site")
            state = rows.get(path.replace(" ", "%20"), "without a row")
            if state not in (*ON_TAPE, *(("Skipped", "AtSite") if before_tape else ())) and path != TWIN:
                found.append(f"{path} of disk {number} was removed as {state}")
    return found


def judged(machine: DaqDisks, passes: Sequence[Done]) -> list[str]:
    """What is wrong, a sentence each: each file at the site once, equal; disks empty and handed back; books that agree."""
    found = [f"still open: {what}" for what in machine.open()]
    found += judge._talk(machine, passes)
    site = machine.home / "demo/site"
    there = {str(path.relative_to(site)): path for path in site.rglob("*") if path.is_file()}
    wanted = {lfn(path)[1:]: body for path, body in BODIES.items()}
    found += [f"at the site and not wanted: {path}" for path in there.keys() - wanted.keys()]
    found += [
        f"not at the site as it was: {path}"
        for path, body in wanted.items()
        if path not in there or there[path].read_bytes() != body
    ]
    for number in (1, 2):
        left = sorted(str(path.relative_to(machine.disks.disk(number))) for path in machine.disks.disk(number).rglob("*"))
        found += [] if left == ["ReadyForData"] else [f"on disk {number}: {left}"]
    return found + _books(machine) + judge._second_opinion(machine)


def _books(machine: DaqDisks) -> list[str]:
    found = []
    try:
        machine.disks.states()
    except AssertionError as problem:
        found.append(f"the counts by state: {problem}")
    rows = machine.disks.sql("SELECT state, COUNT(*) FROM daq_file GROUP BY state")
    if rows != [("Freed", len(BODIES) + 1)]:
        found.append(f"files by state: {rows}")
    for state in ("AtSite", "OnTape", "Freed"):
        twice = machine.disks.sql(
            "SELECT item, COUNT(*) FROM journal WHERE kind = 'daq-file' AND to_state = ? GROUP BY item HAVING COUNT(*) > 1", state
        )
        found += [f"file {item} came {n} times to {state}" for item, n in twice]
    leases = machine.disks.sql("SELECT resource FROM lease")
    return found + [f"a lease is left: {leases}"] * bool(leases)
