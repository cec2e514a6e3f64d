"""Numbers in order, however many: those of a day at 15 Hz are sorted at once; more are sorted in runs, which are merged.

What is held at once: ROOM numbers that come in, their run, and of each run that lies on the disk a block. 62 million numbers
take about 30 runs. Nothing is estimated.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Counts = npt.NDArray[np.int64]
    Block = tuple[Floats, Counts]

ROOM = 1 << 21  # numbers that are sorted at once: 16 MB; a day of 25 hours at 15 Hz has 1.35 million
SHARE = 64  # a run is read in blocks of this part of the room


class Ordered:
    """Numbers are added in any order; `blocks()` then gives each distinct one once, with how often it came, in order."""

    def __init__(self, scratch: Path, room: int = ROOM) -> None:
        self._scratch, self._room = scratch, room
        self._new: list[Floats] = []
        self._have = 0
        self._file: IO[bytes] | None = None
        self._runs: list[tuple[int, int]] = []  # where each begins in the file, and how many distinct numbers it has
        self._whole: Block | None = None
        self.count = 0

    def add(self, numbers: Floats) -> None:
        """More numbers; they are kept, not copied. Raises OSError."""
        if self._have and self._have + len(numbers) > self._room:
            self._put()
        self._new.append(numbers)
        self._have += len(numbers)
        self.count += len(numbers)

    def blocks(self) -> Iterator[Block]:
        """(distinct numbers, how often) in order, in blocks; may be asked for again. Raises OSError."""
        if self._runs:
            if self._have:
                self._put()
            yield from self._merged()
            return
        if self._whole is None:
            self._whole = self._sorted()
        yield self._whole

    def close(self) -> None:
        """Gives the disk's room back."""
        if self._file is not None:
            self._file.close()

    def _sorted(self) -> Block:
        import numpy as np

        whole = np.concatenate(self._new) if self._new else np.empty(0)
        self._new, self._have = [], 0
        whole.sort()
        return counted(whole)

    def _put(self) -> None:
        """What came in goes to the disk as a run."""
        values, counts = self._sorted()
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._scratch, prefix=".distill-")  # noqa: SIM115 - close() does
        at = self._file.seek(0, 2)
        self._file.write(values.data)
        self._file.write(counts.data)
        self._runs.append((at, len(values)))

    def _merged(self) -> Iterator[Block]:
        """All runs at once, a block of each; what is not above the end of any block is complete, and goes out."""
        assert self._file is not None
        self._file.flush()
        readers = [self._read(at, size) for at, size in self._runs]
        heads = [next(reader) for reader in readers]
        while heads:
            upto = min(values[-1] for values, _ in heads)
            parts, kept, open_ = [], [], []
            for reader, (values, counts) in zip(readers, heads, strict=True):
                cut = int(values.searchsorted(upto, "right"))
                parts.append((values[:cut], counts[:cut]))
                head = (values[cut:], counts[cut:]) if cut < len(values) else next(reader, None)
                if head is not None:
                    kept.append(head)
                    open_.append(reader)
            heads, readers = kept, open_
            yield _together(parts)

    def _read(self, at: int, size: int) -> Iterator[Block]:
        import numpy as np

        assert self._file is not None
        block = max(1, self._room // SHARE)
        for first in range(0, size, block):
            length = min(block, size - first)
            self._file.seek(at + 8 * first)
            values = np.frombuffer(self._file.read(8 * length), np.float64)
            self._file.seek(at + 8 * (size + first))
            yield values, np.frombuffer(self._file.read(8 * length), np.int64)


def counted(numbers: Floats) -> Block:
    """The distinct ones of sorted numbers, and how often each comes."""
    import numpy as np

    if not len(numbers):
        return numbers, np.empty(0, np.int64)
    first = np.flatnonzero(np.concatenate(([True], numbers[1:] != numbers[:-1])))
    return numbers[first], np.diff(first, append=len(numbers))


def _together(parts: list[Block]) -> Block:
    import numpy as np

    values = np.concatenate([values for values, _ in parts])
    counts = np.concatenate([counts for _, counts in parts])
    order = values.argsort(kind="stable")
    values, counts = values[order], counts[order]
    first = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    return values[first], np.add.reduceat(counts, first)
