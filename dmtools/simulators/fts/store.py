"""The server's tables, in an sqlite file of its own: one connection, one lock, short transactions, cached answers."""

# ruff: noqa: S608 - the SQL is put together from names of this program; values are always bound.

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from dmtools import clock
from dmtools.simulators.fts.model import (
    FILE_KEYS,
    FLAG_KEYS,
    JOB_KEYS,
    JSON_KEYS,
    SCHEMA,
    Refused,
    file_expression,
    value_of,
)
from dmtools.simulators.fts.submission import Submission

_ANSWERS_KEPT = 50_000
_JOB_COLUMNS = ", ".join(JOB_KEYS)
_JOB_INSERT = f"INSERT INTO jobs(first_file, last_file, {_JOB_COLUMNS}) VALUES ({', '.join('?' * (len(JOB_KEYS) + 2))})"
_SUBMITTED = (
    "file_id",
    "job",
    "link",
    "file_index",
    "file_state",
    "priority",
    "user_filesize",
    "selection_strategy",
    "checksum",
    "file_metadata",
    "staging_metadata",
    "archive_metadata",
    "activity",
    "scitag",
    "hashed_id",
    "retry",
    "source_surl",
    "dest_surl",
    "source_se",
    "dest_se",
    "dest_surl_uuid",
)
_SETTLED = (*_SUBMITTED, "reason", "filesize", "start_time", "finish_time", "tx_duration", "throughput", "recoverable")
AtOnce = tuple[Callable[[list[dict[str, Any]]], None], Callable[[sqlite3.Connection, int], None]]


class Store:
    """Jobs, files, copies and submissions. Everything is done under `lock`; `write()` is one transaction."""

    def __init__(self, path: Path, *, check_duplicates: bool = False) -> None:
        self.check_duplicates = check_duplicates
        self.lock = threading.RLock()
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
        path.chmod(0o600)
        self.db.row_factory = sqlite3.Row
        self.db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=4000;")
        self.db.executescript(SCHEMA)
        highest = self.db.execute("SELECT max(file_id) FROM files").fetchone()[0]
        self._next_file = (highest or 8_000_000_000 + time.time_ns() % 1_000_000_000) + 1
        self._answers: dict[int, dict[str, bytes]] = {}
        self._numbers: dict[str, int] = {}

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed at the end, rolled back on any exception."""
        with self.lock:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")

    def touch(self, job: int) -> None:
        """A job changed: its cached answers are void. Called inside the transaction that changes it."""
        self._answers.pop(job, None)

    def close(self) -> None:
        """Folds the log into the file and lets nobody in any more: the lock is kept."""
        self.lock.acquire()
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def submit(self, submission: Submission, answered: bool, at_once: AtOnce | None = None) -> str:
        """Stores a job, whole or not at all; `at_once` may copy the files and settle rows and job. Raises Refused(409)."""
        job, files = submission.job, submission.files
        with self.write() as db:
            first = self._next_file
            values = [job.get(key) for key in JOB_KEYS]
            try:
                n = db.execute(_JOB_INSERT, (first, first + len(files) - 1, *values)).lastrowid
            except sqlite3.IntegrityError:
                raise Refused(409, "The sid provided by the user is duplicated") from None
            for number, row in enumerate(files):
                row |= {"file_id": first + number, "job": n, "link": f"{row['source_se']} {row['dest_se']}"}
            if at_once:
                at_once[0](files)
            columns = _SETTLED if at_once else _SUBMITTED
            insert = f"INSERT INTO files({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
            try:
                db.executemany(insert, map(itemgetter(*columns), files))
            except sqlite3.IntegrityError as problem:
                raise Refused(409, f"The submission is duplicated ({problem})") from None
            db.execute(
                "INSERT INTO submissions(job_id, sid, at, answered) VALUES (?, ?, ?, ?)",
                (job["job_id"], submission.sid, clock.iso(clock.now()), int(answered)),
            )
            if at_once:
                self._record_at_once(db, job, files)
                at_once[1](db, n or 0)
            self._next_file += len(files)
        return str(job["job_id"])

    def _record_at_once(self, db: sqlite3.Connection, job: dict[str, Any], files: list[dict[str, Any]]) -> None:
        at = clock.iso(clock.now())
        db.executemany(
            "INSERT INTO copies(destination, source, job_id, file_id, started_at, opened_at, closed_at, outcome)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 'FINISHED')",
            [(f["dest_surl"], f["source_surl"], job["job_id"], f["file_id"], at, at, at) for f in files if f["opened"]],
        )

    def job_row(self, job_id: str) -> sqlite3.Row | None:
        """The row of a job that is not archived, by its id; None when there is none."""
        with self.lock:
            found: sqlite3.Row | None = self.db.execute("SELECT * FROM jobs WHERE job_id=? AND archived=0", (job_id,)).fetchone()
        return found

    def archived_row(self, job_id: str) -> sqlite3.Row | None:
        """The row of the newest archived job of this id."""
        query = "SELECT * FROM jobs WHERE job_id=? AND archived=1 ORDER BY +n DESC LIMIT 1"
        with self.lock:
            found: sqlite3.Row | None = self.db.execute(query, (job_id,)).fetchone()
        return found

    def wanted(self, job_id: str) -> sqlite3.Row:
        """The row of a job. Raises Refused(404)."""
        row = self.job_row(job_id)
        if row is None:
            raise Refused(404, f'No job with the id "{job_id}" has been found')
        return row

    def job_text(self, job_id: str, fields: str | None) -> bytes | None:
        """The JSON of one job with `http_status` and, if `fields` is given, its files; cached while it doesn't change."""
        wanted = fields or ""
        with self.lock:
            n = self._numbers.get(job_id)
            kept = self._answers.get(n) if n else None
            if kept and wanted in kept:
                return kept[wanted]
            row = self.job_row(job_id)
            if row is None:
                return None
            shown = job_dict(row)
            shown["http_status"] = "200 Ok"
            if fields:
                shown["files"] = self.files(row, [key for key in fields.split(",") if key in FILE_KEYS])
            text = msgspec.json.encode(shown)
            if len(self._answers) > _ANSWERS_KEPT:
                self._answers.clear()
                self._numbers.clear()
            self._answers.setdefault(row["n"], {})[wanted] = text
            self._numbers[job_id] = row["n"]
        return text

    def files(self, job: sqlite3.Row, keys: list[str]) -> list[dict[str, Any]]:
        """The files of a job, in order, with these keys."""
        if not keys:
            return [{} for _ in range(job["first_file"], job["last_file"] + 1)]
        names = ", ".join(map(file_expression, keys))
        of_job = " JOIN jobs ON jobs.n=files.job" if "job_id" in keys or "vo_name" in keys else ""
        with self.lock:
            cursor = self.db.cursor()
            cursor.row_factory = None
            found = cursor.execute(
                f"SELECT {names} FROM files{of_job} WHERE file_id BETWEEN ? AND ?",
                (job["first_file"], job["last_file"]),
            ).fetchall()
        shown = [dict(zip(keys, row, strict=False)) for row in found]
        for key in keys:
            if key in JSON_KEYS or key in FLAG_KEYS:
                for entry in shown:
                    if entry[key] is not None:
                        entry[key] = value_of(key, entry[key])
        return shown

    def listed(self, conditions: list[str], values: list[Any], newest: int | None) -> list[dict[str, Any]]:
        """Jobs that are not archived and meet the SQL conditions; the `newest` N only, if given."""
        where = " AND ".join(["archived=0", *conditions])
        order = " ORDER BY submit_time DESC, n DESC LIMIT ?" if newest else ""
        with self.lock:
            rows = self.db.execute(
                f"SELECT {_JOB_COLUMNS} FROM jobs WHERE {where}{order}", [*values, newest] if newest else values
            ).fetchall()
        return [job_dict(row) for row in rows]

    def table(self, name: str, where: dict[str, str]) -> list[dict[str, Any]]:
        """Rows of `copies` or `submissions`, oldest first, as they are."""
        known = {"copies": ("destination", "source", "job_id", "file_id"), "submissions": ("job_id", "sid")}[name]
        chosen = {key: value for key, value in where.items() if key in known}
        clause = " AND ".join(f"{key}=?" for key in chosen) or "1"
        with self.lock:
            rows = self.db.execute(f"SELECT * FROM {name} WHERE {clause} ORDER BY 1", list(chosen.values())).fetchall()
        return [dict(row) for row in rows]

    def retries(self, file_id: str) -> list[dict[str, Any]]:
        """The failed attempts of a file, oldest first."""
        with self.lock:
            rows = self.db.execute("SELECT * FROM retries WHERE file_id=? ORDER BY attempt", (file_id,)).fetchall()
        return [dict(row) for row in rows]

    def bans(self, kind: str) -> dict[str, dict[str, Any]]:
        """What is banned of a kind (`se` or `dn`), by name."""
        with self.lock:
            rows = self.db.execute("SELECT * FROM bans WHERE kind=?", (kind,)).fetchall()
        return {row["name"]: dict(row) for row in rows}

    def activity(self) -> dict[str, int]:
        """How many files are copied and staged just now."""
        counts = {"active": "('READY','ACTIVE')", "staging": "('STAGING','STARTED')"}
        with self.lock:
            return {
                name: self.db.execute(
                    f"SELECT count(*) FROM files WHERE file_state IN {states} AND job IN"
                    " (SELECT n FROM jobs WHERE job_finished IS NULL)"
                ).fetchone()[0]
                for name, states in counts.items()
            }

    def spend_fault(self, key: str, times: int) -> bool:
        """Counts a use of a fault; False when its `times` are used up."""
        with self.write() as db:
            db.execute("INSERT OR IGNORE INTO fault_uses VALUES (?, 0)", (key,))
            return db.execute("UPDATE fault_uses SET uses=uses+1 WHERE fault=? AND uses<?", (key, times)).rowcount == 1

    def keep_faults(self, keys: list[str]) -> None:
        """Forgets the counters of faults that the file no longer holds."""
        with self.write() as db:
            for (key,) in db.execute("SELECT fault FROM fault_uses").fetchall():
                if key not in keys:
                    db.execute("DELETE FROM fault_uses WHERE fault=?", (key,))


def job_dict(row: sqlite3.Row) -> dict[str, Any]:
    """A job's 29 keys as JSON shows them."""
    return {key: value_of(key, row[key]) for key in JOB_KEYS}
