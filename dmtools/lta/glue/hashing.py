"""sha512 and adler32 of what passes by, in a thread beside who reads and writes."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

from dmtools.storage import checksum as sums
from dmtools.storage.deadline import Pulse

BLOCK = 1 << 20  # it stays in the processor's cache between its read and its write


@dataclass(frozen=True)
class Sums:
    """Of so many bytes: sha512 in hex, adler32 and crc32 as numbers."""

    size: int
    sha512: str
    adler32: int
    crc32: int

    @property
    def adler(self) -> str:
        """adler32 in hex."""
        return f"{self.adler32:08x}"


def sums_of(data: bytes | memoryview) -> Sums:
    """The sums of what is in memory."""
    return Sums(len(data), hashlib.sha512(data).hexdigest(), sums.adler32(data), sums.crc32(data))


class Running:
    """Sums that grow block by block."""

    def __init__(self) -> None:
        self._sha512, self._adler32, self._crc32, self._size = hashlib.sha512(), 1, 0, 0

    def add(self, block: memoryview | bytes) -> None:
        """One more block."""
        self._sha512.update(block)
        self._adler32 = sums.adler32(block, self._adler32)
        self._crc32 = sums.crc32(block, self._crc32)
        self._size += len(block)

    def sums(self) -> Sums:
        """What they are now."""
        return Sums(self._size, self._sha512.hexdigest(), self._adler32, self._crc32)


def stream(handle: int, most: int, write: Callable[[memoryview, int], None] | None, pulse: Pulse, *, source: bool = True) -> Sums:
    """The sums of an open file from its beginning; each block is given to `write` with its place while it is summed.

    Stops when more than `most` bytes came. `source`: a silence is told as the source's. Raises OSError, and what `write` raises.
    """
    running, place = Running(), 0
    under_way: Future[None] | None = None
    with ThreadPoolExecutor(1) as beside:
        for view in itertools.cycle([memoryview(bytearray(BLOCK)), memoryview(bytearray(BLOCK))]):
            with pulse.reading() if source else nullcontext():
                count = os.preadv(handle, [view], place)
            if under_way is not None:
                under_way.result()
            if not count or place > most:
                return running.sums()
            under_way = beside.submit(running.add, view[:count])
            if write is not None:
                write(view[:count], place)
            place += count
            pulse.beat()
    raise AssertionError("a cycle has no end")
