"""HOME/run/dqm/NAME: the directory of one keeper, where its browser has all its files; and who may be in it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import Self

from dmtools.dqm.robbing import processes

WORD = "DMTOOLS_DQM_ROOM"
_SWEEP_SECONDS = 10.0
OLD = ".old"  # of the keeper of a site's old runs


class Room:
    """A room that is ours while its lock is held; the kernel gives the lock back when we die, however that happens."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path, self._lock = path, lock

    @classmethod
    def take(cls, home: Path, name: str) -> Self | None:
        """Takes it and sweeps out what a dead one left; None when another process has it. Raises OSError."""
        place = _place(home)
        place.mkdir(parents=True, exist_ok=True, mode=0o750)
        lock = os.open(place / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        found = cls(place / name, lock)
        try:
            found.sweep()
        except BaseException:
            os.close(lock)
            raise
        return found

    @property
    def word(self) -> str:
        """What stands in the environment of all that run in it."""
        return f"{WORD}={self.path}"

    def furnish(self) -> None:
        """Makes the empty directory. Raises OSError."""
        self.path.mkdir(mode=0o700)

    def sweep(self) -> None:
        """Ends whatever runs there and removes the directory. Raises OSError when something stays."""
        deadline = time.monotonic() + _SWEEP_SECONDS
        processes.end_marked(self.word)
        while self.path.exists():  # a process in its last breath may still write
            shutil.rmtree(self.path, ignore_errors=True)
            if self.path.exists() and time.monotonic() > deadline:
                raise OSError(errno.EBUSY, "can't be emptied: look who is in it", str(self.path))
            processes.end_marked(self.word)

    def unlock(self) -> None:
        """In a fork: gives up the copy of the lock, so that only the keeper holds it."""
        os.close(self._lock)

    def leave(self) -> None:
        """Sweeps and gives it back."""
        try:
            self.sweep()
        finally:
            os.close(self._lock)


def sweep_dead(home: Path) -> list[str]:
    """Empties the rooms whose keepers are dead, those of sites that are configured no more too. Gives their names."""
    swept = []
    for path in _all(home):
        if (room := Room.take(home, path.name)) is not None:
            room.leave()
            swept.append(path.name)
    return swept


def dead(home: Path) -> list[Path]:
    """The rooms whose keepers are dead. Reads only."""
    return [path for path in _all(home) if not _is_locked(path.with_name(f"{path.name}.lock"))]


def _place(home: Path) -> Path:
    return home / "run" / "dqm"


def _all(home: Path) -> list[Path]:
    place = _place(home)
    return sorted(path for path in place.iterdir() if path.is_dir() and not path.is_symlink()) if place.is_dir() else []


def _is_locked(lock: Path) -> bool:
    try:
        with lock.open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
