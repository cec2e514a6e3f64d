"""The text of an event_log answer -> events. As for samples: a line that is not understood is never skipped.

A line is `02-NOV-2026 00:00:00.066 1234567`: wall-clock time of the logger's zone, microseconds of the supercycle. In the hour
that comes twice in autumn a time means two instants. Events come in order, so the one step back shows where the second hour
begins; where it does not show, the time of such an event is not known, and that is said: its epoch is NaN.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from dmtools.datalogger import wall
from dmtools.datalogger.event_lines import LINE, Lines, instant
from dmtools.datalogger.kinds import EVENTS
from dmtools.datalogger.reading import CUT, ERROR, LONGEST, SAID, UNREAD, Trouble, bare, shown

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Whole = npt.NDArray[np.int64]

HEADER = 5  # lines before the first event that may be anything but an event or an error
CAP = 1_000_000  # events of one answer that are taken; the rest is asked for by itself
NEAR = 150_000_000  # microseconds to the clock change, in which an event must be on both sides of it
FEW = 3  # events at least in both of the two hours, to believe in their order
SOON = 3 * 86_400.0  # seconds past the end: what is later comes from a wrong clock
_DATE = rb"\d{1,2}-[A-Za-z]{3}-\d{4}\s+\d{1,2}:\d\d:\d\d(?:\.\d+)?"
_EVENT_LIKE = re.compile(rb"\s*" + _DATE + rb"|.*?" + _DATE + rb"\s+(?!\d{1,2}-[A-Za-z]{3}-)[\d*]", re.DOTALL)
_NONE = re.compile(rb"no occurrences of event(?![^\s.])(?!.*\d\d:\d\d).*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class EventReading:
    """The events of [start, end) by time, each once.

    `rows`: as they go to the file; `keys`: what they are sorted by, the epoch or, where that is not known, the earlier of two;
    `seconds`: the epochs that are known; `unknown`: how many are not; `until`: the end of the hour that those are of;
    `astray`: events of times that nobody asked for; `full`: there was more than one answer may have. The other fields are those
    of a Reading.
    """

    rows: Any
    keys: Floats
    seconds: Floats
    starred: tuple[float, ...] = ()
    twice: int = 0
    beyond: bool = False
    before: float = -math.inf
    none: bool = False
    unknown: int = 0
    until: float = -math.inf
    astray: int = 0
    full: bool = False


class EventReader:
    """Takes an answer piece by piece; `close` gives the events of [start, end), UTC seconds. Both raise Trouble."""

    def __init__(self, start: float, end: float, zone: ZoneInfo) -> None:
        self._start, self._end = start, end
        self._changes = wall.changes(start - SOON, end + SOON, zone)
        self._offset = wall.offset(start - SOON, zone)
        self._rest = b""
        self._header = 0
        self._lines = 0
        self._events = 0
        self._starred: list[float] = []
        self._beyond = self._none = False
        self._before = -math.inf
        self._astray = 0
        self._kept: list[tuple[Any, Floats]] = []
        self._have = 0
        self._last = -math.inf
        self._ascends = True
        self._twofold: list[tuple[Whole, Whole, Any]] = []
        self._places: list[int] = []

    @property
    def full(self) -> bool:
        """Is this enough for one answer? Not in the middle of the hour that comes twice, and not when they are not in order."""
        return self._have >= CAP and self._ascends and (not self._places or self._places[-1] < self._events)

    def feed(self, piece: bytes) -> None:
        """The next bytes."""
        whole, newline, rest = piece.rpartition(b"\n")
        if not newline:
            self._rest += piece
        else:
            self._take(self._rest + whole + newline)
            self._rest = rest
        if len(self._rest) > LONGEST:
            raise Trouble(UNREAD, f"a line of more than {LONGEST} bytes: {shown(self._rest)}")

    def close(self, *, cut: bool = False) -> EventReading:
        """The end of the answer; `cut`: it was us who ended it. Raises Trouble when it held nothing, or both events and none."""
        import numpy as np

        if not cut:
            self._end_of_it(self._rest)
        if self._none and (self._events or self._starred):
            raise Trouble(UNREAD, "it says that there are no occurrences, and gives some")
        if not (self._none or self._events or self._starred):
            raise Trouble(CUT, "the answer holds no events, and doesn't say that there are none")
        unknown = self._resolve()
        if self._kept:
            rows, keys = (np.concatenate(part) for part in zip(*self._kept, strict=True))
        else:
            rows, keys = np.empty(0, EVENTS.row_type()), np.empty(0)
        (rows, keys), twice = once(rows, keys)
        known = rows["epoch"][np.isfinite(rows["epoch"])] if unknown else keys
        until = max(change.at + change.high - change.low for change in self._changes) if unknown else -math.inf
        said = (tuple(sorted(set(self._starred))), twice, self._beyond, self._before, self._none)
        return EventReading(rows, keys, known, *said, unknown, until, self._astray, cut)

    # ---- lines ---------------------------------------------------------------------------------------------------------

    def _end_of_it(self, rest: bytes) -> None:
        """A line without its end may be cut anywhere, so its numbers are not taken; what it says otherwise is."""
        text = bare(rest)
        if not text:
            return
        if ERROR.match(text) or _NONE.fullmatch(text):
            self._said(text)
        elif re.match(rb"\d", text):
            self._events += 1
        else:
            raise Trouble(UNREAD, f"not understood: {shown(text)}")

    def _take(self, text: bytes) -> None:
        """Whole lines: those that look as they should together, every other one by itself, in their order."""
        import numpy as np

        lines = Lines(text)
        for n in np.flatnonzero(~lines.good):
            self._odd(lines, int(n))
        good = np.flatnonzero(lines.good)
        if len(good):
            self._place(lines.at[good], lines.cycle[good], lines.text[good])

    def _odd(self, lines: Lines, n: int) -> None:
        text = bare(lines.line(n))
        if not text:
            return
        found = LINE.fullmatch(text)
        if found is None:
            self._said(text, first=not (self._events or lines.good[:n].any()))
            return
        at = instant(found)
        if found[7].startswith(b"*"):
            epoch = at / 1e6 - self._offset_of(at)
            if self._start <= epoch < self._end:
                self._starred.append(epoch)
            else:
                self._events += 1
            return
        lines.put(n, at, int(found[7]), b" ".join(text.split()[:2]))

    def _said(self, text: bytes, *, first: bool = False) -> None:
        """A line that is no event: an error, `No occurrences`, a line of the header. Raises Trouble."""
        if ERROR.match(text):
            raise Trouble(SAID, shown(text))
        if _NONE.fullmatch(text):
            self._none = True
        elif first and self._header < HEADER and not _EVENT_LIKE.match(text):
            self._header += 1
        else:
            raise Trouble(UNREAD, f"not understood: {shown(text)}")

    def _offset_of(self, at: int) -> float:
        """Of a wall-clock time; the earlier one where there are two."""
        return next((change.after for change in reversed(self._changes) if at / 1e6 >= change.high), self._offset)

    # ---- time ----------------------------------------------------------------------------------------------------------

    def _place(self, at: Whole, cycle: Whole, text: Any) -> None:
        """Wall-clock microseconds -> epochs; those that mean two are kept apart, in their order."""
        import numpy as np

        first = self._events
        self._events += len(at)
        offsets = np.full(len(at), round(self._offset * 1e6))
        for change in self._changes:
            low, high = round(change.low * 1e6), round(change.high * 1e6)
            offsets[at >= high] = round(change.after * 1e6)
            within = (at >= low) & (at < high)
            if not within.any():
                continue
            if not change.twice:
                raise Trouble(UNREAD, f"a time that the zone leaves out: {shown(bytes(text[within][0]))}")
            which = np.flatnonzero(within)
            self._twofold.append((at[which], cycle[which], text[which]))
            self._places += [first + int(which[0]) + 1, first + int(which[-1]) + 1]
            rest = ~within
            at, cycle, text, offsets = at[rest], cycle[rest], text[rest], offsets[rest]
        self._keep((at - offsets) / 1e6, cycle, text)

    def _keep(self, epoch: Floats, cycle: Whole, text: Any, *, known: bool = True) -> None:
        import numpy as np

        if not len(epoch):
            return
        if known:
            self._ascends &= bool(self._last <= epoch[0] and (np.diff(epoch) >= 0).all())
            self._last = float(epoch[-1])
        inside = (epoch >= self._start) & (epoch < self._end)
        if not inside.all():
            self._elsewhere(epoch[~inside])
            epoch, cycle, text = epoch[inside], cycle[inside], text[inside]
        made = np.empty(len(epoch), EVENTS.row_type())
        made["SCmicrosec"], made["datetime"], made["epoch"] = cycle, text, epoch if known else np.nan
        self._kept.append((made, epoch))
        self._have += len(epoch)

    def _elsewhere(self, epoch: Floats) -> None:
        self._astray += int(((epoch < self._start - SOON) | (epoch >= self._end + SOON)).sum())
        self._beyond |= bool(((epoch >= self._end) & (epoch < self._end + SOON)).any())
        self._before = max([self._before, *(epoch[epoch < self._start].max(initial=-math.inf, keepdims=True).tolist())])

    def _resolve(self) -> int:
        """Events of the hour that comes twice: which of the two it is, by their order; gives how many can't be told."""
        import numpy as np

        if not self._twofold:
            return 0
        at, cycle, text = (np.concatenate(part) for part in zip(*self._twofold, strict=True))
        change = next(change for change in self._changes if change.twice)
        one, other = at / 1e6 - change.before, at / 1e6 - change.after
        together = self._places[-1] - self._places[0] + 1 == len(at)
        steps = np.flatnonzero(np.diff(at) < 0)
        if together and len(steps) == 1 and self._shows(at, int(steps[0]) + 1, change):
            second = np.arange(len(at)) > steps[0]
            self._keep(np.where(second, other, one), cycle, text)
            return 0
        inside = (one >= self._start) & (other < self._end)
        outside = (one >= self._end) | (other < self._start)
        if outside.any():
            self._elsewhere(np.where(one >= self._end, one, other)[outside])
        self._keep(one[inside], cycle[inside], text[inside], known=False)
        return int((~outside).sum())

    def _shows(self, at: Whole, step: int, change: wall.Change) -> bool:
        """Is the one step back that of the clock? It leads from the end of the hour to its begin, between events in order."""
        low, high = round(change.low * 1e6), round(change.high * 1e6)
        near = at[step - 1] >= high - NEAR and at[step] < low + NEAR
        return bool(near and step >= FEW and len(at) - step >= FEW)


def once(rows: Any, keys: Floats) -> tuple[tuple[Any, Floats], int]:
    """(rows, keys) by time, those of one time and microsecond of the supercycle once; how many were dropped."""
    import numpy as np

    if len(keys) < 2:
        return (rows, keys), 0
    steps = np.diff(keys)
    if (steps > 0).all():
        return (rows, keys), 0
    if (steps < 0).any() or (np.diff(rows["SCmicrosec"])[steps == 0] < 0).any():
        order = np.lexsort((rows["SCmicrosec"], keys))
        rows, keys = rows[order], keys[order]
    first = np.concatenate(([True], (np.diff(keys) != 0) | (np.diff(rows["SCmicrosec"]) != 0)))
    return (rows[first], keys[first]), int((~first).sum())
