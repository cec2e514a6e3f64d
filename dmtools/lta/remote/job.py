"""The body of a tape job: puts a bundle on tape, gets it back, or has it read again; proves it, and writes the result.

A put goes to a hidden name that is this attempt's own, is proved there by size and sha512 as the tape system reads them back, and
then gets its name. What lies under the name already is right, or somebody else's: it is never overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import posixpath
import signal
import stat
import sys
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import Any

from dmtools import durable, names
from dmtools.command.run import Refused
from dmtools.lta.remote import jobfile
from dmtools.lta.remote.jobfile import AWAY, DONE, FAILED, FIXITY, GET, Outcome, TapeJob
from dmtools.lta.remote.settings import Remote
from dmtools.lta.remote.tape import Tape, TapeError, tape_of

CODES = {DONE: 0, FAILED: 1, AWAY: 75}
BLOCK = 1 << 20


class Failed(Exception):
    """The job can't be done. `differs`: the tape answers, and has other bytes or none."""

    def __init__(self, cls: str, why: str, *, differs: bool = False) -> None:
        super().__init__(why)
        self.cls, self.why, self.differs = cls, why, differs


class Stop(BaseException):
    """A signal ends the job."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(file: Path) -> int:
    """Runs the job of a file, writes result.json beside it; gives the exit code: 0 done, 1 failed, 75 try again, 130, 143."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        job = jobfile.read_job(file)
    except (jobfile.BadFile, OSError) as problem:
        raise Refused(f"{problem}; nothing was done") from None
    code = 0
    try:
        found = outcome(job)
        code = CODES[found.outcome]
    except Stop as end:
        found, code = (
            Outcome(job.key, AWAY, "stopped", f"the job was stopped by {signal.Signals(end.number).name}"),
            128 + end.number,
        )
    with contextlib.suppress(Stop):
        jobfile.write(file.with_name(jobfile.RESULT), found)
    if found.why:
        print(f"{found.outcome}: {found.why}", file=sys.stderr)
    return code


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stop(number)


def outcome(job: TapeJob) -> Outcome:
    """Does it. An error while the tape is away says nothing about the bundle."""
    tape = tape_of(Remote(**{one.name: job.system[one.name] for one in fields(Remote) if one.name in job.system}))
    try:
        return _do(tape, job)
    except Failed as problem:
        return Outcome(job.key, FAILED, problem.cls, problem.why, differs=problem.differs)
    except TapeError as problem:
        if problem.cls == "name":
            return Outcome(job.key, FAILED, "name", problem.why)
        if problem.cls == "full" or (trouble := tape.trouble()):
            return Outcome(job.key, AWAY, problem.cls, trouble if problem.cls != "full" and trouble else problem.why)
        return Outcome(job.key, FAILED, problem.cls, problem.why)
    except OSError as problem:
        why = f"{problem.filename or 'the buffer'}: {problem.strerror}"
        return Outcome(job.key, AWAY if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.ESTALE) else FAILED, "io", why)


def _do(tape: Tape, job: TapeJob) -> Outcome:
    local, path = Path(os.fsdecode(names.decode(job.local))), os.fsdecode(names.decode(job.tape))
    tape.check_name(path)
    if job.kind == GET:
        _get(tape, job, path, local)
    elif job.kind == FIXITY:
        _prove(tape, job, path)
    else:
        _put(tape, job, local, path)
    return Outcome(job.key, DONE, size=job.size, sha512=job.sha512)


def _put(tape: Tape, job: TapeJob, local: Path, path: str) -> None:
    if tape.size(path) is not None:
        _prove_occupied(tape, job, path)
        return
    _check_scratch(job, local)
    hidden = _hidden(path, job.key)
    if job.before:  # an attempt that was killed has left it
        tape.remove(_hidden(path, job.before))
    try:
        tape.put(local, hidden)
        _prove(tape, job, hidden)
        if tape.size(path) is not None:  # somebody was faster
            _prove_occupied(tape, job, path)
        else:
            tape.rename(hidden, path)
            if (size := tape.size(path)) != job.size:
                raise Failed("size", f"after its renaming the tape has {size} bytes, not {job.size}")
            return
    except BaseException:  # a signal, too
        with contextlib.suppress(TapeError):
            tape.remove(hidden)
        raise
    tape.remove(hidden)


def _hidden(path: str, key: str) -> str:
    return f"{posixpath.dirname(path)}/.dm-{key}"


def _check_scratch(job: TapeJob, local: Path) -> None:
    """The buffer's copy was proved when it came; now it must be there still, whole."""
    try:
        found = local.lstat()
    except FileNotFoundError:
        raise Failed("scratch", f"{local} is not in the buffer") from None
    if not stat.S_ISREG(found.st_mode) or found.st_size != job.size:
        what = f"has {found.st_size} bytes, not {job.size}" if stat.S_ISREG(found.st_mode) else "is no file"
        raise Failed("scratch", f"{local} in the buffer {what}")


def _prove_occupied(tape: Tape, job: TapeJob, path: str) -> None:
    try:
        _prove(tape, job, path)
    except Failed as problem:
        raise Failed("occupied", f"the tape has another file under this name, it was left alone: {problem.why}") from None


def _prove(tape: Tape, job: TapeJob, path: str) -> None:
    """By what the tape system says when it is asked, never by what the writing command said."""
    size = tape.size(path)
    if size is None:
        raise Failed("missing", "the tape has no such file", differs=True)
    if size != job.size:
        raise Failed("size", f"the tape has {size} bytes, not {job.size}", differs=True)
    found = tape.checksum(path)
    if found is None:
        raise Failed("no-checksum", "the tape has no sha512 of it")
    if found != job.sha512:
        raise Failed("checksum", f"the tape has sha512 {found[:16]}..., not {job.sha512[:16]}...", differs=True)
    if not tape.reread(path):
        raise Failed("checksum", "read again, the bytes on tape are not those of their checksum", differs=True)


def _get(tape: Tape, job: TapeJob, path: str, local: Path) -> None:
    if local.exists():
        if _sha512(local) == job.sha512:
            return
        raise Failed("occupied", f"{local} is there with other content; it was left alone")
    size = tape.size(path)
    if size != job.size:
        raise Failed("size", f"the tape has {'no such file' if size is None else f'{size} bytes, not {job.size}'}", differs=True)
    local.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    hidden = _part(local, job.key)
    if job.before:  # an attempt that was killed has left it
        _part(local, job.before).unlink(missing_ok=True)
    try:
        hidden.unlink(missing_ok=True)
        tape.get(path, hidden)
        found = _sha512(hidden)
        if found != job.sha512:
            raise Failed("checksum", f"what came from tape has sha512 {found[:16]}..., not {job.sha512[:16]}...", differs=True)
        with hidden.open("rb") as file:
            os.fsync(file.fileno())
        durable.rename_new(hidden, local)
        durable.fsync_dir(local.parent)
    except BaseException:  # a signal, too
        hidden.unlink(missing_ok=True)
        raise


def _part(local: Path, key: str) -> Path:
    return local.with_name(f".dm-{key}.part")


def _sha512(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def system_of(settings: Remote) -> dict[str, Any]:
    """What a job must know of the tape system."""
    return {name: getattr(settings, name) for name in ("tape", "tape_root", "tape_commands", "tape_seconds")}
