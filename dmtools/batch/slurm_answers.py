"""What squeue and sacct say of jobs, read into Status. What can't be read is unknown, never failed."""

from __future__ import annotations

from collections.abc import Iterable

from dmtools.batch import How, Status
from dmtools.batch.kept import ended, signal_name
from dmtools.batch.script import NO_PLACE, TWICE

SQUEUE_FORMAT = "JobID:|,Name:|,State:|,exit_code:|,Reason:|"
SACCT_FORMAT = "JobIDRaw,JobName,State,ExitCode"

_QUEUED = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED"}
_RUNNING = {"RUNNING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED"}
_HELD = {"REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
_FAILED = {"BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"}
_LOST = {"NODE_FAIL", "REVOKED"}
# Why a pending job will not begin by itself, as Slurm calls it.
_HOLDS = {
    "AccountNotAllowed",
    "BadConstraints",
    "DependencyNeverSatisfied",
    "InvalidAccount",
    "InvalidQOS",
    "JobHeldAdmin",
    "JobHeldUser",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "QOSNotAllowed",
    "ReservationDeleted",
    "launch_failed_requeued_held",
}
# Of several jobs of one key the first of these counts: a second one that did nothing says nothing.
_WEIGHT: tuple[How, ...] = ("done", "running", "queued", "held", "failed", "unknown", "gone")


def squeue(text: str, keys: Iterable[str]) -> dict[str, Status]:
    """The jobs of these keys in an answer in SQUEUE_FORMAT. A line that is none makes those that were not found unknown."""
    return _chosen([line.split("|") for line in text.splitlines() if line.strip()], set(keys))


def sacct(text: str, keys: Iterable[str]) -> dict[str, Status]:
    """The jobs of these keys in an answer of `sacct -P -n` in SACCT_FORMAT; lines as in `squeue`."""
    return _chosen([[*line.split("|"), ""] for line in text.splitlines() if line.strip()], set(keys))


def _chosen(rows: Iterable[list[str]], keys: set[str]) -> dict[str, Status]:
    found: dict[str, Status] = {}
    strange = ""
    for row in rows:
        if len(row) < 5:
            strange = "|".join(row)
            continue
        if row[1].strip() not in keys:
            continue
        status = _status(*(part.strip() for part in row[:5]))
        if status is not None and _outweighs(status, found.get(status.key)):
            found[status.key] = status
    if strange:
        for key in keys - found.keys():
            found[key] = Status(key, "unknown", reason=f"Slurm's answer can't be read: {strange[:100]!r}")
    return found


def _outweighs(status: Status, other: Status | None) -> bool:
    return other is None or _WEIGHT.index(status.how) < _WEIGHT.index(other.how)


def _status(job_id: str, key: str, state: str, exit_code: str, reason: str) -> Status | None:
    """None: a job that did nothing, for it was refused, or the second of its key."""
    word = state.split(maxsplit=1)[0] if state else ""  # `CANCELLED by 0`
    why = "" if reason in ("None", "") else reason
    if word in _QUEUED:
        return Status(key, "held" if why in _HOLDS else "queued", job_id, reason=why)
    if word in _RUNNING:
        return Status(key, "running", job_id, reason="" if word == "RUNNING" else word)
    if word in _HELD:
        return Status(key, "held", job_id, reason=why or word)
    if word in _LOST:
        return Status(key, "gone", job_id, reason=f"lost: {word}")
    code = _code(exit_code)
    if (word not in _FAILED and word != "COMPLETED") or code is None:
        return Status(key, "unknown", job_id, reason=f"Slurm says {state!r} with the exit code {exit_code!r}")
    if word == "COMPLETED":
        return ended(key, code, job_id=job_id)
    if code == TWICE or why == "BadConstraints":
        return None
    return _failed(key, word, code, why, job_id)


def _failed(key: str, word: str, code: int, why: str, job_id: str) -> Status:
    if word != "FAILED":
        return Status(key, "failed", job_id, code if code > 0 else None, word)
    if code == NO_PLACE or (code <= 0 and not _is_signal(-code)):
        return Status(key, "failed", job_id, max(code, 0) or None, why or word)
    return ended(key, code, job_id=job_id)


def _is_signal(number: int) -> bool:
    return signal_name(number).startswith("SIG")


def _code(text: str) -> int | None:
    """The exit code, or minus the signal, of `3:0`, `0:9`, or of what wait(2) gives (squeue): 768, 9."""
    code, colon, number = text.partition(":")
    if not (code.isascii() and code.isdigit()) or (colon and not (number.isascii() and number.isdigit())):
        return None
    if colon:
        return -int(number) if int(number) else int(code)
    whole = int(code)
    return -(whole & 0x7F) if whole & 0x7F else whole >> 8 & 0xFF
