"""One file of a disk -> a hidden file of the warehouse, read back and equal; or the proof that it is there already.

The names, and the sync for many files together, come from `storage.grouped`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass

from dmtools.lta.glue.hashing import BLOCK, Sums, stream, sums_of
from dmtools.names import encode, shown
from dmtools.storage import checksum as sums
from dmtools.storage.answers import Copied, StorageError
from dmtools.storage.deadline import Pulse
from dmtools.storage.grouped import LARGE, Staged, staging
from dmtools.storage.publish import acting

SMALL = 4 << 20  # read, summed and written at once
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True)
class Copy:
    """What became of a file: its sha512; `staged` None: equal bytes stood there already."""

    size: int
    sha512: str
    staged: Staged | None

    def discard(self) -> None:
        """Takes the hidden file away."""
        if self.staged is not None:
            self.staged.discard()


def copy(source: bytes, size: int, mtime_ns: int, target: bytes, number: str, pulse: Pulse) -> Copy:
    """Copies a file that must still be what the walk saw. Raises StorageError, `reading` when the disk is at fault."""
    with acting(source, "read"), pulse.reading():
        reader = os.open(source, _OPEN)
    try:
        before = os.fstat(reader)
        _refuse_other(reader, source, size, mtime_ns)
        made = _there(reader, source, target, size, pulse) or _new(reader, source, before, target, number, pulse)
        try:
            _refuse_other(reader, source, size, mtime_ns)
        except StorageError:
            made.discard()
            raise
        return made
    finally:
        os.close(reader)


def _refuse_other(reader: int, source: bytes, size: int, mtime_ns: int) -> None:
    with acting(source, "read"):
        now = os.fstat(reader)
    if not stat.S_ISREG(now.st_mode) or (now.st_size, now.st_mtime_ns) != (size, mtime_ns):
        raise StorageError("changed", f"{shown(encode(source))} changed while its disk was dumped")


def _there(reader: int, source: bytes, target: bytes, size: int, pulse: Pulse) -> Copy | None:
    """The same bytes stand at the target. Raises StorageError: others do, and are left."""
    with acting(target, "looked at"):
        if not os.path.lexists(target):
            return None
        handle = os.open(target, _OPEN)
    try:
        found = os.fstat(handle)
        if stat.S_ISREG(found.st_mode) and found.st_size == size:
            with acting(source, "read"):
                wanted = _sums(reader, size, pulse, source=True)
            with acting(target, "read back"):
                other = _sums(handle, size, pulse, source=False)
            if wanted == other:
                return Copy(size, wanted.sha512, None)
    finally:
        os.close(handle)
    raise StorageError("occupied", f"{shown(encode(target))} is there already with other content; it was left")


def _new(reader: int, source: bytes, before: os.stat_result, target: bytes, number: str, pulse: Pulse) -> Copy:
    try:
        return _stage(reader, source, before, target, number, pulse)
    except StorageError as problem:  # another disk has the same file, and was just quicker: it may be equal
        if problem.cls == "occupied" and (there := _there(reader, source, target, before.st_size, pulse)) is not None:
            return there
        raise


def _stage(reader: int, source: bytes, before: os.stat_result, target: bytes, number: str, pulse: Pulse) -> Copy:
    with staging(target, number) as made:
        wanted, data = _fill(reader, made.handle, source, target, before.st_size, pulse)
        with acting(target, "written"):
            os.fchmod(made.handle, before.st_mode & 0o777)
            os.utime(made.handle, ns=(before.st_mtime_ns, before.st_mtime_ns))
            if wanted.size >= LARGE:
                os.fsync(made.handle)
                made.synced = True
        with acting(target, "read back"):
            same = _reads_back(made.handle, wanted, data, pulse)
        if not same:
            raise StorageError("checksum", f"{shown(encode(target))} reads back other bytes than were written; it was taken away")
        made.copied = Copied(wanted.size, wanted.sha512)
    return Copy(wanted.size, wanted.sha512, made)


def _fill(reader: int, handle: int, source: bytes, target: bytes, size: int, pulse: Pulse) -> tuple[Sums, bytes | None]:
    """Its sums, and the bytes themselves when they are few."""
    data = None

    def write(view: memoryview, place: int) -> None:
        with acting(target, "written"):
            done = 0
            while done < len(view):
                done += os.pwrite(handle, view[done:], place + done)

    if size > SMALL:
        with acting(source, "read"):
            found = stream(reader, size, write, pulse)
    else:
        with acting(source, "read"), pulse.reading():
            data = _whole(reader, size)
        found = sums_of(data)
        write(memoryview(data), 0)
    if found.size != size:
        raise StorageError("changed", f"{shown(encode(source))} changed while its disk was dumped")
    pulse.beat()
    return found, data


def _reads_back(handle: int, wanted: Sums, data: bytes | None, pulse: Pulse) -> bool:
    """Is what was written what was read: by its bytes, or for a large file by adler32 and crc32?"""
    if data is not None:
        return _whole(handle, wanted.size) == data
    block = memoryview(bytearray(BLOCK))
    place, adler, crc = 0, 1, 0
    while count := os.preadv(handle, [block], place):
        adler, crc = sums.adler32(block[:count], adler), sums.crc32(block[:count], crc)
        place += count
        pulse.beat()
    return (place, adler, crc) == (wanted.size, wanted.adler32, wanted.crc32)


def _sums(handle: int, size: int, pulse: Pulse, *, source: bool) -> Sums:
    if size > SMALL:
        return stream(handle, size, None, pulse, source=source)
    with pulse.reading() if source else contextlib.nullcontext():
        data = _whole(handle, size)
    pulse.beat()
    return sums_of(data)


def _whole(handle: int, size: int) -> bytes:
    data, place = os.pread(handle, size + 1, 0), 0
    while 0 < len(data) < size:
        place = len(data)
        more = os.pread(handle, size + 1 - place, place)
        if not more:
            break
        data += more
    return data
