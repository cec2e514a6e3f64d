"""What became of each file of a job: the server's word about it, and the proof by the destination storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow
from dmtools.settings import Settings
from dmtools.storage import Absent, Look, Present, client_for, scheme_of
from dmtools.transfers.errors import CLASSES, ErrorClass, classify
from dmtools.transfers.roots import Roots
from dmtools.transfers.status import TERMINAL, FileStatus, JobStatus

T = tables.transfer.c
FILE_COLUMNS = tuple(
    T[name]
    for name in (
        "id",
        "name",
        "source",
        "destination",
        "size",
        "checksum",
        "state",
        "list_id",
        "job_id",
        "failures",
        "tries",
        "overwrite",
        "error_class",
        "reason",
    )
)
FILE_TERMINAL = frozenset(("FINISHED", "FAILED", "CANCELED"))
OKAY, RETRY, BAD, OPEN = "Okay", "TODO", "Bad", "open"
WITHDRAWN = "withdrawn"  # the class of a file that we canceled; its row has it from before the cancel on


@dataclass(frozen=True)
class Patience:
    """How long a list waits after its first failed attempt, and after how many of them (of all classes) a file is Bad."""

    seconds: int
    attempts: int


@dataclass(frozen=True)
class Verdict:
    """One file's outcome. `open`: it can't be known now; nothing is changed. `wait`: seconds before the next try."""

    file: AnyRow
    outcome: str
    why: str = ""
    error_class: str | None = None
    failures: int = 0
    overwrite: bool = False
    wait: int = 0
    verified_by: str | None = None
    size: int | None = None
    checksum: str | None = None


def files_query() -> Any:
    """The columns that a verdict needs."""
    return select(*FILE_COLUMNS)


def is_over(status: JobStatus) -> bool:
    """Has the job ended? The truth is the files' states; the job's own word counts when no file is under way."""
    states = {f.state for f in status.files}
    if status.files and states <= FILE_TERMINAL:
        return True
    return status.state in TERMINAL and states <= FILE_TERMINAL | {"NOT_USED"}


def judge_jobs(
    jobs: Sequence[tuple[JobStatus, Sequence[AnyRow]]], settings: Settings, patience: Patience, seconds: float = 900
) -> list[list[Verdict]]:
    """The verdicts of the files of ended jobs, each with our rows. Asks each destination once, in bulk."""
    told: list[list[tuple[AnyRow, FileStatus | None]]] = []
    ask: list[AnyRow] = []
    for status, rows in jobs:
        by_destination = {f.destination: f for f in status.files}
        told.append([(row, by_destination.get(row.destination)) for row in rows])
        ask += [row for row, f in told[-1] if f is not None and _needs_proof(f)]
    looks = look_at_destinations(ask, settings, seconds)
    return [[_verdict(row, f, looks.get(row.id), patience) for row, f in files] for files in told]


def _needs_proof(f: FileStatus) -> bool:
    return f.state == "FINISHED" or (f.state == "FAILED" and classify(f.reason).name == "occupied")


def look_at_destinations(rows: Sequence[AnyRow], settings: Settings, seconds: float) -> dict[int, Look]:
    """What is at the rows' destinations, by row id, within so many seconds; schemes without a client are left out."""
    by_scheme: dict[str, list[AnyRow]] = {}
    for row in rows:
        by_scheme.setdefault(scheme_of(row.destination), []).append(row)
    found: dict[int, Look] = {}
    roots = Roots(settings)
    for items in by_scheme.values():
        store = client_for(items[0].destination, settings)
        if store is not None:
            looks = store.look_many([row.destination for row in items], checksum=True, deadline=seconds)
            found |= {row.id: roots.believe(row.destination, look) for row, look in zip(items, looks, strict=True)}
    return found


def _verdict(row: AnyRow, f: FileStatus | None, look: Look | None, patience: Patience) -> Verdict:
    found = _outcome(row, f, look, patience)
    if row.error_class == WITHDRAWN and found.outcome == RETRY:
        return failed(row, CLASSES[WITHDRAWN], row.reason or found.why, patience)
    return found


def _outcome(row: AnyRow, f: FileStatus | None, look: Look | None, patience: Patience) -> Verdict:
    if f is None or f.state == "NOT_USED":
        return Verdict(row, OPEN, "its server ended the job and says nothing about this file: a person must give the job up")
    if f.state == "FINISHED":
        return _finished(row, look, patience)
    kind = classify(f.reason)
    if f.state == "CANCELED" and kind.attempt:  # a ban, or a queue that took too long, is nobody's cancel
        return failed(row, CLASSES["canceled"], f.reason or "canceled", patience)
    if kind.name == "occupied":
        return _occupied(row, f.reason, look, patience)
    return failed(row, kind, f.reason or "failed without a reason", patience)


def _finished(row: AnyRow, look: Look | None, patience: Patience) -> Verdict:
    if look is None:
        return Verdict(row, OKAY, "verified by FTS (source and destination checksums)", verified_by="by-fts")
    if isinstance(look, Present):
        if row.checksum is None and row.size in (None, look.size):
            why = "verified by FTS; the source's checksum was not known here"
            return Verdict(row, OKAY, why, verified_by="by-fts", size=look.size, checksum=look.checksum)
        if is_equal(row, look):
            return Verdict(row, OKAY, "size and checksum proved at the destination", verified_by="storage")
        why = f"the copy is {look.size} bytes, {look.checksum}; the source was {row.size} bytes, {row.checksum}"
        return failed(row, CLASSES["checksum"], why, patience, overwrite=True)
    if isinstance(look, Absent):
        return failed(row, CLASSES["checksum"], "FTS says FINISHED but nothing is at the destination", patience)
    return Verdict(row, OPEN, f"the destination can't be asked now: {look.reason}")


def _occupied(row: AnyRow, reason: str, look: Look | None, patience: Patience) -> Verdict:
    """Something is at the destination: equal is done; what an earlier attempt of ours left may be replaced; else hands off."""
    if isinstance(look, Present) and row.checksum is not None and is_equal(row, look):
        return Verdict(row, OKAY, f"was at the destination already, {row.checksum} proved there", verified_by="storage")
    if look is not None and not isinstance(look, (Present, Absent)):
        return Verdict(row, OPEN, f"the destination can't be asked now: {look.reason}")
    if isinstance(look, Absent):
        return failed(row, CLASSES["other"], f"{reason}; but it is gone now", patience)
    if row.tries > 1 and row.overwrite >= 0:
        why = f"an earlier attempt of ours left a wrong copy ({reason})"
        return failed(row, CLASSES["checksum"], why, patience, overwrite=True)
    return Verdict(row, BAD, f"{reason}; it is not ours and it differs: left as it is", "occupied", row.failures + 1)


def is_equal(row: AnyRow, look: Present) -> bool:
    """Do size and checksum of the copy agree with what was recorded of the source?"""
    return bool((row.size is None or row.size == look.size) and row.checksum == look.checksum)


def failed(row: AnyRow, kind: ErrorClass, why: str, patience: Patience, overwrite: bool = False) -> Verdict:
    """A failed attempt: Bad at its class's limit or when all together are too many; else again after a wait that doubles."""
    failures = row.failures + (1 if kind.attempt else 0)
    keep = row.overwrite >= 0 and (overwrite or row.overwrite > 0)  # what was there before us stays
    if kind.attempt and failures >= min(kind.limit or patience.attempts, patience.attempts):
        return Verdict(row, BAD, f"{why} ({failures} failed attempts; {kind.advice})", kind.name, failures, keep)
    wait = min(3600, patience.seconds * 2 ** max(0, failures - 1))
    if kind.name == "canceled":
        wait = max(wait, 60)  # the copy may die late at the server
    if not kind.attempt:
        wait = min(600, patience.seconds * 4)
    return Verdict(row, RETRY, why, kind.name, failures, keep, wait)
