"""The sweeps over lta-dump-control and lta-glue: disks in slots, stages, plain passes until all is bundled, and the judgement.

A point is as in `sweep`: HOME as a stage has it, the pass with one system call killed or failed, plain passes, the judgement.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
import zipfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.faults import calls, judge
from tests.faults.calls import Call
from tests.faults.machine import FIRST_SEED, Machine
from tests.faults.sweep import KILL, Row, Stage, argv
from tests.faults.warm import Done

DUMP, GLUE = ("lta-dump-control",), ("lta-glue",)
UUIDS = {n: f"5b1e3f7a-0001-4c2d-8e9f-00000000000{n}" for n in (1, 2)}
DAY = "data/exp/2016/1206"
LARGE = 4_300_000  # more than is read at once
BODIES = {
    f"{DAY}/{name}": random.Random(name).randbytes(size)
    for name, size in (("a", 300), ("b c", 30_000), ("empty", 0), ("sub/d", 99), ("large", LARGE))
}
TWIN = f"{DAY}/a"  # both disks have it, with the same bytes
STAGES = (
    Stage("dump", DUMP),  # two disks in their slots
    Stage("glue", GLUE),  # a full directory
)
BY_NAME = {stage.name: stage for stage in STAGES}


@dataclass
class Slots(Machine):
    """A HOME with two disks in its slots, and an expected number for the directory that they fill."""

    def init(self, lfns: Sequence[bytes] = ()) -> None:
        """A fresh HOME and its disks."""
        super().init(())
        for master in (self.home / "migrate/TODO/ListOfLFNs").glob("*.txt"):
            master.unlink()
        settings = self.home / "dmtools.toml"
        own = "lta.retry_seconds = 1\nlta.lease_seconds = 60\nlta.ideal_bytes = 2000000\nlta.disk_seconds = 30\n"
        settings.write_text(own + settings.read_text("utf-8"), "utf-8")
        for number, uuid in UUIDS.items():
            for path, body in on_disk(number).items():
                file = self.home / f"demo/lta/slots/slot{number}" / uuid / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(body)
        (self.home / "expected").write_text(f"/{DAY} {len(BODIES)}\n")
        self.expect(self.run("lta-glue", "--expect", str(self.home / "expected")), 0)

    def round(self) -> list[Done]:
        """Both passes, later than those before; a person takes up what an error has set aside."""
        self.rounds += 1
        done = [self.run(*DUMP), self.run(*GLUE)]
        with closing(self.tables()) as db:
            disks = [uuid for (uuid,) in db.execute("SELECT uuid FROM lta_disk WHERE state = 'Error'")]
            full = [name for (name,) in db.execute("SELECT ideal FROM lta_directory WHERE state = 'problem'")]
        done += [self.run(*DUMP, "--again", uuid) for uuid in disks]
        return done + [self.run(*GLUE, "--take-up", name) for name in full]

    def open(self) -> list[str]:
        """What is not finished."""
        with closing(self.tables()) as db:
            found = [
                f"disk {uuid} {state}" for uuid, state in db.execute("SELECT uuid, state FROM lta_disk WHERE state != 'Done'")
            ]
            rows = db.execute("SELECT ideal, state FROM lta_directory WHERE state != 'LTArequest'").fetchall()
            number = db.execute("SELECT COUNT(*) FROM lta_directory").fetchone()[0]
        return [*found, *(f"directory {name} {state}" for name, state in rows), *(["no directory is full"] if not number else [])]

    def to_the_end(self, most: int = 8) -> list[Done]:
        """And one more, in which nothing happens."""
        return [*super().to_the_end(most), self.run(*DUMP), self.run(*GLUE)]


def on_disk(number: int) -> dict[str, bytes]:
    """What is on a disk."""
    paths = [TWIN, f"{DAY}/sub/d", f"{DAY}/empty"] if number == 2 else [TWIN, f"{DAY}/b c", f"{DAY}/large"]
    return {path: BODIES[path] for path in paths}


def prepare(machine: Slots) -> None:
    """The templates of the stages."""
    machine.init()
    machine.keep("dump")
    machine.expect(machine.run(*DUMP), 0)
    machine.rounds += 1
    machine.keep("glue")


def points(machine: Slots, stage: Stage) -> list[Call]:
    """Every call of the pass that matters."""
    machine.fill(stage.name)
    env = machine.environment(FIRST_SEED)
    return calls.relevant(argv(machine, stage.command), env, machine.home, machine.place / "trace")


def run(machine: Slots, stage: Stage, call: Call, fault: str = KILL) -> Row:
    """One point."""
    machine.fill(stage.name)
    env, log = machine.environment(FIRST_SEED), machine.place / "trace"
    outcome = calls.disturbed(argv(machine, stage.command), env, machine.home, log, call, fault)
    wrong = [] if outcome.code == -9 else judge.said_badly(stage.command[0], outcome.code, outcome.err)
    wrong += half_done(machine)
    wrong += judged(machine, machine.to_the_end())
    hidden = len([path for path in judge.leftovers(machine.home) if "/lta/" in path])
    copies = len(zips(machine))
    return Row(stage.name, outcome.hit or call, fault, outcome.hit is not None, outcome.code, copies, hidden, tuple(wrong))


def zips(machine: Slots) -> list[Path]:
    """All bundles in outbound."""
    return sorted(path for path in (machine.home / "demo/lta/outbound").rglob("*.zip"))


def half_done(machine: Slots) -> list[str]:
    """What has its name is whole, whenever the pass was disturbed."""
    found = []
    root = machine.home / "demo/lta/warehouse"
    for path in root.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            name = str(path.relative_to(root))
            found += [] if path.read_bytes() == BODIES.get(name) else [f"{name} stands in the warehouse with other bytes"]
    return found + [f"{path.name} is no whole zip" for path in zips(machine) if not zipfile.is_zipfile(path)]


def judged(machine: Slots, passes: Sequence[Done]) -> list[str]:
    """What is wrong, a sentence each: disks as they were, each file once in warehouse and bundles, books that agree."""
    found = [f"still open: {what}" for what in machine.open()]
    found += judge._talk(machine, passes)
    for number, uuid in UUIDS.items():
        there = files(machine.home / f"demo/lta/slots/slot{number}" / uuid)
        found += [f"disk {number} changed"] * (there != on_disk(number))
    stored = {name: body for name, body in files(machine.home / "demo/lta/warehouse").items() if "/." not in name}
    found += [f"warehouse: {sorted(stored)}"] * (stored != BODIES)
    bundled: list[tuple[str, bytes]] = []
    for path in zips(machine):
        with zipfile.ZipFile(path) as bundle:
            bundled += [(name, bundle.read(name)) for name in bundle.namelist()[1:]]
    found += [f"bundles: {sorted(name for name, _ in bundled)}"] * (sorted(bundled) != sorted(BODIES.items()))
    return found + _books(machine) + judge._second_opinion(machine)


def files(root: Path) -> dict[str, bytes]:
    """All files below a directory."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _books(machine: Slots) -> list[str]:
    with closing(machine.tables()) as db:
        return [*_bundles(machine, db), *_moves(db)]


def _bundles(machine: Slots, db: sqlite3.Connection) -> list[str]:
    rows = db.execute("SELECT name, size, sha512, files, directory_id FROM lta_bundle").fetchall()
    wanted = []
    for path in zips(machine):
        body = path.read_bytes()
        with zipfile.ZipFile(path) as bundle:
            number = len(bundle.namelist()) - 1
        wanted.append((f"file://{path}", len(body), hashlib.sha512(body).hexdigest(), number, 1))
    found = [f"bundles of the tables: {rows}, of outbound: {wanted}"] * (sorted(rows) != sorted(wanted))
    names = [name.replace("%20", " ") for (name,) in db.execute("SELECT name FROM lta_file")]
    return found + [f"files of the tables: {sorted(names)}"] * (sorted(names) != sorted(f"/{name}" for name in BODIES))


def _moves(db: sqlite3.Connection) -> list[str]:
    query = "SELECT kind, item, to_state, COUNT(*) FROM journal WHERE to_state IN ('LTArequest', 'Untouched') GROUP BY 1, 2, 3"
    found = [f"{kind} {item} came {n} times to {state}" for kind, item, state, n in db.execute(query) if n > 1]
    held = db.execute(
        "SELECT holder FROM lta_disk WHERE holder IS NOT NULL UNION SELECT holder FROM lta_directory WHERE holder IS NOT NULL"
    )
    return found + [f"a claim is left: {holder}" for (holder,) in held]
