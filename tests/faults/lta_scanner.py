"""The sweeps over lta-bundle-scanner and lta-manual-bundle: zips in outbound, the stages, plain passes to the end, the judgement.

A point is as in `sweep`: HOME as a stage has it, the pass with one system call killed or failed, plain passes, the judgement.
What the remote site does to a bundle is done by hand.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults import calls, judge
from tests.faults.calls import Call
from tests.faults.machine import FIRST_SEED, Machine
from tests.faults.sweep import KILL, Row, Stage, argv
from tests.faults.warm import Done

SCANNER = ("lta-bundle-scanner",)
DELETE = ("lta-manual-bundle", "--yes")
ZIPS = {name: random.Random(name).randbytes(size) for name, size in (("a.zip", 300), ("2016/b c.zip", 5000), ("e.zip", 0))}
QUOTA = 1_000_000
STAGES = (
    Stage("scan", SCANNER),  # zips in outbound: found, hashed, added, claimed, put on the road, submitted to FTS
    Stage("away", SCANNER),  # JsonMade, their lists in TODO: FTS was away
    Stage("intent", SCANNER),  # JsonMade, and the engine knows nothing of them
    Stage("ended", SCANNER),  # copies ended: proved in the buffer
    Stage("delete", DELETE),  # proved on tape: their zips go
    Stage("free", SCANNER),  # the same by the scanner
)
BY_NAME = {stage.name: stage for stage in STAGES}
DELETES = ("delete", "free")
ENDS = {True: "LocalDeleted", False: "PushDone"}


@dataclass
class LtaMachine(Machine):
    """A HOME whose bundles go to a buffer beside it. `deletes`: it is at a stage where zips go."""

    deletes: bool = False
    passes: tuple[str, ...] = SCANNER

    def init(self, lfns: Sequence[bytes] = ()) -> None:
        """A fresh HOME, its zips in outbound, and the quota of the remote site."""
        super().init(())
        for path in (self.home / "migrate/TODO/ListOfLFNs").glob("*.txt"):
            path.unlink()
        self.settings("lta.retry_seconds = 1\nlta.settle_seconds = 0\nlta.lease_seconds = 100\n")
        self.expect(self.run(*SCANNER), 0)  # makes run/home-id and the directories of the queue
        with self.hand() as db:
            row = ("nersc", "Run", QUOTA, QUOTA, 0, "2026-01-01 00:00:00.000000")
            db.execute("INSERT INTO lta_site (name, state, free, quota, reserved, at) VALUES (?, ?, ?, ?, ?, ?)", row)
        for name, body in ZIPS.items():
            path = self.outbound / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    def settings(self, text: str) -> None:
        """More settings."""
        file = self.home / "dmtools.toml"
        file.write_text(text + file.read_text("utf-8"), "utf-8")

    @property
    def outbound(self) -> Path:
        """Where the zips are."""
        return self.home / "demo/lta/outbound"

    def buffer(self, name: str) -> Path:
        """Where a zip's copy comes to."""
        return self.home / "demo/lta/remote/buffer" / name

    def tape(self, name: str) -> Path:
        """Where it is on tape."""
        return self.home / "demo/lta/remote/tape" / name

    def hand(self) -> Any:
        """The tables, to be written by hand; committed and closed at the end of the block."""
        return _Hand(self.home / "dmtools.db")

    def to_tape(self) -> None:
        """What the remote site does: PushDone -> NERSCClean."""
        for name in ZIPS:
            self.tape(name).parent.mkdir(parents=True, exist_ok=True)
            self.buffer(name).rename(self.tape(name))
        with self.hand() as db:
            db.execute("UPDATE lta_bundle SET state = 'NERSCClean', reserved = 0 WHERE state = 'PushDone'")
            db.execute("UPDATE tally SET state = 'NERSCClean' WHERE pipeline = 'lta' AND state = 'PushDone'")
            db.execute("UPDATE lta_site SET reserved = 0 WHERE name = 'nersc'")

    def round(self) -> list[Done]:
        """A pass, later than the one before; what it began has ended then."""
        self.rounds += 1
        done = [self.run(*self.passes)]
        if not self.deletes:
            self.wait_for_servers()
        return done

    def open(self) -> list[str]:
        """What is not finished."""
        with closing(self.tables()) as db:
            found = [f"list {n} {s}" for n, s in db.execute("SELECT name, state FROM filelist WHERE state != 'done'")]
            rows = db.execute("SELECT ideal, state FROM lta_bundle WHERE state != ?", (ENDS[self.deletes],)).fetchall()
            (known,) = db.execute("SELECT COUNT(*) FROM lta_bundle").fetchone()
        return found + [f"bundle {n} {s}" for n, s in rows] + ["zips that were not found"] * (known < len(ZIPS))

    def to_the_end(self, most: int = 9) -> list[Done]:
        """And one more, in which nothing happens."""
        return super().to_the_end(most) + self.round()


class _Hand:
    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file)

    def __enter__(self) -> sqlite3.Connection:
        return self._db

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._db.commit()
        self._db.close()


def prepare(machine: LtaMachine) -> None:
    """The templates of the stages, each made by plain passes from the one before."""
    machine.init()
    machine.keep("scan")
    machine.expect(machine.run(*SCANNER), 0)
    machine.rounds += 1
    machine.keep("away")
    with machine.hand() as db:  # as a kill leaves it between the intent and the engine
        for table in ("transfer", "filelist"):
            db.execute(f"DELETE FROM {table}")
        db.execute("DELETE FROM journal WHERE kind = 'lta-copy'")
    for path in (machine.home / "lta/TODO").iterdir():
        path.unlink()
    machine.keep("intent")
    machine.fill("away")
    machine.start_servers()
    machine.expect(machine.run(*SCANNER), 0)
    machine.wait_for_servers()
    machine.stop_servers()
    machine.rounds += 1
    machine.keep("ended")
    machine.start_servers()
    machine.expect(machine.run(*SCANNER), 0)
    machine.stop_servers()
    machine.rounds += 1
    machine.to_tape()
    machine.keep("delete")
    machine.settings('lta.free_local = "verified"\n')
    machine.keep("free")


def start(machine: LtaMachine, stage: Stage) -> None:
    """HOME and servers as the stage has them."""
    machine.fill(stage.name)
    machine.deletes, machine.passes = stage.name in DELETES, stage.command
    machine.start_servers()


def points(machine: LtaMachine, stage: Stage) -> list[Call]:
    """Every call of the pass that matters."""
    start(machine, stage)
    env = machine.environment(FIRST_SEED)
    return calls.relevant(argv(machine, stage.command), env, machine.home, machine.place / "trace")


def run(machine: LtaMachine, stage: Stage, call: Call, fault: str = KILL) -> Row:
    """One point."""
    start(machine, stage)
    env, log = machine.environment(FIRST_SEED), machine.place / "trace"
    outcome = calls.disturbed(argv(machine, stage.command), env, machine.home, log, call, fault)
    wrong = [] if outcome.code == -9 else judge.said_badly(stage.command[0], outcome.code, outcome.err)
    wrong += lost(machine)
    machine.wait_for_servers()
    wrong += judged(machine, machine.to_the_end())
    left = len(judge.leftovers(machine.outbound))
    copies = judge.copies(machine)
    return Row(stage.name, outcome.hit or call, fault, outcome.hit is not None, outcome.code, copies, left, tuple(wrong))


def lost(machine: LtaMachine) -> list[str]:
    """Each zip is in outbound, or beside it under the name of a delete, or proved on tape and meant to go."""
    with closing(machine.tables()) as db:
        meant = {item for (item,) in db.execute("SELECT item FROM journal WHERE kind = 'lta-zip'")}
        rows = {ideal: (number, state) for number, ideal, state in db.execute("SELECT id, ideal, state FROM lta_bundle")}
    found = []
    for name, body in ZIPS.items():
        there = [path for path in (machine.outbound / name).parent.iterdir() if path.is_file() and path.read_bytes() == body]
        number, state = rows.get(f"/{name.replace(' ', '%20')}", (0, "no bundle"))
        if not there and (number not in meant or state not in ("NERSCClean", "LocalDeleted")):
            found.append(f"{name} is gone from outbound as {state}")
    return found


def judged(machine: LtaMachine, passes: Sequence[Done]) -> list[str]:
    """What is wrong, a sentence each: each zip in the buffer (or on tape) once, equal; room reserved once; books that agree."""
    found = [f"still open: {what}" for what in machine.open()]
    found += judge._talk(machine, passes)
    for name, body in ZIPS.items():
        place = machine.tape(name) if machine.deletes else machine.buffer(name)
        if not place.is_file() or place.read_bytes() != body:
            found.append(f"{place} is not as it was in outbound")
    left = {str(path.relative_to(machine.outbound)) for path in machine.outbound.rglob("*") if path.is_file()}
    if left != (set() if machine.deletes else set(ZIPS)):
        found.append(f"in outbound: {sorted(left)}")
    opened = Counter(row["destination"] for row in machine.records("copies") if row["opened_at"] is not None)
    if sorted(opened.values()) != [1] * len(ZIPS):
        found.append(f"copies opened: {dict(opened)}, not once each")
    with closing(machine.tables()) as db:
        found += _books(db, machine)
    return found + judge._second_opinion(machine)


def _books(db: Any, machine: LtaMachine) -> list[str]:
    found = []
    end, size = ENDS[machine.deletes], sum(map(len, ZIPS.values()))
    rows = dict(db.execute("SELECT state, COUNT(*) FROM lta_bundle GROUP BY state"))
    query = "SELECT state, SUM(n), SUM(bytes) FROM tally WHERE pipeline = 'lta' GROUP BY state"
    tally = {state: (n, total) for state, n, total in db.execute(query) if n}
    if (rows, tally) != ({end: len(ZIPS)}, {end: (len(ZIPS), size)}):
        found.append(f"bundles by state: {rows}; counted: {tally}")
    reserved = db.execute("SELECT SUM(b.reserved), s.reserved FROM lta_bundle b, lta_site s WHERE s.name = 'nersc'").fetchone()
    if reserved != ((0, 0) if machine.deletes else (size, size)):
        found.append(f"reserved (bundles, site): {reserved}")
    twice = "SELECT item, to_state, COUNT(*) FROM journal WHERE kind = 'lta-bundle' GROUP BY item, to_state HAVING COUNT(*) > 1"
    found += [f"bundle {item} came {n} times to {state}" for item, state, n in db.execute(twice)]
    if (n := db.execute("SELECT COUNT(*) FROM ftsjob WHERE state != 'closed'").fetchone()[0]) != 0:
        found.append(f"{n} FTS jobs are not closed")
    held = db.execute("SELECT id FROM lta_bundle WHERE holder IS NOT NULL").fetchall()
    leases = db.execute("SELECT resource FROM lease").fetchall()
    return found + [f"held still: {held} {leases}"] * bool(held or leases)
