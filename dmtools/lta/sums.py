"""A bundle's zip, read once: size, sha512 and adler32, and whether it stayed as it was meanwhile."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from dmtools.names import encode, shown
from dmtools.storage import checksum as sums
from dmtools.storage.answers import Mark, StorageError
from dmtools.storage.deadline import Hung, Pulse, guarded
from dmtools.storage.errnos import error_of
from dmtools.storage.writers import is_written

BLOCK = 1 << 20
STALL_SECONDS = 120.0  # no block read for so long: the disk hangs
FOREVER = 30 * 86400.0
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True)
class Sums:
    """What a zip is. `adler32` as the books have it: 8 hex digits. `mark`: which file that was."""

    mark: Mark
    sha512: str
    adler32: str

    @property
    def size(self) -> int:
        """In bytes."""
        return self.mark.size


def read(path: bytes) -> Sums:
    """Reads the whole file. Raises StorageError: `changed` when somebody writes it, `missing`, `invalid`, `timeout`, ..."""
    found = read_many([path])[0]
    if isinstance(found, StorageError):
        raise found
    return found


def read_many(paths: Sequence[bytes], until: float = float("inf")) -> list[Sums | StorageError]:
    """The sums of several files in their order, or why one can't be had; fewer when the monotonic clock came to `until`."""
    found: list[Sums | StorageError] = []

    def every(pulse: Pulse) -> None:
        for path in paths:
            if found and pulse.last > until:
                return
            found.append(_look(path, pulse))
            pulse.beat()

    try:
        guarded(every, deadline=FOREVER, stall=STALL_SECONDS)
    except Hung:
        done = found[:]
        late = f"{_shown(paths[len(done)])} could not be read: no byte for {STALL_SECONDS:.0f} s"
        return [*done, StorageError("timeout", late)]
    return found


def _shown(path: bytes) -> str:
    return shown(encode(path))


def _look(path: bytes, pulse: Pulse) -> Sums | StorageError:
    try:
        return _read(path, pulse)
    except StorageError as problem:
        return problem
    except OSError as problem:
        return error_of(problem, _shown(path), "read")


def _read(path: bytes, pulse: Pulse) -> Sums:
    reader = os.open(path, _OPEN)
    try:
        before = os.fstat(reader)
        if not stat.S_ISREG(before.st_mode):
            raise StorageError("invalid", f"{_shown(path)} is no regular file")
        if is_written(reader):
            raise StorageError("changed", f"{_shown(path)} is being written")
        sha512, adler32 = _sum(reader, before.st_size, pulse)
        mark = mark_of(before)
        if mark_of(os.fstat(reader)) != mark or mark_of(os.lstat(path)) != mark or is_written(reader):
            raise StorageError("changed", f"{_shown(path)} changed while it was read")
        return Sums(mark, sha512, adler32)
    finally:
        os.close(reader)


def _sum(reader: int, size: int, pulse: Pulse) -> tuple[str, str]:
    digest, value, left = hashlib.sha512(), 1, size
    if size > BLOCK:
        os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    while block := os.read(reader, min(BLOCK, max(left, 0) + 1)):
        digest.update(block)
        value = sums.adler32(block, value)
        left -= len(block)
        pulse.beat()
        if left < 0:  # it grows; following it might never end
            break
    return digest.hexdigest(), f"{value:08x}"


def mark_of(found: os.stat_result) -> Mark:
    """Which file it is."""
    return Mark(found.st_ino, found.st_size, found.st_mtime_ns)
