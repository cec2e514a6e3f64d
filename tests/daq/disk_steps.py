"""What the tests of daq-transfer share: disks as the DAQ leaves them, passes, and a look at disks, site and tables."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmtools import clock
from dmtools.daq.states import AT_SITE, FREED, ON_TAPE, STATES, TO_TAPE, ZIPPED, ZIPPING
from dmtools.ledger import journal, open_ledger, tables
from dmtools.ledger.journal import Move
from dmtools.settings import load
from tests.support import Result, run

RUN = "MIG_run1/raw/"
DAY = "/2407/240716/"


def data(name: str) -> str:
    """A data file's path below its disk, of the day `DAY`."""
    return f"{RUN}{name}_240716T101010.dat"


def lfn(path: str) -> str:
    """Its LFN."""
    return DAY + path


@dataclass
class Disks:
    """One HOME with its four disks."""

    home: Path
    offset: float = 0

    # ---- disks and site

    def disk(self, number: int = 1) -> Path:
        """A disk."""
        return self.home / f"demo/daq/data{number}"

    def file(self, path: str | bytes, body: bytes | None = None, *, disk: int = 1) -> Path:
        """A file on a disk."""
        place = Path(os.fsdecode(os.fsencode(self.disk(disk)) + b"/" + os.fsencode(path)))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(os.urandom(300) if body is None else body)
        return place

    def flag(self, disk: int = 1) -> None:
        """The DAQ says that the disk is full."""
        (self.disk(disk) / "ReadyForData").unlink(missing_ok=True)
        (self.disk(disk) / "ReadyToTransfer").touch()

    def flags(self, disk: int = 1) -> list[str]:
        """The flags at its root."""
        return sorted(path.name for path in self.disk(disk).iterdir() if path.name.startswith("Ready"))

    def copy(self, path: str | bytes) -> Path:
        """Where the site has a data file's copy."""
        return Path(os.fsdecode(os.fsencode(self.home / "demo/site") + os.fsencode(DAY) + os.fsencode(path)))

    def settings(self, **daq: Any) -> None:
        """[daq] settings."""
        lines = [
            f"{name} = {str(value).lower() if isinstance(value, bool | int) else repr(value)}" for name, value in daq.items()
        ]
        file = self.home / "dmtools.toml"
        text = "".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith("daq."))
        file.write_text("".join(f"daq.{line}\n" for line in lines) + text)

    # ---- passes

    def transfer(self, *args: object, code: int = 0, prefix: tuple[object, ...] = (), **options: Any) -> Result:
        """One daq-transfer, with its JSON."""
        env = {"DMTOOLS_CLOCK_OFFSET": str(self.offset)}
        return run("daq-transfer", *args, "--json", home=self.home, env=env, prefix=prefix, **options).gave(code)

    def later(self, seconds: float = 7200) -> None:
        """The next passes come so much later."""
        self.offset += seconds

    def to_tape(self) -> None:
        """What daq-archive does to all files at the site: OnTape in the books; Freed, when they left their disk already."""
        ledger = open_ledger(load(home=self.home))
        try:
            with ledger.write() as connection:
                for before, after in zip((AT_SITE, ZIPPING, ZIPPED, TO_TAPE), (ZIPPING, ZIPPED, TO_TAPE, ON_TAPE), strict=True):
                    rows = connection.execute(tables.daq_file.select().where(tables.daq_file.c.state == before)).all()
                    moves = [Move(row.id, before, after, size=row.size) for row in rows]
                    journal.advance(connection, tables.daq_file, STATES, moves, by="daq-archive", at=clock.now())
                file = tables.daq_file
                gone = connection.execute(file.select().where(file.c.state == ON_TAPE, file.c.freed.is_not(None))).all()
                moves = [Move(row.id, ON_TAPE, FREED, size=row.size) for row in gone]
                journal.advance(connection, file, STATES, moves, by="daq-archive", at=clock.now())
        finally:
            ledger.close()

    # ---- the books

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the database, by sqlite3 alone."""
        with closing(sqlite3.connect(f"file:{self.home}/dmtools.db?mode=ro", uri=True)) as connection:
            return connection.execute(query, values).fetchall()

    def states(self) -> dict[str, str]:
        """The state of each file by its path, as the tables have it; the counts must agree."""
        rows = self.sql("SELECT path, state, size FROM daq_file ORDER BY id")
        counts: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for _, state, size in rows:
            counts[state] += 1
            sizes[state] += size
        tally = {
            s: (n, b)
            for s, n, b in self.sql("SELECT state, SUM(n), SUM(bytes) FROM tally WHERE pipeline = 'daq' GROUP BY 1")
            if n
        }
        assert tally == {state: (n, sizes[state]) for state, n in counts.items()}
        return {path: state for path, state, _ in rows}

    def disk_states(self) -> list[str]:
        """The states of the disks, in their order."""
        return [state for (state,) in self.sql("SELECT state FROM daq_disk ORDER BY id")]

    def why(self, path: str) -> str:
        """The reason in a file's row."""
        return str(self.sql("SELECT reason FROM daq_file WHERE path = ?", path)[0][0])


def adler(body: bytes) -> str:
    """As the tables hold it."""
    return f"adler32:{zlib.adler32(body):08x}"


def told(result: Result) -> str:
    """All that a pass told as errors, in one text."""
    return "\n".join(f"{e['what']}: {e['subject']}: {e['why']}; {e['left']}; {e['next']}" for e in result.json["errors"])
