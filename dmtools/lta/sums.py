"""A bundle's zip, read once: size, sha512 and adler32, and whether it stayed as it was meanwhile."""

from __future__ import annotations

import hashlib
import os
import stat
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
    subject = shown(encode(path))
    try:
        return guarded(lambda pulse: _read(path, subject, pulse), deadline=FOREVER, stall=STALL_SECONDS)
    except Hung:
        raise StorageError("timeout", f"{subject} could not be read: no byte for {STALL_SECONDS:.0f} s") from None
    except OSError as problem:
        raise error_of(problem, subject, "read") from problem


def _read(path: bytes, subject: str, pulse: Pulse) -> Sums:
    reader = os.open(path, _OPEN)
    try:
        before = os.fstat(reader)
        if not stat.S_ISREG(before.st_mode):
            raise StorageError("invalid", f"{subject} is no regular file")
        if is_written(reader):
            raise StorageError("changed", f"{subject} is being written")
        sha512, adler32 = _sum(reader, before.st_size, pulse)
        if mark_of(os.fstat(reader)) != mark_of(before) or mark_of(os.lstat(path)) != mark_of(before) or is_written(reader):
            raise StorageError("changed", f"{subject} changed while it was read")
        return Sums(mark_of(before), sha512, adler32)
    finally:
        os.close(reader)


def _sum(reader: int, size: int, pulse: Pulse) -> tuple[str, str]:
    digest, value, left = hashlib.sha512(), 1, size
    os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    while block := os.read(reader, BLOCK):
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
