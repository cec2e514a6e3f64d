"""What the tests of daq-zip, daq-restore and daq-audit share: jobs, and files whose zips are on tape by the books."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from dmtools import clock, names
from dmtools.daq import jobfile, zipping
from dmtools.daq.lfn import lfn_key
from dmtools.daq.states import CLEANED, FREED
from dmtools.ledger import open_ledger, tables
from dmtools.ledger.journal import add_tally
from dmtools.settings import load
from tests.support import Result, run

NASTY = (
    b"a b.dat",
    b'it\'s "quoted".dat',
    b"two\nlines.dat",
    b"an error.dat",
    b"\xff\xfe raw.dat",
    "Größe µ.dat".encode(),
    b"-rf *",
)
DAY = "/2401/240102/"


def adler(data: bytes) -> str:
    """A checksum as the tables hold it."""
    return f"adler32:{zlib.adler32(data):08x}"


def lfn_of(name: bytes) -> str:
    """An LFN of this day."""
    return DAY + names.encode(name)


def strace(fault: str) -> tuple[str, ...]:
    """The prefix of a command that meets this fault: `CALL:what:when=N`, each thread counts by itself."""
    call, what, _ = fault.split(":")
    quick = () if what.startswith("signal") else ("--seccomp-bpf",)  # it would let the signal fall under the table
    return ("strace", "-f", "-qq", "-o", "/dev/null", *quick, "-e", f"trace={call}", "-e", f"inject={fault}")


def lay(place: Path, files: dict[str, bytes]) -> None:
    """These files below a directory, each under its LFN."""
    for lfn, data in files.items():
        path = below(place, lfn)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def below(place: Path, lfn: str) -> Path:
    """Where a file is."""
    return place / os.fsdecode(names.decode(lfn).lstrip(b"/"))


@dataclass
class Job:
    """A job's directory, with its sources, its scratch place and the place for its upload."""

    place: Path
    files: dict[str, bytes]
    changes: dict[str, Any] = field(default_factory=dict)
    key: str = "dm-0123456789abcdef0123"

    def __post_init__(self) -> None:
        for name in ("site", "scratch", "up", "job"):
            (self.place / name).mkdir(parents=True, exist_ok=True)
        lay(self.place / "site", self.files)
        self.write()

    @property
    def path(self) -> Path:
        return self.place / "job/job.json"

    @property
    def upload(self) -> Path:
        return self.place / "up/made.zip"

    def sources(self, base: str | None = None) -> list[dict[str, Any]]:
        base = base or names.file_url(self.place / "site")
        return [{"lfn": lfn, "source": base + lfn, "size": len(d), "checksum": adler(d)} for lfn, d in self.files.items()]

    def write(self) -> None:
        """The job file; `changes` go over what daq-archive would write."""
        job: dict[str, Any] = {
            "schema": 1,
            "key": self.key,
            "name": next(iter(self.files), "/none") + ".zip",
            "files": self.sources(),
        }
        job |= {"upload": names.file_url(self.upload), "scratch": str(self.place / "scratch"), "seconds": 600, "level": 4}
        self.path.write_text(json.dumps(job | self.changes))

    def run(self, *, prefix: tuple[object, ...] = (), **env: str) -> Result:
        return run("daq-zip", self.path, prefix=prefix, env=env)

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.place / "job/job.result.json").read_text())
        return found

    def left(self) -> list[str]:
        """What is in scratch and at the place of uploads, hidden names too."""
        return sorted(path.name for name in ("scratch", "up") for path in (self.place / name).iterdir())


@dataclass
class Tape:
    """A HOME whose zips are on tape (a directory) by the books, and whose files' copies are at the site."""

    home: Path
    files: dict[str, bytes] = field(default_factory=dict)

    def put(self, files: dict[str, bytes], *, days: float = 100, audited: float | None = None) -> Path:
        """One zip with these files, proved so many days ago, as daq-zip and daq-archive leave it; gives its path on tape."""
        lay(self.home / "demo/site", files)
        name = next(iter(files)) + ".zip"
        site, tape = names.file_url(self.home / "demo/site"), names.file_url(self.home / "demo/tape")
        sources = tuple(jobfile.Source(lfn, site + lfn, len(data), adler(data)) for lfn, data in files.items())
        done = zipping.run(jobfile.Job("dm-test", name, tape + name, sources, scratch=str(self.home / "run")))
        assert done.zip is not None, done
        self._book(name, done, files, days, audited)
        self.files |= files
        return below(self.home / "demo/tape", name)

    def _book(self, name: str, done: jobfile.Result, files: dict[str, bytes], days: float, audited: float | None) -> None:
        ledger, now = open_ledger(load(home=self.home)), clock.now()
        at = now - timedelta(days=days)
        size = sum(map(len, files.values()))
        with ledger.write() as connection:
            row = {"name": name, "name_key": names.key(name), "state": CLEANED, "since": at, "files": len(files), "bytes": size}
            row |= {"zip_size": done.zip.size, "zip_checksum": done.zip.checksum, "proved": at}  # type: ignore[union-attr]
            row |= {"audited": None if audited is None else now - timedelta(days=audited)}
            zip_id = connection.execute(insert(tables.daq_zip), row).inserted_primary_key[0]  # type: ignore[index]
            for lfn, data in files.items():
                file = {"disk_id": 1, "path": lfn[1:], "lfn": lfn, "lfn_key": lfn_key(lfn), "size": len(data), "state": FREED}
                file |= {"checksum": adler(data), "mtime_ns": 1_700_000_000_123_456_789, "inode": 1, "scan": 1, "since": at}
                connection.execute(insert(tables.daq_file), file | {"zip_id": zip_id, "freed": at})
            add_tally(connection, "daq", {FREED: (len(files), size)})
        ledger.close()

    def sql(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the tables."""
        import sqlite3

        with sqlite3.connect(self.home / "dmtools.db") as db:
            return db.execute(text, values).fetchall()

    def states(self) -> dict[str, str]:
        """The state of each file by its LFN; the counts that people are shown say the same."""
        found = dict(self.sql("SELECT lfn, state FROM daq_file"))
        tally = {s: n for s, n in self.sql("SELECT state, SUM(n) FROM tally WHERE pipeline='daq' GROUP BY state") if n}
        assert tally == {state: list(found.values()).count(state) for state in set(found.values())}
        return found

    def restore(self, *args: object, to: Path, **more: Any) -> Result:
        return run("daq-restore", *args, "--to", to, home=self.home, **more)


def tree(place: Path) -> dict[bytes, bytes]:
    """Every file below a directory, hidden ones too, by its raw name."""
    found = (Path(directory) / name for directory, _, files in os.walk(place) for name in files)
    return {os.path.relpath(os.fsencode(path), os.fsencode(place)): path.read_bytes() for path in found}


def flip(path: Path, at: int, bit: int = 0) -> None:
    """One bit of a file becomes the other."""
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))
