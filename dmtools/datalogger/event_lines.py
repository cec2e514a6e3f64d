"""Lines of an event_log answer -> columns: wall-clock microseconds, microseconds of the supercycle, the text of the time.

Lines of one length are read together, as `02-NOV-2026 00:00:00.066 1234567`; every other one by itself.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from dmtools.datalogger.kinds import EVENTS
from dmtools.datalogger.reading import UNREAD, Trouble, shown

MONTHS = (b"JAN", b"FEB", b"MAR", b"APR", b"MAY", b"JUN", b"JUL", b"AUG", b"SEP", b"OCT", b"NOV", b"DEC")
TEXT = 24  # bytes of a time with milliseconds
LENGTHS = 24  # different lengths of lines that are worth looking at together
LINE = re.compile(rb"(\d\d-([A-Za-z]{3})-\d{4})\s+(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?\s+(\d{1,12}|\*+)")
_DIGITS = [0, 1, 7, 8, 9, 10, 12, 13, 15, 16, 18, 19, 21, 22, 23]
_MARKS = [2, 6, 11, 14, 17, 20]
_MARKED = list(b"-- ::.")


class Lines:
    """Whole lines as columns; `good`: those that were understood."""

    def __init__(self, text: bytes) -> None:
        import numpy as np

        self._text = text
        every = np.frombuffer(text, np.uint8)
        self._ends = np.flatnonzero(every == ord("\n"))
        n = len(self._ends)
        self.good = np.zeros(n, bool)
        self.at, self.cycle = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.text = np.zeros(n, EVENTS.row_type()["datetime"])
        lengths = np.diff(self._ends, prepend=-1)
        some = np.unique(lengths)
        for length in some if len(some) <= LENGTHS else ():
            which = np.flatnonzero(lengths == length)
            if TEXT + 3 <= length <= TEXT + 24:
                lines = np.lib.stride_tricks.sliding_window_view(every, length)[self._ends[which] + 1 - length]
                self._alike(which, lines)

    def line(self, n: int) -> bytes:
        """The bytes of a line, without its end."""
        return self._text[int(self._ends[n - 1]) + 1 if n else 0 : int(self._ends[n])]

    def put(self, n: int, at: int, cycle: int, text: bytes) -> None:
        """What a line says that was looked at by itself."""
        self.at[n], self.cycle[n], self.text[n], self.good[n] = at, cycle, text, True

    def _alike(self, which: Any, lines: Any) -> None:
        """Lines of one length: times are at the same places, then come blanks, then digits."""
        import numpy as np

        digits = lines - np.uint8(ord("0"))
        number, blank = digits < 10, lines == ord(" ")
        good = number[:, _DIGITS].all(axis=1) & (lines[:, _MARKS] == _MARKED).all(axis=1)
        rest, gap = number[:, TEXT:-1], blank[:, TEXT:-1]
        good &= gap[:, 0] & rest[:, -1] & (rest | gap).all(axis=1) & ~(rest[:, :-1] & gap[:, 1:]).any(axis=1)
        good &= rest.sum(axis=1) <= 12
        names = np.ascontiguousarray(lines[:, :11]).view("S11").ravel()
        cycle = np.zeros(len(lines), np.int64)
        for column in range(TEXT, lines.shape[1] - 1):
            cycle = cycle * 10 + np.where(number[:, column], digits[:, column], 0)
        parts = [digits[:, n].astype(np.int64) * 10 + digits[:, n + 1] for n in (12, 15, 18)]
        good &= (parts[0] < 24) & (parts[1] < 60) & (parts[2] < 60)
        seconds = (parts[0] * 60 + parts[1]) * 60 + parts[2]
        millis = (digits[:, 21].astype(np.int64) * 10 + digits[:, 22]) * 10 + digits[:, 23]
        days = np.zeros(len(lines), np.int64)
        for name in np.unique(names[good]):
            day, mine = _day(bytes(name)), names == name
            if day is None:
                good[mine] = False
            else:
                days[mine] = day
        self.good[which] = good
        self.at[which] = days * 86_400_000_000 + seconds * 1_000_000 + millis * 1000
        self.cycle[which] = cycle
        raw = self.text.view(np.uint8).reshape(len(self.text), -1)
        raw[which, :TEXT] = lines[:, :TEXT]


@lru_cache(maxsize=64)
def _day(text: bytes) -> int | None:
    """`02-NOV-2026` as days since 1970; None when there is no such day."""
    from datetime import date

    try:
        return date(int(text[7:]), MONTHS.index(text[3:6].upper()) + 1, int(text[:2])).toordinal() - 719_163
    except ValueError:
        return None


def instant(found: re.Match[bytes]) -> int:
    """Wall-clock microseconds since 1970. Raises Trouble when there is no such time."""
    day = _day(found[1])
    hour, minute, second = (int(found[n]) for n in (3, 4, 5))
    if day is None or hour > 23 or minute > 59 or second > 59:
        raise Trouble(UNREAD, f"no such time: {shown(found[0])}")
    return ((day * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + int((found[6] or b"0").ljust(6, b"0"))
