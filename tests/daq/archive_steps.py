"""What the tests of daq-archive share: files that are proved at the site, passes, and a look at site, tape and tables."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from dmtools import clock, names
from dmtools.daq.lfn import lfn_key, place_key
from dmtools.daq.states import AT_SITE, STATES
from dmtools.ledger import open_ledger, tables
from dmtools.ledger.journal import Move, count_moves, record
from dmtools.settings import load
from tests.migrate.steps import Site
from tests.support import Result, wait_until

OPEN = ("AtSite", "Zipping", "Zipped", "ToTape")
DAY = "/2501/250131/MIG_run1/"


def adler(data: bytes) -> str:
    """A checksum as the tables hold it."""
    return f"adler32:{zlib.adler32(data):08x}"


@dataclass
class Archive(Site):
    """A HOME whose files came to the site already; daq-archive does the rest."""

    def at_site(self, *lfns: str, data: bytes | None = None, freed: bool = False) -> list[str]:
        """Files that daq-transfer has copied to the site and proved there."""
        content = {lfn: os.urandom(300) if data is None else data for lfn in lfns}
        for lfn, body in content.items():
            self.copy(lfn).parent.mkdir(parents=True, exist_ok=True)
            self.copy(lfn).write_bytes(body)
        self.booked({lfn: (len(body), adler(body)) for lfn, body in content.items()}, freed=freed)
        return list(lfns)

    def booked(self, files: dict[str, tuple[int, str]], *, freed: bool = False) -> None:
        """Their rows: AtSite, with these sizes and checksums."""
        ledger, at = open_ledger(load(home=self.home)), clock.now()
        known = len(self.sql("SELECT id FROM daq_file"))
        rows = [
            {"disk_id": 1, "path": lfn[1:], "place_key": None if freed else place_key(1, lfn[1:]), "lfn": lfn}
            | {"lfn_key": lfn_key(lfn), "size": size, "checksum": checksum, "mtime_ns": 0, "inode": number, "scan": 1}
            | {"id": known + number, "state": AT_SITE, "since": at, "failures": 0, "freed": at if freed else None}
            for number, (lfn, (size, checksum)) in enumerate(files.items(), 1)
        ]
        with ledger.write() as connection:
            connection.execute(insert(tables.daq_file), rows)
            moves = [Move(row["id"], "", AT_SITE, "copied by the test", row["size"]) for row in rows]  # type: ignore[arg-type]
            record(connection, STATES, moves, by="test", at=at)
            count_moves(connection, "daq", moves, at)
        ledger.close()

    # ---- places

    def copy(self, lfn: str) -> Path:
        """The copy of a file at the site."""
        return Path(os.fsdecode(names.decode(f"{self.home}/demo/site{lfn}")))

    def on_tape(self, lfn: str) -> Path:
        """Where its zip is on tape."""
        return Path(os.fsdecode(names.decode(f"{self.home}/demo/tape{lfn}.zip")))

    def unzipped(self, lfn: str) -> bytes:
        """The file out of its zip on tape, by the standard library."""
        with zipfile.ZipFile(io.BytesIO(self.on_tape(lfn).read_bytes())) as found:
            assert found.testzip() is None
            (member,) = (one for one in found.infolist() if one.filename != "MANIFEST.json")
            return found.read(member)

    def zips(self) -> list[str]:
        """The files below the place where zips wait, hidden ones too, without directories."""
        place = self.home / "demo/site/zips"
        return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())

    def jobs(self) -> list[Path]:
        """The directories of jobs."""
        return sorted((self.home / "daq/jobs").iterdir()) if (self.home / "daq/jobs").is_dir() else []

    # ---- passes

    def archive(self, *args: object, codes: tuple[int, ...] = (0, 1, 75)) -> Result:
        """One pass; 75: no FTS server is there."""
        return self.run("daq-archive", "--json", *args).gave(*codes)

    def jobs_over(self) -> None:
        """Waits until each open job has its result, whatever it says."""

        def all_over() -> bool:
            keys = [key for (key,) in self.sql("SELECT job_key FROM daq_zip WHERE state = 'Zipping'")]
            return all((self.home / "daq/jobs" / key / "job.result.json").exists() for key in keys)

        wait_until(all_over, 30, "the zip jobs are over")

    def zipped(self) -> None:
        """Passes until nothing is AtSite or Zipping."""
        for _ in range(6):
            if not {"AtSite", "Zipping"} & set(self.files()):
                return
            self.archive()
            self.jobs_over()
        assert not {"AtSite", "Zipping"} & set(self.files()), self.files()

    def settle(self, rounds: int = 8) -> None:
        """Plain passes until nothing is under way; waiting times are taken away."""
        for _ in range(rounds):
            self.archive()
            self.jobs_over()
            self.over()
            self.due()
            if not set(OPEN) & set(self.files()) and not self.sql("SELECT id FROM daq_zip WHERE state = 'OnTape'"):
                return

    def due(self) -> None:
        """What waits may go now."""
        with self.database() as db:
            db.execute("UPDATE filelist SET next_try = NULL")
            db.execute("UPDATE daq_zip SET next_try = NULL WHERE state = 'Waiting'")

    # ---- looks

    def files(self) -> dict[str, int]:
        """How many files are in each state; the counts that people are shown say the same."""
        found = dict(self.sql("SELECT state, COUNT(*) FROM daq_file GROUP BY state"))
        rows = self.sql("SELECT state, SUM(n) FROM tally WHERE pipeline = 'daq' GROUP BY state")
        assert {state: n for state, n in rows if n} == found
        return found

    def zip_row(self, lfn: str) -> dict[str, Any]:
        """The row of a file's zip."""
        columns = [row[1] for row in self.sql("PRAGMA table_info(daq_zip)")]
        (row,) = self.sql("SELECT * FROM daq_zip WHERE id = (SELECT zip_id FROM daq_file WHERE lfn = ?)", lfn)
        return dict(zip(columns, row, strict=True))


Make = Callable[[], Archive]
