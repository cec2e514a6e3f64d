"""Every change of state of jobs and files: claims, ends, retries, cancels, timers; the state of a job from its files'."""

# ruff: noqa: S608 - the SQL is put together from names of this program; values are always bound.

from __future__ import annotations

import os
import re
import socket
import sqlite3
from typing import Any

import msgspec
from msgspec import Struct

from dmtools import clock
from dmtools.simulators.fts.model import (
    CANCELED_BY_USER,
    FILE_ACTIVE,
    MOVING,
    SOME_FAILED,
    Task,
    epoch,
    now_text,
    quoted,
)
from dmtools.simulators.fts.store import Store

_HOST = socket.gethostname()
_CLAIM = """SELECT f.file_id, f.job, f.source_surl, f.dest_surl, f.checksum, f.retry, f.link, f.user_filesize, j.job_id,
 j.verify_checksum, j.overwrite_flag, j.internal_job_params, j.dst_file_report, j.retry AS retries, j.retry_delay,
 j.archive_timeout, f.file_id = j.last_file AS last
 FROM files f JOIN jobs j ON j.n=f.job WHERE f.file_state='SUBMITTED' AND f.not_before<=? AND f.link NOT IN ({})
 ORDER BY f.priority DESC, f.file_id LIMIT ?"""


class Pace(Struct, frozen=True):
    """How fast the server's own steps are, in seconds."""

    staging: float = 0.5
    archiving: float = 0.5
    retry_delay: float = 120
    retries: int = 0
    keep: float = 7 * 86400


def claim(store: Store, room: int, busy: dict[str, int], link_limit: int, pace: Pace) -> list[Task]:
    """Up to `room` files that may start now: SUBMITTED -> READY. `busy` counts the running copies of each link."""
    taken: list[Task] = []
    count = dict(busy)
    with store.write() as db:
        while len(taken) < room:
            full = [link for link, running in count.items() if running >= link_limit]
            rows = db.execute(_CLAIM.format(",".join("?" * len(full))), (epoch(), *full, room - len(taken))).fetchall()
            if not rows:
                break
            for row in rows:
                if count.get(row["link"], 0) < link_limit:
                    count[row["link"]] = count.get(row["link"], 0) + 1
                    taken.append(_task(row, pace))
                    db.execute("UPDATE files SET file_state='READY' WHERE file_id=?", (row["file_id"],))
                    store.touch(row["job"])
    return taken


def _task(row: sqlite3.Row, pace: Pace) -> Task:
    flag, internal = row["overwrite_flag"], row["internal_job_params"] or ""
    timeout = re.search(r"timeout:(\d+)", internal)
    retries = row["retries"] or pace.retries
    return Task(
        file_id=row["file_id"],
        job=row["job"],
        job_id=row["job_id"],
        source=row["source_surl"],
        destination=row["dest_surl"],
        checksum=row["checksum"],
        mode=row["verify_checksum"],
        overwrite=flag == "Y" or (flag == "R" and row["retry"] > 0) or (flag in ("M", "Q") and not row["last"]),
        strict="strict" in internal,
        cleanup="disable-cleanup" not in internal,
        report=bool(row["dst_file_report"]),
        timeout=float(timeout[1]) if timeout else 600 + 2 * row["user_filesize"] / 2**20,
        attempt=row["retry"],
        retries=max(0, retries),
        retry_delay=row["retry_delay"] or int(pace.retry_delay),
        archive_timeout=row["archive_timeout"],
        link=row["link"],
    )


def started(store: Store, task: Task) -> bool:
    """READY -> ACTIVE, with the row of its copy; False when it was canceled meanwhile."""
    with store.write() as db:
        changed = db.execute(
            "UPDATE files SET file_state='ACTIVE', start_time=?, finish_time=NULL, transfer_host=?, pid=?, reason=NULL"
            " WHERE file_id=? AND file_state='READY'",
            (now_text(), _HOST, os.getpid(), task.file_id),
        ).rowcount
        if not changed:
            return False
        db.execute("UPDATE jobs SET job_state='ACTIVE' WHERE n=? AND job_finished IS NULL", (task.job,))
        task.copy = (
            db.execute(
                "INSERT INTO copies(destination, source, job_id, file_id, started_at) VALUES (?, ?, ?, ?, ?)",
                (task.destination, task.source, task.job_id, task.file_id, clock.iso(clock.now())),
            ).lastrowid
            or 0
        )
        store.touch(task.job)
    return True


def opened(store: Store, task: Task, identity: str) -> None:
    """The destination is open; `identity` tells it from a later file of the same name."""
    with store.write() as db:
        db.execute("UPDATE copies SET opened_at=?, identity=? WHERE copy=?", (clock.iso(clock.now()), identity, task.copy))


def _closed(db: sqlite3.Connection, task: Task, outcome: str) -> None:
    db.execute("UPDATE copies SET closed_at=?, outcome=? WHERE copy=?", (clock.iso(clock.now()), outcome, task.copy))


def finished(store: Store, task: Task, size: int, seconds: float, pace: Pace) -> None:
    """ACTIVE -> FINISHED, or ARCHIVING when the destination is a tape; nothing if it was canceled meanwhile."""
    archiving = task.archive_timeout > 0
    now = now_text()
    with store.write() as db:
        changed = db.execute(
            "UPDATE files SET file_state=?, reason='', filesize=?, tx_duration=?, throughput=?, recoverable=0, finish_time=?,"
            " dest_surl_uuid=NULL, archive_start_time=?, not_before=?, archive_until=? WHERE file_id=? AND file_state='ACTIVE'",
            (
                "ARCHIVING" if archiving else "FINISHED",
                size,
                round(seconds, 6),
                round(size / 2**20 / max(seconds, 1e-6), 6),
                None if archiving else now,
                now if archiving else None,
                epoch() + pace.archiving if archiving else 0,
                epoch() + task.archive_timeout if archiving else None,
                task.file_id,
            ),
        ).rowcount
        _closed(db, task, "FINISHED" if changed else "CANCELED")
        if not changed:
            db.execute("UPDATE files SET finish_time=? WHERE file_id=? AND finish_time IS NULL", (now, task.file_id))
        elif not archiving:
            _next_hop(db, task.file_id, task.job)
        settle(store, db, task.job)


def failed(store: Store, task: Task, reason: str, recoverable: bool, report: dict[str, Any] | None = None) -> None:
    """ACTIVE -> FAILED, or back to SUBMITTED while there are retries left and the error may pass."""
    again = recoverable and task.attempt < task.retries
    now = now_text()
    with store.write() as db:
        _closed(db, task, reason)
        if again:
            changed = db.execute(
                "UPDATE files SET file_state='SUBMITTED', retry=retry+1, start_time=NULL, pid=NULL, transfer_host=NULL,"
                " not_before=? WHERE file_id=? AND file_state='ACTIVE'",
                (epoch() + task.retry_delay, task.file_id),
            ).rowcount
            if changed:
                db.execute("INSERT INTO retries VALUES (?, ?, ?, ?, ?)", (task.file_id, task.attempt + 1, now, reason, _HOST))
        else:
            changed = db.execute(
                "UPDATE files SET file_state='FAILED', reason=?, finish_time=?, recoverable=?, dest_surl_uuid=NULL"
                " WHERE file_id=? AND file_state='ACTIVE'",
                (reason, now, int(recoverable), task.file_id),
            ).rowcount
            if changed and report:
                _report(db, task.file_id, report)
            if changed:
                _next_replica(db, task.job, task.file_id)
        if not changed:
            db.execute("UPDATE files SET finish_time=? WHERE file_id=? AND finish_time IS NULL", (now, task.file_id))
        settle(store, db, task.job)


def handed_back(store: Store, task: Task) -> None:
    """The server stops: an ACTIVE file waits again, as if it had not been begun."""
    with store.write() as db:
        _closed(db, task, "INTERRUPTED")
        db.execute(
            "UPDATE files SET file_state='SUBMITTED', start_time=NULL, pid=NULL, transfer_host=NULL"
            " WHERE file_id=? AND file_state='ACTIVE'",
            (task.file_id,),
        )
        store.touch(task.job)


def _report(db: sqlite3.Connection, file_id: int, report: dict[str, Any]) -> None:
    (text,) = db.execute("SELECT file_metadata FROM files WHERE file_id=?", (file_id,)).fetchone()
    metadata = msgspec.json.decode(text) if text else {}
    metadata["dst_file"] = report
    db.execute("UPDATE files SET file_metadata=? WHERE file_id=?", (msgspec.json.encode(metadata).decode(), file_id))


def _next_hop(db: sqlite3.Connection, file_id: int, job: int) -> None:
    db.execute(
        "UPDATE files SET file_state='SUBMITTED' WHERE file_id=? AND file_state='NOT_USED'"
        " AND (SELECT job_type FROM jobs WHERE n=?)='H'",
        (file_id + 1, job),
    )


def _next_replica(db: sqlite3.Connection, job: int, file_id: int) -> None:
    db.execute(
        "UPDATE files SET file_state='SUBMITTED' WHERE file_id=(SELECT min(file_id) FROM files WHERE job=? AND file_id>?"
        " AND file_state='NOT_USED') AND (SELECT job_type FROM jobs WHERE n=?)='R'",
        (job, file_id, job),
    )


def settle(store: Store, db: sqlite3.Connection, job: int) -> None:
    """The job's state from its files': final once none of them moves. Call it inside the transaction."""
    store.touch(job)
    one = db.execute(f"SELECT 1 FROM files WHERE job=? AND file_state IN {quoted(MOVING)} LIMIT 1", (job,)).fetchone()
    if one:
        return
    counts = dict(db.execute("SELECT file_state, count(*) FROM files WHERE job=? GROUP BY file_state", (job,)).fetchall())
    if counts.get("ARCHIVING"):
        db.execute("UPDATE jobs SET job_state='ARCHIVING' WHERE n=? AND job_finished IS NULL", (job,))
        return
    kind = db.execute("SELECT job_type FROM jobs WHERE n=?", (job,)).fetchone()[0]
    done, bad, canceled = counts.get("FINISHED", 0), counts.get("FAILED", 0), counts.get("CANCELED", 0)
    if kind == "R" and done:
        state = "FINISHED"
    elif bad:
        state = "FINISHEDDIRTY" if done and kind != "H" else "FAILED"
    else:
        state = "CANCELED" if canceled else "FINISHED"
    db.execute(
        "UPDATE jobs SET job_state=?, job_finished=?, reason=coalesce(reason, ?) WHERE n=? AND job_finished IS NULL",
        (state, now_text(), None if state == "FINISHED" else SOME_FAILED, job),
    )


def cancel_files(store: Store, db: sqlite3.Connection, where: str, values: list[Any], reason: str | None) -> list[int]:
    """Active files -> CANCELED; those that are being copied get their end time when the copy dies. Gives their ids."""
    rows = db.execute(
        f"SELECT file_id, job, file_state FROM files WHERE {where} AND file_state IN {quoted(FILE_ACTIVE)}", values
    ).fetchall()
    now = now_text()
    for row in rows:
        db.execute(
            "UPDATE files SET file_state='CANCELED', reason=?, finish_time=?, dest_surl_uuid=NULL WHERE file_id=?",
            (reason, None if row["file_state"] == "ACTIVE" else now, row["file_id"]),
        )
        store.touch(row["job"])
    return [row["file_id"] for row in rows]


def moving_jobs(db: sqlite3.Connection, where: str, values: list[Any]) -> list[tuple[int, str]]:
    """(row, id) of the jobs that have active files which meet the condition."""
    rows = db.execute(
        f"SELECT n, job_id FROM jobs WHERE job_finished IS NULL AND EXISTS (SELECT 1 FROM files WHERE job=n AND {where}"
        f" AND file_state IN {quoted(FILE_ACTIVE)})",
        values,
    ).fetchall()
    return [(row["n"], row["job_id"]) for row in rows]


def hold(store: Store, db: sqlite3.Connection, storage: str, *, held: bool) -> None:
    """Waiting files from or to a storage -> on hold, or back."""
    for free, kept in (("SUBMITTED", "ON_HOLD"), ("STAGING", "ON_HOLD_STAGING")):
        before, after = (free, kept) if held else (kept, free)
        where = "file_state=? AND (source_se=? OR dest_se=?)"
        for row in db.execute(f"SELECT file_id, job FROM files WHERE {where}", (before, storage, storage)).fetchall():
            db.execute("UPDATE files SET file_state=? WHERE file_id=?", (after, row["file_id"]))
            store.touch(row["job"])


def cancel_job(store: Store, db: sqlite3.Connection, job: int, reason: str = CANCELED_BY_USER) -> list[int]:
    """A job and its active files -> CANCELED, at once, whatever its other files are."""
    canceled = cancel_files(store, db, "job=?", [job], reason)
    db.execute(
        "UPDATE jobs SET job_state='CANCELED', reason=?, cancel_job=1, job_finished=? WHERE n=?", (reason, now_text(), job)
    )
    store.touch(job)
    return canceled


def live(store: Store) -> bool:
    """Whether any job still moves."""
    with store.lock:
        return store.db.execute("SELECT 1 FROM jobs WHERE job_finished IS NULL LIMIT 1").fetchone() is not None


def waiting(store: Store) -> bool:
    """Whether any file may be claimed, busy links apart."""
    with store.lock:
        query = "SELECT 1 FROM files WHERE file_state='SUBMITTED' AND not_before<=? LIMIT 1"
        return store.db.execute(query, (epoch(),)).fetchone() is not None


def interrupted(store: Store) -> list[sqlite3.Row]:
    """The copies that a kill cut off: their rows, for the destinations to be cleared before they are begun again."""
    with store.lock:
        return store.db.execute("SELECT * FROM copies WHERE closed_at IS NULL").fetchall()


def recovered(store: Store) -> None:
    """After the destinations are cleared: cut-off copies are closed, their files wait again, half-canceled ones end."""
    with store.write() as db:
        db.execute("UPDATE copies SET closed_at=?, outcome='INTERRUPTED' WHERE closed_at IS NULL", (clock.iso(clock.now()),))
        db.execute(
            "UPDATE files SET file_state='SUBMITTED', start_time=NULL, pid=NULL, transfer_host=NULL"
            " WHERE file_state IN ('READY','ACTIVE')"
        )
        db.execute("UPDATE files SET finish_time=? WHERE file_state='CANCELED' AND finish_time IS NULL", (now_text(),))
