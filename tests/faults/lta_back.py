"""The sweeps over lta-manual-files, lta-restore and lta-audit: bundles on tape, the stages, plain passes, the judgement.

A point is as in `sweep`. The remote site is played by its asks alone; what comes back lands below HOME, so its writes count.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.faults import calls, judge
from tests.faults.calls import Call
from tests.faults.machine import FIRST_SEED, Machine
from tests.faults.sweep import KILL, Row, Stage, argv
from tests.faults.warm import Done
from tests.lta.archive_steps import Archive, bundle_of, tree

FILES = {b"/exp/a b": b"a" * 4000, b"/exp/deep/b": b"b" * 70000, b"/exp/empty": b""}
LATE = {b"/exp/late": b"came later"}
IDEAL, BACK = "/exp/one.zip", "back"
DELETE = ("lta-manual-files", "--yes")
AUDIT = ("lta-audit", "--percent", "100", "--days", "1")
STAGES = (
    Stage("trash", DELETE),  # LocalDeleted: its files go into the trash
    Stage("delete", DELETE),  # the same without a trash
    Stage("local", ("lta-restore", IDEAL)),  # its zip is here
    Stage("ready", ("lta-restore", IDEAL)),  # it lies in the export directory
    Stage("landed", ("lta-restore", IDEAL)),  # FTS has carried it here
    Stage("audit", AUDIT),  # it is due, and what lies in the trash is old
)
BY_NAME = {stage.name: stage for stage in STAGES}


@dataclass
class BackMachine(Machine):
    """A HOME with one bundle of three files, in LocalDeleted, and a file that came later."""

    def init(self, lfns: Sequence[bytes] = ()) -> None:
        """A fresh HOME, its bundle on tape, its files in the warehouse."""
        super().init(())
        for path in (self.home / "migrate/TODO/ListOfLFNs").glob("*.txt"):
            path.unlink()
        self.archive.lay({**FILES, **LATE})
        made = self.archive.directory("/exp", len(FILES))
        self.archive.bundle(IDEAL, bundle_of(FILES), FILES, directory_id=made.id)

    @property
    def archive(self) -> Archive:
        """The steps on this HOME."""
        if not hasattr(self, "_archive"):
            self._archive = Archive(self.home, lambda *_: None)  # type: ignore[arg-type,return-value]
        return self._archive

    def command(self, stage: Stage) -> tuple[str, ...]:
        """The command with its place for what comes back."""
        return stage.command if stage.command in (DELETE, AUDIT) else (*stage.command, "--to", str(self.home / BACK))

    def site(self) -> None:
        """The remote site does what it is asked for; no claim of a killed pass is in its way."""
        with closing(sqlite3.connect(self.home / "dmtools.db")) as db, db:
            db.execute("UPDATE lta_errand SET ready = '2020-01-01 00:00:00.000000'")
        self.archive.remote()
        self.archive.reads_again()

    def passes(self, stage: Stage, most: int = 8) -> list[Done]:
        """Plain passes, each later than the one before, until one has nothing to wait for; and one more."""
        done: list[Done] = []
        for _ in range(most):
            self.rounds += 1
            done.append(self.run(*self.command(stage)))
            self.wait_for_servers()
            self.site()
            if done[-1].code == 0 and len(done) > 1:
                break
        return done


def prepare(machine: BackMachine) -> None:
    """The templates of the stages."""
    machine.init()
    machine.keep("trash")
    with closing(sqlite3.connect(machine.home / "dmtools.db")) as db, db:
        db.execute("UPDATE lta_bundle SET proved = '2020-01-01 00:00:00.000000'")
    machine.archive.lay({b"/.dm-trash/2020-01-01/bundle-7/old": b"old"})
    machine.keep("audit")
    machine.fill("trash")
    machine.archive.set(trash_bytes=0)
    machine.keep("delete")
    here = machine.archive.outbound / IDEAL[1:]
    here.parent.mkdir(parents=True, exist_ok=True)
    here.write_bytes(machine.archive.on_tape(IDEAL).read_bytes())
    machine.keep("local")
    here.unlink()
    machine.expect(machine.run(*machine.command(BY_NAME["ready"])), 75)
    machine.site()
    machine.keep("ready")
    machine.start_servers()
    machine.faults('[[fault]]\nmatch = "errand"\nop = "slow"\nseconds = 3\n')
    machine.expect(machine.run(*machine.command(BY_NAME["ready"])), 75)
    machine.wait_for_servers()
    machine.faults("")
    machine.stop_servers()
    machine.rounds += 1
    machine.keep("landed")


def start(machine: BackMachine, stage: Stage) -> None:
    """HOME and servers as the stage has them."""
    machine.fill(stage.name)
    machine.start_servers()


def points(machine: BackMachine, stage: Stage) -> list[Call]:
    """Every call of the command that matters."""
    start(machine, stage)
    env = machine.environment(FIRST_SEED)
    found = calls.relevant(argv(machine, machine.command(stage)), env, machine.home, machine.place / "trace")
    assert found, f"{stage.name} writes nothing"
    return found


def run(machine: BackMachine, stage: Stage, call: Call, fault: str = KILL) -> Row:
    """One point."""
    start(machine, stage)
    env, log = machine.environment(FIRST_SEED), machine.place / "trace"
    outcome = calls.disturbed(argv(machine, machine.command(stage)), env, machine.home, log, call, fault)
    wrong = [] if outcome.code == -9 else judge.said_badly(stage.command[0], outcome.code, outcome.err)
    wrong += half_published(machine)
    machine.wait_for_servers()
    machine.site()
    done = machine.passes(stage)
    wrong += judged(machine, stage, done)
    copies, left = len(visible(machine.home / BACK)), len(judge.leftovers(machine.home))
    return Row(stage.name, outcome.hit or call, fault, outcome.hit is not None, outcome.code, copies, left, tuple(wrong))


def visible(place: Path) -> dict[bytes, bytes]:
    """What stands below a directory under a name of its own."""
    return {name: data for name, data in tree(place).items() if not name.rpartition(b"/")[2].startswith(b".")}


def half_published(machine: BackMachine) -> list[str]:
    """Files that are not whole."""
    return [f"{name!r} is not what it was" for name, data in visible(machine.home / BACK).items() if FILES[name] != data]


def judged(machine: BackMachine, stage: Stage, passes: Sequence[Done]) -> list[str]:
    """What is wrong, a sentence each."""
    found = [f"{one.command} ended with {one.code}: {one.err.strip()}" for one in passes if judge.TROUBLE.search(one.err)]
    if passes[-1].code != 0:
        found.append(f"it never came to its end: {passes[-1].err.strip()}")
    found += {DELETE: _deleted, AUDIT: _audited}.get(stage.command, _restored)(machine, stage)
    with closing(machine.tables()) as db:
        states = dict(db.execute("SELECT state, COUNT(*) FROM lta_bundle GROUP BY state"))
        tally = {s: n for s, n in db.execute("SELECT state, SUM(n) FROM tally WHERE pipeline = 'lta' GROUP BY state") if n}
        if states != tally:
            found.append(f"the counts by state: {tally}, but {states}")
        moves = Counter(db.execute("SELECT kind, to_state FROM journal WHERE kind IN ('lta-bundle', 'lta-directory')"))
        found += [f"{kind} came {n} times to {state}" for (kind, state), n in moves.items() if n > 1]
    return found


def _deleted(machine: BackMachine, stage: Stage) -> list[str]:
    warehouse, found = machine.archive.warehouse, []
    days = list((warehouse / ".dm-trash").glob("*")) if stage.name == "trash" else []
    trash = {name: data for day in days for name, data in tree(day / "bundle-1").items()}
    wanted = FILES if stage.name == "trash" else {}
    if trash != wanted:
        found.append(f"the trash has {sorted(trash)}")
    there = {name: data for name, data in tree(warehouse).items() if not name.startswith(b"/.dm-trash/")}
    if there != LATE:
        found.append(f"the warehouse has {sorted(there)}")
    with closing(machine.tables()) as db:
        states = [*db.execute("SELECT state FROM lta_bundle"), *db.execute("SELECT state FROM lta_directory")]
    if states != [("LocalFilesDeleted",), ("filesdeleted",)]:
        found.append(f"the books say {states}")
    if left := [path.name for path in (machine.home / "lta/deleting").iterdir()]:
        found.append(f"left in lta/deleting: {left}")
    return found


def _audited(machine: BackMachine, _stage: Stage) -> list[str]:
    found = []
    if tree(machine.archive.warehouse) != {**FILES, **LATE}:
        found.append(f"the warehouse has {sorted(tree(machine.archive.warehouse))}")
    with closing(machine.tables()) as db:
        states = [
            *db.execute("SELECT kind, state FROM lta_errand"), *db.execute("SELECT state, audited IS NOT NULL FROM lta_bundle")
        ]  # fmt: skip
    return found if states == [("fixity", "FixityDone"), ("LocalDeleted", 1)] else [*found, f"the books say {states}"]


def _restored(machine: BackMachine, _stage: Stage) -> list[str]:
    found = []
    if visible(machine.home / BACK) != FILES:
        found.append(f"there is {sorted(visible(machine.home / BACK))}")
    if visible(machine.archive.warehouse) != {**FILES, **LATE}:
        found.append("the warehouse changed")
    landing = machine.archive.outbound / ".dm-back"
    if landing.exists() and (left := [path.name for path in landing.iterdir() if path.suffix == ".zip"]):
        found.append(f"left in .dm-back: {left}")
    with closing(machine.tables()) as db:
        if open_errands := [state for (state,) in db.execute("SELECT state FROM lta_errand") if state != "RemoteCleaned"]:
            found.append(f"errands are {open_errands}")
    return found
