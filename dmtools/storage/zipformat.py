"""Writes a .zip as APPNOTE.TXT 6.3 has it: deflate, ZIP64 where it is needed, the same bytes for the same files.

Python's zipfile can't: it takes no raw names, no compressed data that are made elsewhere, and writes the time of day.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

LIMIT = 0xFFFFFFFF
ROOM = 1 << 24  # by so much deflate may lengthen what it can't shorten, and more
STORED, DEFLATED = 0, 8
_UTF8 = 1 << 11
_PLAIN, _ZIP64 = 20, 45  # versions
_UNIX = 3 << 8
_MODE = 0o100644 << 16
_DATE = 0x21  # 1980-01-01: a zip tells of nothing but its files
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")


@dataclass
class Member:
    """One entry; sizes in bytes. `long`: its local header has room for sizes of 64 bits."""

    name: bytes
    method: int
    offset: int
    long: bool
    crc: int = 0
    packed: int = 0
    size: int = 0

    @property
    def flags(self) -> int:
        """The name is UTF-8, where it is more than ASCII; else it is bytes of the file system."""
        try:
            return 0 if self.name.isascii() or not self.name.decode("utf-8") else _UTF8
        except UnicodeDecodeError:
            return 0

    def local(self) -> bytes:
        """Its header before the data."""
        extra = struct.pack("<2H2Q", 1, 16, self.size, self.packed) if self.long else b""
        packed, size = (LIMIT, LIMIT) if self.long else (self.packed, self.size)
        fixed = (_ZIP64 if self.long else _PLAIN, self.flags, self.method, 0, _DATE, self.crc, packed, size)
        return _LOCAL.pack(b"PK\3\4", *fixed, len(self.name), len(extra)) + self.name + extra

    def central(self) -> bytes:
        """Its entry in the directory."""
        values = (self.size, self.packed, self.offset)
        large = b"".join(struct.pack("<Q", value) for value in values if value >= LIMIT)
        extra = struct.pack("<2H", 1, len(large)) + large if large else b""
        needed = _ZIP64 if self.long or large else _PLAIN
        size, packed, offset = (min(value, LIMIT) for value in values)
        head = (_UNIX | needed, needed, self.flags, self.method, 0, _DATE, self.crc, packed, size)
        tail = (len(self.name), len(extra), 0, 0, 0, _MODE, offset)
        return _CENTRAL.pack(b"PK\1\2", *head, *tail) + self.name + extra


def directory(members: Sequence[Member], start: int) -> bytes:
    """What stands behind the last member, at `start`: the directory, and the end record."""
    listed = b"".join([member.central() for member in members])
    count, length = len(members), len(listed)
    long = b""
    if count >= 0xFFFF or start >= LIMIT or length >= LIMIT:
        record = (_END64.size - 12, _UNIX | _ZIP64, _ZIP64, 0, 0, count, count, length, start)
        long = _END64.pack(b"PK\6\6", *record) + _LOCATOR.pack(b"PK\6\7", 0, start + length, 1)
    short = min(count, 0xFFFF)
    return listed + long + _END.pack(b"PK\5\6", 0, 0, short, short, min(length, LIMIT), min(start, LIMIT), 0)


class ZipWriter:
    """A zip that grows in a file which can be sought in."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._members: list[Member] = []

    def store(self, name: bytes, data: bytes, crc: int) -> Member:
        """A member as it is, whose data may be filled in later by `restore`."""
        member = self._begin(name, STORED, len(data))
        self._file.write(data)
        member.crc, member.packed, member.size = crc, len(data), len(data)
        self._settle(member)
        return member

    def refill(self, member: Member, data: bytes, crc: int) -> None:
        """Other data of the same length for a stored member."""
        if len(data) != member.size or member.method != STORED:
            raise ValueError("only a stored member can be filled in, with as many bytes")
        member.crc = crc
        self._settle(member, data)

    def begin(self, name: bytes, size: int) -> Member:
        """A deflated member of so many bytes; its stream goes to `write`, then `end`."""
        return self._begin(name, DEFLATED, size)

    def write(self, pieces: Iterable[bytes]) -> int:
        """The pieces of its stream; gives its length."""
        packed = 0
        for piece in pieces:
            self._file.write(piece)
            packed += len(piece)
        return packed

    def end(self, member: Member, *, crc: int, packed: int, size: int) -> None:
        """The sums of the member, now that they are known."""
        member.crc, member.packed, member.size = crc, packed, size
        if not member.long and max(packed, size) >= LIMIT:
            raise ValueError("a member became longer than was said")
        self._settle(member)

    def close(self) -> None:
        """The directory, and the end record; the file itself stays open."""
        self._file.write(directory(self._members, self._file.tell()))
        self._file.flush()

    def _begin(self, name: bytes, method: int, size: int) -> Member:
        member = Member(name, method, self._file.tell(), size + ROOM >= LIMIT)
        self._members.append(member)
        self._file.write(member.local())
        return member

    def _settle(self, member: Member, data: bytes = b"") -> None:
        end = self._file.tell()
        self._file.seek(member.offset)
        self._file.write(member.local() + data)
        self._file.seek(end)
