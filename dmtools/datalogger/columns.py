"""Lines of two plain numbers -> two columns, by whole columns of characters. Takes what is proved to be that, or nothing.

Lines that look alike, as `1583798400.066   3.4567` and all that have digits, point, sign and blanks at the same places, differ
from their pattern in digits alone: one comparison proves that of thousands of lines, one product of matrices gives all their
numbers, exactly (seven digits at a time; what is put together stays below 2**53, and one division rounds it). pyarrow's CSV
reader needs twice as long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Bytes = npt.NDArray[np.uint8]

NEWLINE, BLANK, MINUS, ZERO = b"\n -0"
TILE = 2048  # lines at once: what is made of them stays in the processor's cache
LONGEST = 100  # bytes of a line
LENGTHS, LOOKS = 12, 6  # of lines: in a text; of one length, in a tile
_LINE = re.compile(rb" *(?P<seconds>0+)(?:\.(?P<parts>0*))?(?P<gap> +)-?(?P<whole>0+)(?:\.(?P<decimals>0*))? *\n")  # 0: a digit
_ANY_DIGIT = bytes.maketrans(b"123456789", b"000000000")
_GROUP = 7  # digits that a float32 holds exactly
_LEAD = 8  # digits and signs before the last digit of a whole number that may come and go
_MOST = 16  # digits that a float64 holds exactly, when they are below 2**53


def columns(text: bytes | memoryview) -> tuple[Floats, Floats] | None:
    """(first, second) number of each line of whole lines; None when they are not all two plain numbers, or too various."""
    import numpy as np

    every = np.frombuffer(text, np.uint8)
    if not len(every) or every[-1] != NEWLINE:
        return None
    length = int(np.argmax(every[:LONGEST] == NEWLINE)) + 1
    if len(every) % length == 0 and (every[length - 1 :: length] == NEWLINE).all():
        one, other = np.empty(len(every) // length), np.empty(len(every) // length)
        return (one, other) if _alike(every.reshape(-1, length), one, other) else None
    return _various(every)


def _various(every: Bytes) -> tuple[Floats, Floats] | None:
    """Lines of some lengths."""
    import numpy as np

    ends = np.flatnonzero(every == NEWLINE)
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > LONGEST or np.count_nonzero(counts := np.bincount(lengths)) > LENGTHS:
        return None
    one, other = np.empty(len(ends)), np.empty(len(ends))
    for length in np.flatnonzero(counts).tolist():
        which = np.flatnonzero(lengths == length)
        lines = np.lib.stride_tricks.sliding_window_view(every, length)[ends[which] + 1 - length]
        first, second = np.empty(len(which)), np.empty(len(which))
        if not _alike(lines, first, second):
            return None
        one[which], other[which] = first, second
    return one, other


def _alike(lines: Bytes, one: Floats, other: Floats) -> bool:
    """Fills in the numbers of lines of one length; False when it can't."""
    return all(
        _tile(lines[first : first + TILE], one[first : first + TILE], other[first : first + TILE])
        for first in range(0, len(lines), TILE)
    )


def _tile(lines: Bytes, one: Floats, other: Floats) -> bool:
    """Lines like the first one, then those like the first of the others, and so on."""
    import numpy as np

    left: Any = slice(None)
    for _ in range(LOOKS):
        look = _look(lines[0].tobytes().translate(_ANY_DIGIT))
        found = look.read(lines) if look is not None else None
        if found is None:
            return False
        one[left], other[left], others = found
        if others is None:
            return True
        left = np.flatnonzero(others) if isinstance(left, slice) else left[others]
        lines = lines[others]
    return False


@dataclass(frozen=True)
class _Look:
    """What lines that look alike have in common. A line less `base` is its digits, and 0 elsewhere: none above `most`.

    `leading`: what a digit counts at each place before the second number, where it or its sign may begin; 0 at other places.
    These three and `line`, the number of the line, are there for each byte of a tile.
    """

    base: Bytes
    most: Bytes
    leading: Floats
    line: Any
    weights: Any  # columns of a line x groups of digits
    groups: int  # of the first number
    divisors: tuple[float, float]
    long: bool  # so many digits that a float64 may not hold them

    def read(self, lines: Bytes) -> tuple[Floats, Floats, Any] | None:
        """(first, second, which lines look otherwise: their numbers are void; None: none); None when it can't be exact."""
        import numpy as np

        flat, size = lines.reshape(-1), lines.size
        digits = flat - self.base[:size]
        odd = np.flatnonzero(digits > self.most[:size])
        groups = np.dot(digits.astype(np.float32).reshape(lines.shape), self.weights)
        first, second = _joined(groups[:, : self.groups]), _joined(groups[:, self.groups :])
        others = self._lead(flat, odd, second) if len(odd) else None
        if self.long and max(first.max(), np.abs(second).max()) >= 2**53:
            return None
        first /= self.divisors[0]
        second /= self.divisors[1]
        return first, second, others

    def _lead(self, flat: Bytes, odd: Any, second: Floats) -> Any:
        """Counts the bytes that are not as in the pattern when they lead the second number; gives the lines where they don't."""
        import numpy as np

        found, line, counts = flat[odd] - np.uint8(ZERO), self.line[odd], self.leading[odd]
        minus = found == (MINUS - ZERO) % 256
        good = (found <= 9) | minus
        good &= (flat[odd + 1] - np.uint8(ZERO) <= 9) & (counts > 0)
        found[minus] = 0
        second += np.bincount(line, found * counts, len(second))
        second[line[minus]] *= -1
        if good.all():
            return None
        others = np.zeros(len(second), bool)
        others[line[~good]] = True
        return others


def _joined(groups: Any) -> Floats:
    import numpy as np

    whole: Floats = groups[:, 0].astype(np.float64)
    for group in range(1, groups.shape[1]):
        whole *= 10**_GROUP
        whole += groups[:, group]
    return whole


@lru_cache(maxsize=256)
def _look(line: bytes) -> _Look | None:
    """Of a line whose digits are all 0; None when it is not two plain numbers."""
    import numpy as np

    found = _LINE.fullmatch(line)
    if found is None:
        return None
    decimals, last = len(found["decimals"] or b""), found.end("whole") - 1
    lead = slice(max(found.start("gap") + 1, min(found.end("gap"), last - _LEAD)), last)
    pattern, leading = np.frombuffer(line, np.uint8).copy(), np.zeros(len(line))
    pattern[lead] = BLANK
    leading[lead] = 10.0 ** np.arange(last - lead.start + decimals, decimals, -1)
    spans = (found.span("seconds"), found.span("parts")), ((last, last + 1), found.span("decimals"))
    places = [[n for span in some for n in range(*span)] for some in spans]
    digits = len(places[0]), len(places[1]) + last - lead.start
    if max(digits) > _MOST:
        return None
    weights = np.array([column for some in places for column in _weights(some, len(line))], np.float32).T.copy()
    most = np.where(pattern == ZERO, 9, 0).astype(np.uint8)
    divisors = 10.0 ** len(found["parts"] or b""), 10.0**decimals
    tiled = np.tile(pattern, TILE), np.tile(most, TILE), np.tile(leading, TILE), np.repeat(np.arange(TILE), len(line))
    return _Look(*tiled, weights, -(-len(places[0]) // _GROUP), divisors, max(digits) == _MOST)


def _weights(places: list[int], length: int) -> list[list[float]]:
    """What the digit at each place of a line counts, for each seven digits of a number; the last group is whole."""
    groups: list[list[float]] = []
    for end in range(len(places), 0, -_GROUP):
        some = places[max(0, end - _GROUP) : end]
        groups.insert(0, [10.0 ** (len(some) - 1 - some.index(n)) if n in some else 0.0 for n in range(length)])
    return groups
