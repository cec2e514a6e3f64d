"""Master lists in TODO/ListOfLFNs: read on from where the tables say, never rewritten, refused by name when changed."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

BLOCK = 1 << 20
MAX_LINE = 1 << 16
MAX_COMMENTS = 1 << 16  # lines kept in memory while names are looked for


class MasterRefused(Exception):
    """The master list can't be read on: changed, binary, damaged, a directory. The text says which and what to do."""


@dataclass(frozen=True)
class Print:
    """How far a master list was read, and a digest that says whether those bytes are still the same.

    `chain` is the digest of all whole blocks before `read`; `tail` that of the started block.
    """

    read: int = 0
    chain: str = ""
    tail: str = ""

    @classmethod
    def parse(cls, read: int, text: str | None) -> Print:
        """From the columns read_bytes and read_sha256."""
        chain, _, tail = (text or "").partition(":")
        return cls(read, chain, tail)

    def text(self) -> str:
        """For the column read_sha256."""
        return f"{self.chain}:{self.tail}"


def stamp(path: Path) -> str:
    """Inode, size and mtime: unchanged means that the bytes need not be read again."""
    found = path.stat()
    return f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"


def open_master(path: Path) -> IO[bytes]:
    """The bytes of a master list, plain or gzip (told by its first bytes). Raises MasterRefused."""
    if path.is_dir():
        raise MasterRefused("is a directory; put the list files themselves into ListOfLFNs")
    stream = path.open("rb")
    if stream.read(2) == b"\x1f\x8b":
        stream.seek(0)
        return gzip.GzipFile(fileobj=stream, mode="rb")  # type: ignore[return-value]
    stream.seek(0)
    return stream


def read_blocks(stream: IO[bytes], start: int, length: int | None = None) -> Iterator[bytes]:
    """The bytes from `start` on, a block at a time. Raises MasterRefused for a damaged gzip."""
    left = length
    try:
        stream.seek(start)
        while left is None or left > 0:
            block = stream.read(BLOCK if left is None else min(BLOCK, left))
            if not block:
                return
            if left is not None:
                left -= len(block)
            yield block
    except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
        raise MasterRefused(f"is a damaged or unfinished gzip file ({problem}); put the whole file there") from None


class Reader:
    """Reads a master list on from a print; gives whole lines with their offsets and the print after them."""

    def __init__(self, path: Path, before: Print, trusted: bool) -> None:
        self.stream = open_master(path)
        self._chain = before.chain
        whole = before.read - before.read % BLOCK
        if not trusted:
            self._prove(before, whole)
        self._digest = hashlib.sha256()
        self._position = whole
        head = b"".join(read_blocks(self.stream, whole, before.read - whole))
        if len(head) != before.read - whole or (before.read and hashlib.sha256(head).hexdigest() != before.tail):
            raise MasterRefused(_CHANGED)
        self.feed(head)
        last = head[-1:] or b"".join(read_blocks(self.stream, max(0, whole - 1), 1 if whole else 0))
        self._ends_open = last not in (b"", b"\n")

    def _prove(self, before: Print, whole: int) -> None:
        chain = ""
        for block in read_blocks(self.stream, 0, whole):
            chain = _link(chain, hashlib.sha256(block).hexdigest())
        if chain != before.chain:
            raise MasterRefused(_CHANGED)

    def feed(self, data: bytes) -> None:
        """Counts bytes as read."""
        while data:
            room = BLOCK - self._position % BLOCK
            part, data = data[:room], data[room:]
            self._digest.update(part)
            self._position += len(part)
            if self._position % BLOCK == 0:
                self._chain = _link(self._chain, self._digest.hexdigest())
                self._digest = hashlib.sha256()

    def batches(self, most: int) -> Iterator[tuple[int, list[bytes], Print]]:
        """(offset of the first line, lines without their newline of which at most `most` name a file, the print behind them)."""
        start, lines, rest = self._position, list[bytes](), b""
        for block in read_blocks(self.stream, self._position):
            if self._ends_open:
                if not block.startswith(b"\n"):
                    raise MasterRefused(_CHANGED + " (its last line, which had no end, goes on)")
                self._ends_open = False
            parts = (rest + block).split(b"\n")
            rest = parts.pop()
            if len(rest) > MAX_LINE:
                raise MasterRefused(f"is no list of names: it holds a line of more than {MAX_LINE} bytes")
            lines += parts
            while len(lines) >= most and (end := enough(lines, most)):
                yield self._batch(start, lines[:end], b"\n")
                start, lines = self._position, lines[end:]
        if rest:
            lines.append(rest)
        if lines:
            yield self._batch(start, lines, b"" if rest else b"\n")

    def _batch(self, start: int, lines: list[bytes], end: bytes) -> tuple[int, list[bytes], Print]:
        self.feed(b"\n".join(lines) + end)
        return start, lines, self.print_here()

    def print_here(self) -> Print:
        """The print behind all that was read."""
        return Print(self._position, self._chain, self._digest.copy().hexdigest())

    def close(self) -> None:
        """Closes the file."""
        self.stream.close()


_CHANGED = (
    "was changed in the part that is cut already; nothing more of it is cut until it begins again as it did"
    " (new lines belong at its end)"
)


def _link(chain: str, block: str) -> str:
    return hashlib.sha256(f"{chain}{block}".encode("ascii")).hexdigest()


def is_lfn_line(line: bytes) -> bool:
    """Does a line name a file (well or badly)? Blank lines and # comments don't."""
    plain = line.strip()
    return bool(plain) and not plain.startswith(b"#")


def count_lfns(path: Path, start: int) -> int:
    """How many lines from `start` on name a file. Raises MasterRefused."""
    stream = open_master(path)
    total, rest = 0, b""
    try:
        for block in read_blocks(stream, start):
            if start == 0 and total == 0 and b"\0" in block[:65536]:
                raise MasterRefused("is a binary file, no list of names: it holds NUL bytes")
            text = rest + block
            text, _, rest = text.rpartition(b"\n")
            if len(rest) > MAX_LINE:
                raise MasterRefused(f"is no list of names: it holds a line of more than {MAX_LINE} bytes")
            total += _count(text)
        return total + (1 if is_lfn_line(rest) else 0)
    finally:
        stream.close()


_ODD = (b"#", b"\n", b" ", b"\t", b"\r", b"\x0b", b"\x0c")  # how a line may begin that perhaps names no file


def _count(text: bytes) -> int:
    """Lines that name a file; quick when there are neither comments nor blanks at a line's begin."""
    if not text:
        return 0
    if text.startswith(_ODD) or any(b"\n" + mark in text for mark in _ODD):
        return sum(1 for line in text.split(b"\n") if is_lfn_line(line))
    return text.count(b"\n") + (0 if text.endswith(b"\n") else 1)


def enough(lines: list[bytes], most: int, first: int = 0) -> int:
    """Where the lines from `first` on end of which `most` name a file; 0: there are fewer. Comments alone end somewhere too."""
    end, found = first, 0
    while found < most:
        part = lines[end : end + most - found]
        if not part:
            return end if end - first > MAX_COMMENTS else 0
        found += _count(b"\n".join(part) + b"\n")
        end += len(part)
    return end


def lines_of(path: Path, start: int, length: int) -> list[bytes]:
    """The lines between two offsets: what a list was cut from. Raises MasterRefused when they are not there."""
    stream = open_master(path)
    try:
        data = b"".join(read_blocks(stream, start, length))
    finally:
        stream.close()
    if len(data) != length:
        raise MasterRefused("is shorter than it was")
    return data.removesuffix(b"\n").split(b"\n")


def entries(directory: Path) -> list[Path]:
    """The master lists, oldest name first; hidden files and the folder Done are none."""
    try:
        with os.scandir(directory) as found:
            names = [e.name for e in found if not e.name.startswith(".") and e.name != "Done"]
    except FileNotFoundError:
        return []
    return [directory / name for name in sorted(names)]


def row_values(path: Path, after: Print) -> dict[str, Any]:
    """The columns of `master` that say how far it was read."""
    return {"read_bytes": after.read, "read_sha256": after.text(), "stamp": stamp(path)}
