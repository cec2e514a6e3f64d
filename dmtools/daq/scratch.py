"""Scratch directories: a process's own, locked, and gone with it; what a killed one left goes with the next one here."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

JOB = "daq-zip-"


def directory_of(place: Path, key: str, prefix: str = JOB) -> Path:
    """The directory of this process for one thing."""
    return place / f"{prefix}{key}-{os.getpid()}"


@contextlib.contextmanager
def scratch(place: Path, key: str, prefix: str = JOB) -> Iterator[Path]:
    """A new empty directory below `place`, 0700. Raises OSError when it can't be made."""
    _sweep(place, prefix)
    directory = directory_of(place, key, prefix)
    handle = _make(directory)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(handle)


def _make(directory: Path) -> int:
    """The directory, locked: another job's sweep may take it away between the two acts."""
    while True:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(0o700)
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with contextlib.suppress(OSError):  # a file system without locks: then no sweep takes it for left
                fcntl.flock(handle, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.lstat(directory)):
                    return handle
            os.close(handle)


def _sweep(place: Path, prefix: str) -> None:
    """Removes the directories of processes of ours that no process holds any more."""
    for left in place.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            if left.lstat().st_uid == os.geteuid():
                _remove_unheld(left)


def _remove_unheld(left: Path) -> None:
    handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(left, ignore_errors=True)
    finally:
        os.close(handle)
