"""A directory that acts as the tape: the file is read back for its checksum, past the cache where the kernel lets us."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmtools import durable
from dmtools.lta.remote.tape import TapeError
from dmtools.storage import deadline

BLOCK = 1 << 20
LOOK_SECONDS = 30.0


class DirectoryTape:
    """Files below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def trouble(self) -> str | None:
        """The directory must be there: it is never made, for it may be a mount that is away."""
        try:
            there = deadline.guarded(lambda _: self.root.is_dir(), deadline=LOOK_SECONDS, stall=LOOK_SECONDS)
        except deadline.Hung:
            return f"the tape's directory {self.root} does not answer"
        except OSError as problem:
            return f"the tape's directory {self.root}: {problem.strerror}"
        return None if there else f"the tape's directory {self.root} is not there"

    def check_name(self, path: str) -> None:
        """Any name will do that the file system takes."""
        if any(len(os.fsencode(part)) > 255 for part in path.split("/")):
            raise TapeError("name", "a part of its name has more than 255 bytes")

    def size(self, path: str) -> int | None:
        """By stat."""
        with _told():
            try:
                return os.lstat(path).st_size
            except (FileNotFoundError, NotADirectoryError):
                if not self.root.is_dir():
                    raise TapeError("tape", f"the tape's directory {self.root} is not there") from None
                return None

    def checksum(self, path: str) -> str | None:
        """All bytes are read."""
        with _told(), open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return hashlib.file_digest(file, "sha512").hexdigest()

    def reread(self, path: str) -> bool:
        """`checksum` has read the bytes themselves."""
        return True

    def put(self, local: Path, path: str) -> None:
        """Copies, with all that it takes to survive a power cut."""
        target = Path(path)
        with _told():
            _parents(target, self.root)
            _copy(local, target)

    def get(self, path: str, local: Path) -> None:
        """Copies."""
        with _told():
            _copy(Path(path), local)

    def rename(self, path: str, to: str) -> None:
        """Never over another file."""
        with _told():
            durable.rename_new(Path(path), Path(to))
            durable.fsync_dir(Path(to).parent)

    def remove(self, path: str) -> None:
        """Gone already is gone."""
        with _told():
            durable.remove(Path(path))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        cls = "full" if problem.errno in (errno.ENOSPC, errno.EDQUOT) else "tape"
        raise TapeError(cls, f"{problem.filename or 'the tape'}: {problem.strerror}") from None


def _parents(path: Path, root: Path) -> None:
    """Makes the directories above, each durable in its parent; the root itself must be there."""
    missing = []
    for above in path.parents:
        if above == root or above.is_dir():
            break
        missing.append(above)
    for directory in reversed(missing):
        directory.mkdir(mode=0o750, exist_ok=True)
        durable.fsync_dir(directory.parent)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb", buffering=0) as given:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o640)
        try:
            while block := given.read(BLOCK):
                rest = memoryview(block)
                while rest:
                    rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)
    durable.fsync_dir(target.parent)
