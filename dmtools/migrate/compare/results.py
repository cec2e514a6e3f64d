"""The lists that a comparison leaves: made in a hidden directory, then put in place, never mixed with an older run's."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from dmtools.command import Refused, Unavailable
from dmtools.durable import fsync_dir

PREFIX = ".migrate-compare-"
LISTS = ("lost.txt", "dark.txt", "young.txt", "different.txt", "invalid.txt")
SUMMARY = "summary.json"  # put in place last: where it stands, the lists beside it are whole and of one run
SETTLED = 60.0  # seconds after which a hidden directory that nobody holds is a dead run's
_SHOWN = 4096  # bytes of a bad line that are kept
_HEADS = {
    "young": b"# on storage, not in the catalogue; not judged: too young or of unknown age\n",
    "young-lost": b"# in the catalogue, not on storage; not called lost: newer than the dump\n",
}


@contextmanager
def workplace(base: Path) -> Iterator[Path]:
    """A hidden directory of this run's own below `base`, gone afterwards; what killed runs left there is swept first."""
    try:
        base.mkdir(mode=0o750, parents=True, exist_ok=True)
        _sweep(base)
        place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    except (FileExistsError, NotADirectoryError):
        raise Refused(f"{base} is no directory") from None
    except OSError as problem:
        raise _no_write(base, problem) from None
    handle = _lock(place)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _lock(place: Path) -> int | None:
    """Holds a directory for as long as this process lives; None when somebody else does or locks don't work there."""
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _sweep(base: Path) -> None:
    for place in base.glob(f"{PREFIX}*"):
        try:
            info = place.lstat()
            if info.st_uid != os.geteuid() or time.time() - info.st_mtime < SETTLED:
                continue
            handle = _lock(place)
        except OSError:
            continue
        if handle is not None:
            shutil.rmtree(place, ignore_errors=True)
            os.close(handle)


class Results:
    """The lists under way. Names are raw bytes, one a line; a reason is a comment line above its name."""

    def __init__(self, directory: Path, place: Path) -> None:
        self.directory, self._place = directory, place
        self._files: dict[str, BinaryIO] = {}
        for name in (*LISTS, "young-lost"):
            self._files[name] = (place / name).open("wb", buffering=1 << 18)

    def path(self, name: str) -> Path:
        """Where a list will stand: `path("lost")`."""
        return self.directory / f"{name}.txt"

    def add(self, name: str, lines: list[bytes]) -> None:
        """Appends lines to a list ("lost", "dark", "young", "young-lost", "different", "invalid")."""
        if not lines:
            return
        file = self._files[name if name == "young-lost" else f"{name}.txt"]
        try:
            if name in _HEADS and not file.tell():
                file.write(_HEADS[name])
            file.write(b"\n".join(lines) + b"\n")
        except OSError as problem:
            raise _no_write(self.directory, problem) from None

    def bad_line(self, title: str, number: int, why: str, line: bytes) -> None:
        """Sets a line aside in invalid.txt, under its reason."""
        self.add("invalid", [f"# {title} line {number}: {why}".encode(), line[:_SHOWN]])

    def publish(self, summary: dict[str, Any]) -> None:
        """Makes all durable, takes an older run's lists away, puts these in place, the summary last."""
        try:
            self._join_young()
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
                file.close()
            with (self._place / SUMMARY).open("w", encoding="utf-8", errors="backslashreplace") as text:
                json.dump(summary, text, indent=1, ensure_ascii=False)
                text.flush()
                os.fsync(text.fileno())
            handle = _lock_waiting(self.directory)
            try:
                for name in (SUMMARY, *LISTS):
                    (self.directory / name).unlink(missing_ok=True)
                for name in (*LISTS, SUMMARY):
                    (self._place / name).rename(self.directory / name)
                fsync_dir(self.directory)
            finally:
                os.close(handle)
        except OSError as problem:
            raise _no_write(self.directory, problem) from None

    def close(self) -> None:
        """Lets go of the files; what is buffered for a list that won't be published doesn't matter."""
        for file in self._files.values():
            try:
                file.close()
            except OSError:
                pass

    def _join_young(self) -> None:
        """young.txt: those on storage first, then those of the catalogue, each part under a comment."""
        lost = self._files.pop("young-lost")
        lost.close()
        path = self._place / "young-lost"
        if path.stat().st_size:
            with path.open("rb") as source:
                shutil.copyfileobj(source, self._files["young.txt"], 1 << 20)
        path.unlink()


def _lock_waiting(directory: Path) -> int:
    """Two runs into one directory publish one after the other."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        pass  # a file system without locks: one run at a time there
    return handle


def _no_write(place: Path, problem: OSError) -> Unavailable:
    where = str(problem.filename or place)
    return Unavailable(
        "can't write", where, problem.strerror or str(problem), f"make room or mend the rights of {place}, or name another place"
    )
