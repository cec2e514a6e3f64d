"""The sweeps over lta-nersc-client and its tape jobs: bundles in the buffer, the stages, plain passes to the end, the judgement.

A point is as in `sweep`: both HOMEs as a stage has them, the pass with one system call killed or failed, plain passes, the
judgement. The tape jobs that a pass starts are its children: a call of theirs is disturbed in the same way. The server is a
process of its own, and is left alone.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmtools.lta.api import answer
from dmtools.lta.api.errands import AddErrands, Errands
from tests.faults import calls, judge
from tests.faults.calls import Call
from tests.faults.daq_archive import _is_running
from tests.faults.machine import FIRST_SEED, Machine
from tests.faults.sweep import KILL, Row, Stage, argv
from tests.faults.warm import Done
from tests.lta.bookkeeping import add, direct, move, new, take

CLIENT = ("lta-nersc-client",)
BUNDLES = {name: random.Random(name).randbytes(size) for name, size in (("/a.zip", 300), ("/2016/b%20c.zip", 5000))}
STAGES = (
    Stage("begin", CLIENT),  # bundles in the buffer: claimed, booked, submitted, put on tape
    Stage("booked", CLIENT),  # NERSCRunning, and the batch system knows nothing of their jobs
    Stage("results", CLIENT),  # their jobs ended: booked, the buffer is emptied
    Stage("done", CLIENT),  # NERSCDone, and their copies lie in the buffer still
    Stage("asked", CLIENT),  # one is wanted back, one is to be read again
    Stage("found", CLIENT),  # those jobs ended
)
BY_NAME = {stage.name: stage for stage in STAGES}


@dataclass
class RemoteMachine(Machine):
    """The source's HOME, and the remote site's in it, below `remote`."""

    port: int = 0  # of the server; 0: any
    _server: int | None = None

    @property
    def remote(self) -> Path:
        """HOME of the remote site."""
        return self.home / "remote"

    def place_of(self, where: str, name: str) -> Path:
        """A bundle in the buffer, on tape, in the export directory."""
        return self.remote / where / name.lstrip("/").replace("%20", " ")

    def environment(self, seed: str = FIRST_SEED, offset: float | None = None) -> dict[str, str]:
        """The client's: it knows its own HOME alone."""
        return {**super().environment(seed, offset), "DMTOOLS_HOME": str(self.remote), "DMTOOLS_CLOCK_OFFSET": "0"}

    def init(self, lfns: Sequence[bytes] = ()) -> None:
        """A fresh pair of HOMEs, the bundles proved in the buffer."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.rounds = 0
        self.expect(self.warm.run("dm-config", "init", str(self.home), env=super().environment()), 0)
        books = direct(self.home)
        for name, body in BUNDLES.items():
            self.place_of("buffer", name).parent.mkdir(parents=True, exist_ok=True)
            self.place_of("buffer", name).write_bytes(body)
            proof = {"size": len(body), "sha512": hashlib.sha512(body).hexdigest(), "adler32": f"{zlib.adler32(body):08x}"}
            one = add(books, new(name, **proof))[0]
            move(books, move(books, take(books, "Untouched", ids=(one.id,))[0], "JsonMade", keep=True), "PushDone")
        books.ledger.close()
        for name in ("tape", "export"):
            (self.remote / name).mkdir()

    # ---- the server

    def start_servers(self) -> None:
        """lta-rest-server, and the settings of the remote site, which name it."""
        self._server = self.warm.serve("lta-rest-server", "--port", str(self.port), env=self.at_source(), listening=1)
        self.settle_at((self.place / "server.out").read_text().partition("listening on ")[2].split()[0])

    def at_source(self) -> dict[str, str]:
        """The environment of what runs at the source."""
        return {**super().environment(offset=0), "DMTOOLS_HOME": str(self.home)}

    def settle_at(self, url: str) -> None:
        """The settings of the remote site, whose server is there."""
        lines = [f'url = "{url}"', f'token_file = "{self.home}/secrets/lta-nersc.token"', 'remote_buffer = "buffer"']
        lines += ['remote_export = "export"', 'tape_root = "tape"', f'export = "file://{self.remote}/export"']
        (self.remote / "dmtools.toml").write_text("\n".join(["[lta]", *lines, ""]))

    def stop_servers(self, kill: bool = False) -> None:
        """Ends it."""
        if self._server is not None:
            self.warm.stop(self._server, signal.SIGKILL if kill else signal.SIGTERM)
            self._server = None

    # ---- passes

    @contextmanager
    def hand(self) -> Iterator[sqlite3.Connection]:
        """The tables, to be written by hand."""
        with closing(sqlite3.connect(self.home / "dmtools.db")) as db, db:
            yield db

    def due(self) -> None:
        """Time has passed: claims of who was killed have run out, and all may be tried again."""
        with self.hand() as db:
            for table in ("lta_bundle", "lta_errand"):
                db.execute(f"UPDATE {table} SET ready = since")

    def jobs_over(self, seconds: float = 30) -> None:
        """Until every local job has ended."""
        from tests.support import wait_until

        locks = self.remote / "run/batch/local"
        wait_until(lambda: not any(_is_running(lock) for lock in locks.glob("lta-*/lock")), seconds, "the tape jobs end")

    def round(self) -> list[Done]:
        """A pass, later than the one before; what it began has ended then."""
        self.rounds += 1
        self.due()
        done = [self.run(*CLIENT)]
        self.jobs_over()
        return done

    def open(self) -> list[str]:
        """What is not finished."""
        with closing(self.tables()) as db:
            found = [f"bundle {n} {s}" for n, s in db.execute("SELECT ideal, state FROM lta_bundle WHERE state != 'NERSCClean'")]
            over = "('ExportReady', 'FixityDone')"
            found += [f"errand {n} {s}" for n, s in db.execute(f"SELECT id, state FROM lta_errand WHERE state NOT IN {over}")]
        return found

    def to_the_end(self, most: int = 9) -> list[Done]:
        """And one more, in which nothing happens."""
        return super().to_the_end(most) + self.round()


def prepare(machine: RemoteMachine) -> None:
    """The templates of the stages, each made by plain passes from the one before."""
    machine.init()
    machine.keep("begin")
    _pass(machine)
    machine.keep("results")
    shutil.rmtree(machine.remote / "run/batch")
    shutil.rmtree(machine.remote / "tape")
    (machine.remote / "tape").mkdir()
    for place in (machine.remote / "lta/tape-jobs").iterdir():
        for path in place.iterdir():
            if path.name != "job.json":
                path.unlink()
    machine.keep("booked")
    machine.fill("results")
    for name in BUNDLES:  # one that can't go keeps its bundle NERSCDone
        machine.place_of("buffer", name).rename(machine.place_of("buffer", name).with_suffix(".kept"))
        machine.place_of("buffer", name).mkdir()
    _pass(machine, 1)
    for name in BUNDLES:
        machine.place_of("buffer", name).rmdir()
        machine.place_of("buffer", name).with_suffix(".kept").rename(machine.place_of("buffer", name))
    machine.keep("done")
    machine.fill("results")
    _pass(machine)
    books = direct(machine.home)
    for number, kind in enumerate(("recall", "fixity"), 1):
        answer(books, AddErrands(kind=kind, bundles=(number,)), Errands)
    books.ledger.close()
    machine.keep("asked")
    _pass(machine)
    machine.keep("found")


def _pass(machine: RemoteMachine, code: int = 0) -> None:
    machine.start_servers()
    machine.expect(machine.run(*CLIENT), code)
    machine.jobs_over()
    machine.stop_servers()


def start(machine: RemoteMachine, stage: Stage) -> None:
    """HOMEs and server as the stage has them."""
    machine.fill(stage.name)
    machine.start_servers()


def points(machine: RemoteMachine, stage: Stage) -> list[Call]:
    """Every call of the pass, and of the jobs that it starts, that matters."""
    start(machine, stage)
    return calls.relevant(argv(machine, stage.command), machine.environment(), machine.home, machine.place / "trace")


def run(machine: RemoteMachine, stage: Stage, call: Call, fault: str = KILL) -> Row:
    """One point."""
    start(machine, stage)
    outcome = calls.disturbed(
        argv(machine, stage.command), machine.environment(), machine.home, machine.place / "trace", call, fault
    )
    wrong = [] if outcome.code == -9 or outcome.reads else judge.said_badly(stage.command[0], outcome.code, outcome.err)
    machine.jobs_over()
    wrong += lost(machine)
    wrong += judged(machine, machine.to_the_end())
    on_tape = sum(path.is_file() for path in (machine.remote / "tape").rglob("*"))
    left = len(judge.leftovers(machine.remote / "tape"))
    return Row(stage.name, outcome.hit or call, fault, outcome.hit is not None, outcome.code, on_tape, left, tuple(wrong))


def lost(machine: RemoteMachine) -> list[str]:
    """At any moment each bundle is whole in the buffer, or on tape."""
    found = []
    for name, body in BUNDLES.items():
        places = [machine.place_of(where, name) for where in ("buffer", "tape")]
        if not any(path.is_file() and path.read_bytes() == body for path in places):
            found.append(f"{name} is nowhere")
    return found


def judged(machine: RemoteMachine, passes: Sequence[Done]) -> list[str]:
    """What is wrong, a sentence each: each bundle on tape once, equal; the buffer empty; books that agree; nothing left."""
    found = [f"still open: {what}" for what in machine.open()]
    found += [
        f"ended with {done.code}: {done.err}" for done in passes if done.code not in (0, 1) or judge.TROUBLE.search(done.err)
    ]
    for name, body in BUNDLES.items():
        if machine.place_of("tape", name).read_bytes() != body:
            found.append(f"{name} on tape is not what it was")
    there = sorted(
        str(path.relative_to(machine.remote / "tape")) for path in (machine.remote / "tape").rglob("*") if path.is_file()
    )
    if len(there) != len(BUNDLES):
        found.append(f"on tape: {there}")
    found += [f"left in the buffer: {path.name}" for path in (machine.remote / "buffer").rglob("*") if path.is_file()]
    for place in (machine.remote / "lta/tape-jobs", machine.remote / "run/batch/local"):
        found += [f"left of a job: {path}" for path in place.glob("lta-*") if not _unknown(machine, path.name)]
    with closing(machine.tables()) as db:
        found += _books(db)
        if recalls := db.execute("SELECT COUNT(*) FROM lta_errand WHERE kind = 'recall'").fetchone()[0]:
            copies = [path for path in (machine.remote / "export").rglob("*") if path.is_file()]
            if [path.read_bytes() for path in copies] != [BUNDLES["/a.zip"]] * recalls:
                found.append(f"in the export directory: {copies}")
    return found


def _unknown(machine: RemoteMachine, key: str) -> bool:
    """Nobody waits for it: an hour later it is swept."""
    with closing(machine.tables()) as db:
        query = "SELECT COUNT(*) FROM lta_bundle WHERE job = ? AND state = 'NERSCRunning'"
        return not db.execute(query, (key,)).fetchone()[0]


def _books(db: Any) -> list[str]:
    found = []
    rows = dict(db.execute("SELECT state, COUNT(*) FROM lta_bundle GROUP BY state"))
    tally = {s: n for s, n in db.execute("SELECT state, SUM(n) FROM tally WHERE pipeline = 'lta' GROUP BY state") if n}
    if rows != {"NERSCClean": len(BUNDLES)} or tally != rows:
        found.append(f"bundles by state: {rows}; counted: {tally}")
    for state in ("NERSCDone", "NERSCClean", "ExportReady", "FixityDone"):
        twice = db.execute("SELECT item FROM journal WHERE to_state = ? GROUP BY kind, item HAVING COUNT(*) > 1", (state,))
        found += [f"{item} came twice to {state}" for (item,) in twice]
    bad = db.execute("SELECT COUNT(*) FROM journal WHERE to_state IN ('Quarantined', 'RetrieveProblem', 'FixityProblem')")
    if n := bad.fetchone()[0]:
        found.append(f"{n} were given up")
    if reserved := db.execute("SELECT COALESCE(SUM(reserved), 0) FROM lta_bundle").fetchone()[0]:
        found.append(f"{reserved} bytes are reserved still")
    if held := db.execute("SELECT ideal FROM lta_bundle WHERE holder IS NOT NULL").fetchall():
        found.append(f"held still: {held}")
    return found
