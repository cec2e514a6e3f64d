"""What condor_q and condor_history say of jobs, read into Status. What can't be read is unknown, never failed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from dmtools.batch import How, Status
from dmtools.batch.kept import ended
from dmtools.batch.script import TWICE

KEY = "DmtoolsKey"
ATTRIBUTES = (
    *(KEY, "ClusterId", "ProcId", "JobStatus", "ExitBySignal", "ExitCode", "ExitSignal"),
    *("HoldReason", "HoldReasonCode", "RemoveReason"),
)

_IDLE, _RUNNING, _REMOVED, _COMPLETED, _HELD, _TRANSFERRING, _SUSPENDED = range(1, 8)
_FILES_COME = 16  # HoldReasonCode: its input files are being spooled
# Of several jobs of one key the first of these counts: a second one that did nothing says nothing.
_WEIGHT: tuple[How, ...] = ("done", "running", "queued", "held", "failed", "unknown", "gone")


def jobs(text: str, keys: Iterable[str]) -> dict[str, Status]:
    """The jobs of these keys in an answer of `-json`. One that can't be read makes those that were not found unknown."""
    wanted = set(keys)
    found: dict[str, Status] = {}
    try:
        rows = json.loads(text) if text.strip() else []
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("no list of jobs")
    except (ValueError, RecursionError) as problem:
        return {key: Status(key, "unknown", reason=f"HTCondor's answer can't be read: {problem}") for key in wanted}
    for row in rows:
        key = row.get(KEY)
        if not isinstance(key, str) or key not in wanted:
            continue
        status = _status(key, row)
        if status is not None and _outweighs(status, found.get(key)):
            found[key] = status
    return found


def _outweighs(status: Status, other: Status | None) -> bool:
    return other is None or _WEIGHT.index(status.how) < _WEIGHT.index(other.how)


def _status(key: str, row: dict[str, Any]) -> Status | None:
    """None: the second job of its key, which did nothing."""
    job_id = f"{row.get('ClusterId')}.{row.get('ProcId')}"
    how = row.get("JobStatus")
    if how == _IDLE or (how == _HELD and row.get("HoldReasonCode") == _FILES_COME):
        return Status(key, "queued", job_id)
    if how in (_RUNNING, _TRANSFERRING, _SUSPENDED):
        return Status(key, "running", job_id, reason="suspended" if how == _SUSPENDED else "")
    if how == _HELD:
        return Status(key, "held", job_id, reason=str(row.get("HoldReason") or "HTCondor gives no reason"))
    if how == _REMOVED:
        return Status(key, "failed", job_id, reason=_removed(str(row.get("RemoveReason") or "")))
    code = _code(row)
    if how != _COMPLETED or code is None:
        return Status(key, "unknown", job_id, reason=f"HTCondor says JobStatus {how!r}, ExitCode {row.get('ExitCode')!r}")
    return None if code == TWICE else ended(key, code, job_id=job_id)


def _removed(why: str) -> str:
    return "ended after its time" if "PeriodicRemove" in why else f"removed: {why}"


def _code(row: dict[str, Any]) -> int | None:
    """The exit code, or minus the signal; None: neither."""
    number = row.get("ExitSignal" if row.get("ExitBySignal") is True else "ExitCode")
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        return None
    if row.get("ExitBySignal") is True:
        return -number if number else None
    return number
