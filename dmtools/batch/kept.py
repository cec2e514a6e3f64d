"""What a room keeps below its place: a directory a key, and one lock, so that one command at a time submits."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dmtools.batch import BatchAway, Job, Status


@contextlib.contextmanager
def alone(place: Path, patience: float) -> Iterator[int]:
    """Holds the room's lock and gives its handle: commands that inherit it hold it until they end, too.

    Raises BatchAway when another command holds it for `patience` seconds, and for each OSError of the block.
    """
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o750)
        handle = os.open(place / ".lock", os.O_RDWR | os.O_CREAT, 0o640)
        try:
            if not wait(lambda: flock(handle), patience):
                raise BatchAway(f"another command has held {place / '.lock'} for {patience:.0f} s")
            yield handle
        finally:
            os.close(handle)
    except OSError as problem:
        raise BatchAway(f"jobs can't be kept in {place}: {problem}") from None


def submit_new(
    place: Path,
    patience: float,
    jobs: Sequence[Job],
    statuses: Callable[[Sequence[str]], dict[str, Status]],
    submit: Callable[[Job, int], Status],
) -> dict[str, Status]:
    """Submits those whose key nobody knows, under the room's lock, whose handle `submit` gets; gives how each stands.

    Raises BatchAway.
    """
    with alone(place, patience) as lock:
        found = statuses([job.key for job in jobs])
        for job in jobs:
            if found[job.key].how == "gone":
                found[job.key] = submit(job, lock)
        return found


def portions(keys: Sequence[str], most: int = 500) -> Iterator[Sequence[str]]:
    """The keys, as many at a time as go into one call."""
    return (keys[first : first + most] for first in range(0, len(keys), most))


def flock(handle: int) -> bool:
    """Takes the lock of an open file, or says that another has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Asks until the condition holds, at most so long."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; a number that has no name: `signal 77`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def ended(key: str, code: int, reason: str = "", job_id: str = "") -> Status:
    """Done or failed, by an exit code or minus the signal that ended the job, and what else is known."""
    if code == 0 and not reason:
        return Status(key, "done", job_id, 0)
    how = f"exit code {code}" if code >= 0 else f"killed by {signal_name(-code)}"
    return Status(key, "failed", job_id, code if code >= 0 else None, f"{reason} ({how})" if reason else how)
