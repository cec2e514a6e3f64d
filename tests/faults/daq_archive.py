"""The sweeps over daq-archive: a HOME with files at the site, its stages, plain passes to the end, and the judgement.

A point is as in `sweep`: HOME as a stage has it, the pass with one system call killed or failed, plain passes, the judgement. The
zip jobs that a pass starts are its children: a call of theirs is disturbed in the same way.
"""

from __future__ import annotations

import fcntl
import io
import random
import sqlite3
import time
import zipfile
import zlib
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

ARCHIVE = ("daq-archive",)
DAY = "/2501/250131/MIG_1/"
FILES = {DAY + name: random.Random(name).randbytes(size) for name, size in (("a", 300), ("b%20c", 5000), ("empty", 0))}
FREED = DAY + "a"  # its source has left the disk before
STAGES = (
    Stage("begin", ARCHIVE),  # files at the site: chosen, booked, submitted, zipped
    Stage("booked", ARCHIVE),  # keys are booked, of whose submission nothing is known
    Stage("results", ARCHIVE),  # results: proved, lists of the engine, submitted to FTS
    Stage("proved", ARCHIVE),  # copies ended: proved on tape, zips at the site removed
)
BY_NAME = {stage.name: stage for stage in STAGES}


@dataclass
class DaqMachine(Machine):
    """A HOME whose files came to the site already."""

    def init(self, lfns: Sequence[bytes] = ()) -> None:
        """A fresh HOME, its files at the site and their rows."""
        super().init(())
        for path in (self.home / "migrate/TODO/ListOfLFNs").glob("*.txt"):
            path.unlink()
        settings = self.home / "dmtools.toml"
        settings.write_text("daq.retry_seconds = 1\n" + settings.read_text("utf-8"), "utf-8")
        for lfn, data in FILES.items():
            self.copy(lfn).parent.mkdir(parents=True, exist_ok=True)
            self.copy(lfn).write_bytes(data)
        with closing(sqlite3.connect(self.home / "dmtools.db")) as db, db:
            for number, (lfn, data) in enumerate(FILES.items(), 1):
                _book(db, number, lfn, data)

    def copy(self, lfn: str) -> Path:
        """A file's copy at the site."""
        return Path(f"{self.home}/demo/site{lfn.replace('%20', ' ')}")

    def tape(self, lfn: str) -> Path:
        """Its zip on tape."""
        return Path(f"{self.home}/demo/tape{lfn.replace('%20', ' ')}.zip")

    def jobs_over(self, seconds: float = 20) -> None:
        """Until every local job has ended."""
        end = time.monotonic() + seconds
        while any(map(_is_running, (self.home / "run/batch/local").glob("dm-*/lock"))):
            assert time.monotonic() < end, "the zip jobs did not end"
            time.sleep(0.01)

    def round(self) -> list[Done]:
        """A pass, later than the one before; what it began has ended then."""
        self.rounds += 1
        done = [self.run(*ARCHIVE)]
        self.jobs_over()
        self.wait_for_servers()
        return done

    def open(self) -> list[str]:
        """What the tables say is not finished."""
        with closing(self.tables()) as db:
            found = [f"list {n} {s}" for n, s in db.execute("SELECT name, state FROM filelist WHERE state != 'done'")]
            found += [f"zip {n} {s}" for n, s in db.execute("SELECT name, state FROM daq_zip WHERE state != 'Cleaned'")]
            found += [f"file {n}" for (n,) in db.execute("SELECT lfn FROM daq_file WHERE zip_id IS NULL")]
        return found

    def to_the_end(self, most: int = 9) -> list[Done]:
        """And one more, which sweeps."""
        return super().to_the_end(most) + self.round()


def _is_running(lock: Path) -> bool:
    """A job and the process beside it hold its lock."""
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _book(db: sqlite3.Connection, number: int, lfn: str, data: bytes) -> None:
    row = {"id": number, "disk_id": 1, "path": lfn[1:], "lfn": lfn, "lfn_key": bytes([number]) * 32, "size": len(data)}
    row |= {"mtime_ns": 0, "inode": number, "checksum": f"adler32:{zlib.adler32(data):08x}", "state": "AtSite", "scan": 1}
    row |= {"since": "2025-01-01 00:00:00.000000", "failures": 0}
    row |= {"freed": "2025-01-01 00:00:00.000000"} if lfn == FREED else {"place_key": bytes([number]) * 32}
    db.execute(f"INSERT INTO daq_file ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()])
    db.execute("INSERT INTO tally VALUES ('daq', 'AtSite', ?, 1, ?)", (100 + number, len(data)))


def prepare(machine: DaqMachine) -> None:
    """The templates of the stages, each made by plain passes from the one before."""
    machine.init()
    machine.keep("begin")
    machine.expect(machine.run(*ARCHIVE), 0)
    machine.jobs_over()
    machine.rounds += 1
    machine.keep("results")
    machine.start_servers()
    machine.expect(machine.run(*ARCHIVE), 0)
    machine.wait_for_servers()
    machine.stop_servers()
    machine.rounds += 1
    machine.keep("proved")
    machine.fill("results")
    for job in (*(machine.home / "run/batch/local").glob("dm-*"), *(machine.home / "daq/jobs").iterdir()):
        for path in job.iterdir():
            path.unlink()
        job.rmdir()
    for path in (machine.home / "demo/site/zips").rglob("*.zip"):
        path.unlink()
    with closing(sqlite3.connect(machine.home / "dmtools.db")) as db, db:
        db.execute("UPDATE daq_zip SET submitted = NULL, job = NULL")
    machine.keep("booked")


def start(machine: DaqMachine, stage: Stage) -> None:
    """HOME and servers as the stage has them."""
    machine.fill(stage.name)
    machine.start_servers()


def points(machine: DaqMachine, stage: Stage) -> list[Call]:
    """Every call of the pass, and of the jobs that it starts, that matters."""
    start(machine, stage)
    env = machine.environment(FIRST_SEED)
    return calls.relevant(argv(machine, stage.command), env, machine.home, machine.place / "trace")


def run(machine: DaqMachine, stage: Stage, call: Call, fault: str = KILL) -> Row:
    """One point."""
    start(machine, stage)
    env, log = machine.environment(FIRST_SEED), machine.place / "trace"
    outcome = calls.disturbed(argv(machine, stage.command), env, machine.home, log, call, fault)
    wrong = [] if outcome.code == -9 else judge.said_badly(stage.command[0], outcome.code, outcome.err)
    machine.jobs_over()
    machine.wait_for_servers()
    wrong += judged(machine, machine.to_the_end())
    left = len(judge.leftovers(machine.home))
    return Row(
        stage.name, outcome.hit or call, fault, outcome.hit is not None, outcome.code, judge.copies(machine), left, tuple(wrong)
    )


def judged(machine: DaqMachine, passes: Sequence[Done]) -> list[str]:
    """What is wrong, a sentence each: each file on tape once, equal; nothing left; books that agree."""
    found = [f"still open: {what}" for what in machine.open()]
    found += judge._talk(machine, passes)
    for lfn, data in FILES.items():
        if machine.copy(lfn).read_bytes() != data:
            found.append(f"the site's copy of {lfn} changed")
        found += _on_tape(machine, lfn, data)
    opened = Counter(row["destination"] for row in machine.records("copies") if row["opened_at"] is not None)
    if sorted(opened.values()) != [1] * len(FILES):
        found.append(f"copies opened at the tape: {dict(opened)}, not once each")
    zips = machine.home / "demo/site/zips"
    found += [f"left at the site: {path.name}" for path in zips.rglob("*") if path.is_file() and not path.name.endswith(".dmtmp")]
    with closing(machine.tables()) as db:
        found += _books(db)
    return found


def _on_tape(machine: DaqMachine, lfn: str, data: bytes) -> list[str]:
    try:
        with zipfile.ZipFile(io.BytesIO(machine.tape(lfn).read_bytes())) as content:
            inside = [content.read(name) for name in content.namelist() if name != "MANIFEST.json"]
    except (OSError, zipfile.BadZipFile) as problem:
        return [f"{lfn} on tape: {problem}"]
    return [] if inside == [data] else [f"{lfn} on tape is not what it was"]


def _books(db: Any) -> list[str]:
    found = []
    states = dict(db.execute("SELECT state, COUNT(*) FROM daq_file GROUP BY state"))
    tally = {s: n for s, n in db.execute("SELECT state, SUM(n) FROM tally WHERE pipeline = 'daq' GROUP BY state") if n}
    ends = dict(db.execute("SELECT to_state, COUNT(*) FROM journal WHERE kind = 'daq-file' GROUP BY to_state"))
    if states != {"OnTape": len(FILES) - 1, "Freed": 1}:
        found.append(f"files by state: {states}")
    if tally != states:
        found.append(f"the counts by state: {tally}, but {states}")
    if (ends.get("OnTape"), ends.get("Freed"), ends.get("Bad")) != (len(FILES), 1, None):
        found.append(f"the journal's ends of files: {ends}")
    if jobs := db.execute("SELECT COUNT(*) FROM ftsjob WHERE state != 'closed'").fetchone()[0]:
        found.append(f"{jobs} FTS jobs are not closed")
    return found
