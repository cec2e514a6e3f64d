"""What time alone changes: staging, archiving, jobs that waited too long, jobs old enough for the archive."""

# ruff: noqa: S608 - the SQL is put together from names of this program; values are always bound.

from __future__ import annotations

import socket
import sqlite3
from typing import Any

from dmtools.simulators.fts.changes import Pace, cancel_files, settle
from dmtools.simulators.fts.model import ARCHIVE_TIMEOUT, QUEUE_TIMEOUT, STAGING_TIMEOUT, epoch, now_text
from dmtools.simulators.fts.store import Store

_HOST = socket.gethostname()


def turn(store: Store, pace: Pace) -> None:
    """What time alone changes: staging, archiving, jobs that waited too long, jobs old enough for the archive."""
    now, text = epoch(), now_text()
    with store.write() as db:
        for row in db.execute(
            "SELECT n FROM jobs WHERE max_time_in_queue<? AND max_time_in_queue IS NOT NULL AND job_finished IS NULL", (now,)
        ).fetchall():
            waiting = "job=? AND file_state NOT IN ('READY','ACTIVE','ARCHIVING')"
            if cancel_files(store, db, waiting, [row["n"]], QUEUE_TIMEOUT):
                db.execute("UPDATE jobs SET reason=? WHERE n=?", (QUEUE_TIMEOUT, row["n"]))
                settle(store, db, row["n"])
        for row in db.execute(
            "SELECT file_id, job, file_state, source_surl=dest_surl AS only_staged, archive_until, not_before,"
            " (SELECT bring_online FROM jobs WHERE n=job) AS bring_online FROM files"
            " WHERE file_state IN ('STAGING','STARTED','ARCHIVING') AND"
            " (not_before<=? OR (file_state='ARCHIVING' AND archive_until<=?))",
            (now, now),
        ).fetchall():
            _timed(db, row, now, text, pace)
            settle(store, db, row["job"])
        old = now_text(pace.keep)
        for row in db.execute("SELECT n FROM jobs WHERE job_finished<? AND archived=0", (old,)).fetchall():
            archive(store, db, row["n"])


def _timed(db: sqlite3.Connection, row: sqlite3.Row, now: float, text: str, pace: Pace) -> None:
    changes: dict[str, Any]
    if row["file_state"] == "STAGING":
        changes = {"file_state": "STARTED", "staging_start": text, "staging_host": _HOST, "not_before": now + pace.staging}
        if 0 < row["bring_online"] < pace.staging:
            changes["not_before"] = now + row["bring_online"]
    elif row["file_state"] == "STARTED" and 0 < row["bring_online"] < pace.staging:
        changes = {"file_state": "FAILED", "reason": STAGING_TIMEOUT, "finish_time": text, "staging_finished": text}
    elif row["file_state"] == "STARTED":
        changes = {"file_state": "SUBMITTED", "staging_finished": text, "not_before": 0}
        if row["only_staged"]:
            changes |= {"file_state": "FINISHED", "finish_time": text, "reason": ""}
        db.execute("UPDATE jobs SET job_state='SUBMITTED' WHERE n=? AND job_state='STAGING'", (row["job"],))
    elif row["archive_until"] is not None and row["archive_until"] < row["not_before"]:
        changes = {"file_state": "FAILED", "reason": ARCHIVE_TIMEOUT, "finish_time": text, "archive_finish_time": text}
    else:
        changes = {"file_state": "FINISHED", "finish_time": text, "archive_finish_time": text}
    settings = ", ".join(f"{key}=?" for key in changes)
    db.execute(f"UPDATE files SET {settings} WHERE file_id=?", (*changes.values(), row["file_id"]))


def archive(store: Store, db: sqlite3.Connection, job: int) -> None:
    """A terminal job leaves for /archive; its id may be used again."""
    db.execute("UPDATE jobs SET archived=1 WHERE n=?", (job,))
    store.touch(job)
