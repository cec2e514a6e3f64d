"""Where a one-file executable has unpacked itself: the directory goes with the process, also one that SIGKILL left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
from pathlib import Path

_LOCK = "dmtools-dqm.lock"
_PR_SET_PDEATHSIG = 1


def inside() -> bool:
    """Does this run as an executable of PyInstaller?"""
    return bool(getattr(sys, "frozen", False))


def settle() -> None:
    """Marks the directory as in use, ends with the process that unpacked it, takes away what dead ones left."""
    if not inside():
        return
    _own_libraries_only()
    place = Path(sys._MEIPASS)  # type: ignore[attr-defined]
    if not (place / _LOCK).exists():  # a process that this program starts uses its directory
        _die_with_parent()
        hold(place)
        sweep(place.parent)


def _own_libraries_only() -> None:
    """The libraries of this program are not those of the browser that it starts."""
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    os.environ.pop("LD_LIBRARY_PATH", None)
    if before:
        os.environ["LD_LIBRARY_PATH"] = before


def _die_with_parent() -> None:
    """The parent is the half that unpacks, waits and takes the directory away: SIGKILL of it must not leave this one."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def hold(place: Path) -> int:
    """The lock of the directory, in place only once it is held; it goes with the last process that has it."""
    hidden = place / f".{_LOCK}.{os.getpid()}"
    handle = os.open(hidden, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    hidden.rename(place / _LOCK)
    return handle


def sweep(where: Path) -> list[Path]:
    """Removes the directories of this program whose processes are dead; gives them. What has no such lock is not ours."""
    gone = []
    for lock in where.glob(f"_MEI*/{_LOCK}"):
        try:
            with lock.open("r+b") as handle:
                if os.fstat(handle.fileno()).st_uid != os.getuid():
                    continue
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
                gone.append(lock.parent)
        except OSError:  # in use, or gone meanwhile
            continue
    return gone
