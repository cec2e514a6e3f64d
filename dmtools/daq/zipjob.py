"""The process around a zip job: its result file, its time limit, its end by a signal, its exit code."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import NoReturn

from dmtools.command.report import one_line
from dmtools.command.run import PARTIAL, UNAVAILABLE, USAGE
from dmtools.daq import jobfile, zipping
from dmtools.daq.jobfile import Job, JobRefused, Result
from dmtools.daq.scratch import directory_of

M_MMAP_THRESHOLD = -3
LARGE = 1 << 17  # bytes


class Stopped(BaseException):
    """SIGINT or SIGTERM came."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(path: Path) -> NoReturn:
    """Does the job of the file and ends the process."""
    target = jobfile.result_path(path)
    _keep_memory_flat()
    _listen()
    try:
        target.unlink(missing_ok=True)  # of an earlier run: it must not be taken for this one's
        job = jobfile.read_job(path)
        result = _within(job, target)
    except JobRefused as problem:
        if not path.exists():
            _say(f"{problem}; give the job file that daq-archive wrote")
            os._exit(USAGE)
        _leave(target, zipping.failed(problem.key, "invalid", str(problem), wide=False), USAGE)
    except Stopped as stop:
        _leave(target, _interrupted(path, f"it was stopped by {signal.Signals(stop.number).name}"), 128 + stop.number)
    except OSError as problem:
        _say(f"{problem.filename or target}: {problem.strerror}; nothing was uploaded; check the job's directory")
        os._exit(UNAVAILABLE)
    except Exception as problem:  # noqa: BLE001 - the last line of defence: an answer, never a traceback
        why = f"internal error, please report it: {type(problem).__name__}: {problem}"
        _leave(target, zipping.failed(_key(path), "io", why, wide=False), PARTIAL)
    code = 0 if result.state == "done" else UNAVAILABLE if result.wide else PARTIAL
    _leave(target, result, code)


def _within(job: Job, target: Path) -> Result:
    """The job, ended at its time limit even where a hung mount holds its thread."""

    def expire() -> None:
        late = zipping.failed(job.key, "timeout", f"it was not done within {job.seconds} s", wide=True)
        shutil.rmtree(directory_of(jobfile.scratch_place(job.scratch), job.key), ignore_errors=True)
        _leave(target, late, UNAVAILABLE)

    alarm = threading.Timer(job.seconds, expire)
    alarm.daemon = True
    alarm.start()
    try:
        return zipping.run(job)
    finally:
        alarm.cancel()


def _interrupted(path: Path, why: str) -> Result:
    return zipping.failed(_key(path), "timeout", f"{why}; nothing of it is lost, it may be run again", wide=True)


def _key(path: Path) -> str:
    try:
        return jobfile.read_job(path).key
    except JobRefused as problem:
        return problem.key


def _leave(target: Path, result: Result, code: int) -> NoReturn:
    """Writes the result, tells a failure, ends at once: threads that hang don't hold us."""
    _deafen()
    if result.state == "failed":
        _say(f"{result.error_class}: {result.reason}")
    try:
        jobfile.write_result(target, result)
    except OSError as problem:
        _say(f"the result {target} could not be written: {problem.strerror}; run the job again")
        code = UNAVAILABLE
    os._exit(code)


def _say(text: str) -> None:
    print(f"daq-zip: {one_line(text)}", file=sys.stderr, flush=True)


def _keep_memory_flat() -> None:
    """Blocks of many threads leave holes in the heap, which grows by them: what is large is given back at once instead."""
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's; another C library does as it likes
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)


def _listen() -> None:
    def stop(number: int, _frame: FrameType | None) -> None:
        _deafen()
        raise Stopped(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _deafen() -> None:
    """What is left to do is short."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
