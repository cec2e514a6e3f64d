"""Proves a zip by its bytes: one read from its first byte to its last gives its own checksum and those of all its files."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dmtools.daq.deflating import BLOCK, INFLATE_ERRORS, crc32, inflate
from dmtools.storage import checksum as sums

_LOCAL = struct.Struct("<4s5H3L2H")
_DIRECTORY_ERRORS = (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, EOFError, OverflowError)
_MEMBER_ERRORS: tuple[type[Exception], ...] = (*INFLATE_ERRORS, struct.error)
Sink = Callable[[bytes, bytes], None]  # (name of the member, a piece of it)


class BadZip(Exception):
    """The zip is damaged, or not the one that was expected; the text says how."""


@dataclass(frozen=True)
class Proved:
    """What one read of a zip gave: its size and checksum, and (size, adler32, crc32) of each member by its raw name."""

    size: int
    checksum: str
    members: dict[bytes, tuple[int, str, int]]


def prove(path: Path, sink: Sink | None = None) -> Proved:
    """Reads the zip through, inflates each member and compares it with its CRC; `sink` gets the inflated pieces.

    Raises BadZip, and OSError when it can't be read.
    """
    with path.open("rb", buffering=0) as file:
        entries = _directory(file)
        reader = _Reader(file)
        members: dict[bytes, tuple[int, str, int]] = {}
        for entry in entries:
            name = raw_name(entry)
            if name in members:
                raise BadZip(f"{_shown(name)} is in the zip twice")
            try:
                members[name] = _member(reader, entry, name, sink)
            except _MEMBER_ERRORS as problem:
                raise BadZip(f"{_shown(name)} can't be unzipped: {problem}") from None
        reader.rest()
        return Proved(reader.length, sums.text(reader.sum), members)


def raw_name(entry: zipfile.ZipInfo) -> bytes:
    """The bytes of a member's name, which zipfile has decoded."""
    return entry.orig_filename.encode("utf-8" if entry.flag_bits & 1 << 11 else "cp437")


def _directory(file: BinaryIO) -> list[zipfile.ZipInfo]:
    """Python's zipfile reads the directory: the proof shares no code with the writer."""
    try:
        with zipfile.ZipFile(file) as found:
            return sorted(found.infolist(), key=lambda entry: entry.header_offset)
    except _DIRECTORY_ERRORS as problem:
        raise BadZip(f"its directory can't be read: {problem}") from None


class _Reader:
    """Reads a file once, from its start, and sums all that passes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.length, self.sum = 0, 1
        file.seek(0)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def read(self, most: int) -> bytes:
        data = self._file.read(most)
        self.length += len(data)
        self.sum = sums.adler32(data, self.sum)
        return data

    def rest(self) -> None:
        while self.read(BLOCK):
            pass


def _member(reader: _Reader, entry: zipfile.ZipInfo, name: bytes, sink: Sink | None) -> tuple[int, str, int]:
    if entry.header_offset != reader.length:
        raise BadZip(f"{_shown(name)} does not follow the member before it")
    fields = _LOCAL.unpack(reader.read(_LOCAL.size))
    written = reader.read(fields[-2])
    reader.read(fields[-1])
    if fields[0] != b"PK\3\4" or written != name or fields[3] != entry.compress_type or entry.flag_bits & 1:
        raise BadZip(f"the header of {_shown(name)} says something else than the directory")
    size, adler, crc = 0, 1, 0
    for piece in _pieces(reader, entry):
        size += len(piece)
        if size > entry.file_size:
            break
        adler, crc = sums.adler32(piece, adler), crc32(piece, crc)
        if sink is not None:
            sink(name, piece)
    if (size, crc) != (entry.file_size, entry.CRC):
        raise BadZip(f"{_shown(name)} has other bytes than its CRC and size say")
    return size, sums.text(adler), crc


def _pieces(reader: _Reader, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    if entry.compress_type == zipfile.ZIP_DEFLATED:
        yield from inflate(reader.read, entry.compress_size)
        return
    if entry.compress_type != zipfile.ZIP_STORED:
        raise EOFError(f"its method {entry.compress_type} is neither stored nor deflate")
    left = entry.compress_size
    while left:
        piece = reader.read(min(left, BLOCK))
        if not piece:
            raise EOFError("the file ends in the middle of its data")
        left -= len(piece)
        yield piece


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
