"""One standard deflate stream, its blocks compressed in as many threads as there are cores for us.

As pigz does it: each block has the last 32 KiB before it for a dictionary and ends at a whole byte, so that the blocks
stand one behind the other in one stream. The bytes do not depend on the number of threads.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

_deflate: Any = zlib
try:
    from zlib_ng import zlib_ng as _deflate
except ImportError:
    pass
_inflate: Any = _deflate
try:
    from isal import isal_zlib as _inflate  # a third faster than the next
except ImportError:
    pass

BLOCK = 1 << 20
WINDOW = 1 << 15
MOST_THREADS = 16
_ERRORS: Any = (zlib.error, _deflate.error, _inflate.error, EOFError)
INFLATE_ERRORS: tuple[type[Exception], ...] = _ERRORS
crc32: Callable[..., int] = _deflate.crc32

Reader = Callable[[int], bytes]


class Inflater(Protocol):
    """A decompressobj of zlib."""

    eof: bool
    unused_data: bytes
    unconsumed_tail: bytes

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        """At most so many bytes of what the data hold."""


def threads() -> int:
    """How many cores the batch system gave us; without one, those that we may run on."""
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):  # HTCondor sets the first to the cores of the slot
        if (given := os.environ.get(name, "")).isdecimal() and int(given) > 0:
            return min(int(given), MOST_THREADS)
    return min(len(os.sched_getaffinity(0)), MOST_THREADS)


def deflate(blocks: Iterable[bytes], level: int, workers: int) -> Iterator[bytes]:
    """Blocks -> pieces of one raw deflate stream. At most workers + 1 blocks are in memory."""
    parts = _with_window(blocks)
    if workers < 2:
        for data, window, last in parts:
            yield _block(data, window, last, level)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="deflate") as pool:
        waiting: deque[Future[bytes]] = deque()
        try:
            for data, window, last in parts:
                waiting.append(pool.submit(_block, data, window, last, level))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()


def _with_window(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes, bool]]:
    """(block, the 32 KiB before it, is it the last); an empty file is one empty block."""
    before, window = b"", b""
    for number, block in enumerate(blocks):
        if number:
            yield before, window, False
            window = before[-WINDOW:]
        before = block
    yield before, window, True


def _block(data: bytes, window: bytes, last: bool, level: int) -> bytes:
    args = (level, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_DEFAULT_STRATEGY)
    worker: Any = _deflate.compressobj(*args, window) if window else _deflate.compressobj(*args)
    made: bytes = worker.compress(data) + worker.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)
    return made


def inflate(read: Reader, length: int) -> Iterator[bytes]:
    """The bytes of a raw deflate stream that is `length` bytes long, in pieces of at most BLOCK.

    Raises one of INFLATE_ERRORS when it is damaged, cut short or followed by something.
    """
    worker: Inflater = _inflate.decompressobj(-zlib.MAX_WBITS)
    left = length
    while not worker.eof:
        data = worker.unconsumed_tail
        if not data and left:
            data = read(min(left, BLOCK // 4))
            if not data:
                raise EOFError("the file ends in the middle of its data")
            left -= len(data)
        piece = worker.decompress(data, BLOCK)
        if piece:
            yield piece
        elif not data:
            raise EOFError("the compressed data end too early")
    if left or worker.unused_data:
        raise EOFError("something follows the compressed data")
