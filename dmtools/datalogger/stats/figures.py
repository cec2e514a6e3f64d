"""The figures of one device and window, from its samples in time order, piece by piece, in bounded memory.

Intervals are taken in whole microseconds: the difference of two epoch seconds as they stand has a noise of 0.2 us, so that hardly
two intervals would be the same, and their mode would mean nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmtools.datalogger.stats.ordering import ROOM, Ordered
from dmtools.datalogger.stats.store import Spread

if TYPE_CHECKING:
    from dmtools.datalogger.stats.ordering import Floats

QUANTILES = {"median": 0.5, "q01": 0.01, "q05": 0.05, "q25": 0.25, "q75": 0.75, "q95": 0.95, "q99": 0.99}
GAP = 1.5  # an interval longer than so many of the usual ones is a gap
MICRO = 1e6


class Disordered(Exception):
    """Times that go back."""


@dataclass(frozen=True)
class Figures:
    """Of one device and window; seconds, and the device's units."""

    count: int
    value: Spread
    interval: Spread
    first: float | None
    last: float | None
    gaps: int | None
    gap_seconds: float | None
    doubles: int
    non_finite: int
    stuck: int
    cadence: float | None
    complete: float | None


class Series:
    """Samples of [start, end) in time order. `hertz`: how many a second there should be; 0: not known."""

    def __init__(self, start: float, end: float, hertz: float, scratch: Path, room: int = ROOM) -> None:
        self.start, self.end, self.hertz = start, end, hertz
        self.count = self.non_finite = 0
        self.first: float | None = None
        self.last: float | None = None
        self._before = math.nan
        self._values, self._intervals = Ordered(scratch, room), Ordered(scratch, room)
        self._value_moments, self._interval_moments = Moments(), Moments()
        self._runs = Runs()

    def add(self, seconds: Floats, values: Floats) -> None:
        """The next samples; the arrays are the caller's, and stay as they are. Raises Disordered, OSError."""
        import numpy as np

        if not len(seconds):
            return
        micros = np.rint(seconds * MICRO)
        if self.count:
            micros = np.concatenate(([self._before], micros))
        intervals = np.diff(micros)
        if not (intervals >= 0).all():
            intervals = intervals[np.isfinite(intervals)]  # of two times that are known
            if (intervals < 0).any():
                raise Disordered(f"of samples {self.count} to {self.count + len(seconds)} some are older than the one before")
        good = np.isfinite(values)
        finite = values.astype(np.float64) if good.all() else values[good].astype(np.float64)
        self._runs.add(values)
        self._value_moments.add(finite)
        self._values.add(finite)
        self._interval_moments.add(intervals)
        self._intervals.add(intervals)
        self.count += len(seconds)
        self._before = micros[-1]
        self.non_finite += len(values) - len(finite)
        self._ends(seconds)

    def _ends(self, seconds: Floats) -> None:
        """First and last of the times that are known."""
        import numpy as np

        known = seconds if math.isfinite(seconds[0]) and math.isfinite(seconds[-1]) else seconds[np.isfinite(seconds)]
        if len(known):
            self.first = float(known[0]) if self.first is None else self.first
            self.last = float(known[-1])

    def figures(self) -> Figures:
        """All of them. Raises OSError."""
        try:
            value = spread(self._values, self._value_moments)
            interval = spread(self._intervals, self._interval_moments, MICRO)
            seen = self._usual(interval)
            gaps, gap_seconds = self._gaps(1 / self.hertz if self.hertz > 0 else seen)
            doubles = sum(int(counts[0]) for micros, counts in self._intervals.blocks() if len(micros) and micros[0] == 0)
        finally:
            self._values.close()
            self._intervals.close()
        expected = max(1, round(self.hertz * (self.end - self.start)))
        return Figures(
            count=self.count,
            value=value,
            interval=interval,
            first=self.first,
            last=self.last,
            gaps=gaps,
            gap_seconds=gap_seconds,
            doubles=doubles,
            non_finite=self.non_finite,
            stuck=self._runs.longest,
            cadence=1 / seen if seen else None,
            complete=min(1.0, self.count / expected) if self.hertz > 0 else None,
        )

    def _usual(self, interval: Spread) -> float | None:
        """The mean of the intervals between the quantiles 5 % and 95 %, in seconds.

        The median won't do: of times in whole milliseconds, events of 720 Hz are 1 or 2 ms apart.
        """
        if interval.q05 is None or interval.q95 is None:
            return None
        number, micros = 0, 0.0
        for lengths, counts in self._intervals.blocks():
            low = int(lengths.searchsorted(round(interval.q05 * MICRO), "left"))
            high = int(lengths.searchsorted(round(interval.q95 * MICRO), "right"))
            number += int(counts[low:high].sum())
            micros += float((lengths[low:high] * counts[low:high]).sum())
        return micros / number / MICRO if number else None

    def _gaps(self, usual: float | None) -> tuple[int | None, float | None]:
        """How many intervals are too long, and how long they are together; also those to the ends of the window."""
        if not usual:
            return None, None
        limit = GAP * usual
        if self.first is None or self.last is None:
            whole = self.end - self.start
            return int(whole > limit), whole if whole > limit else 0.0
        ends = [length for length in (self.first - self.start, self.end - self.last) if length > limit]
        number, micros = len(ends), 0.0
        for lengths, counts in self._intervals.blocks():
            at = int(lengths.searchsorted(limit * MICRO, "right"))
            number += int(counts[at:].sum())
            micros += float((lengths[at:] * counts[at:]).sum())
        return number, math.fsum([*ends, micros / MICRO])


class Moments:
    """Mean and variance of numbers that come in pieces (Chan, Golub, LeVeque); of equal numbers both are exact."""

    def __init__(self) -> None:
        self.count, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, numbers: Floats) -> None:
        """More numbers."""
        import numpy as np

        size = len(numbers)
        if not size:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            away = numbers - numbers[0]
            mean = float(away.sum()) / size
            away -= mean
            squares = float(away @ away)
            mean += float(numbers[0])
        step, total = mean - self.mean, self.count + size
        self._squares += squares + (step * step * self.count * size / total if self.count else 0.0)
        self.mean = self.mean + step * size / total if self.count else mean
        self.count = total

    def std(self) -> float | None:
        """Of a sample (n - 1), as pandas has it; None for fewer than two numbers."""
        if self.count < 2:
            return None
        return math.sqrt(self._squares / (self.count - 1)) if math.isfinite(self._squares) else None


class Runs:
    """The longest run of one value in time order; a NaN is like no other, and like no NaN."""

    def __init__(self) -> None:
        self.longest, self._now = 0, 0
        self._last = math.nan

    def add(self, values: Floats) -> None:
        """The next values."""
        import numpy as np

        ends = np.flatnonzero(values[1:] != values[:-1])
        goes_on = self._now if values[0] == self._last else 0
        if not len(ends):
            self._now = goes_on + len(values)
        else:
            inner = int(np.diff(ends).max()) if len(ends) > 1 else 0
            self._now = len(values) - 1 - int(ends[-1])
            self.longest = max(self.longest, goes_on + int(ends[0]) + 1, inner)
        self.longest = max(self.longest, self._now)
        self._last = float(values[-1])


def spread(numbers: Ordered, moments: Moments, unit: float = 1.0) -> Spread:
    """How they are spread, divided by `unit`. Of values that are equally frequent the smallest is the mode."""
    if not numbers.count:
        return Spread()
    wanted = {name: share * (numbers.count - 1) for name, share in QUANTILES.items()}
    places = sorted({math.floor(at) for at in wanted.values()} | {math.ceil(at) for at in wanted.values()} | {numbers.count - 1})
    found: dict[int, float] = {}
    least, mode, most, done = math.nan, math.nan, 0, 0
    for values, counts in numbers.blocks():
        least = float(values[0]) if not done else least
        best = int(counts.argmax())
        if counts[best] > most:
            mode, most = float(values[best]), int(counts[best])
        ends = counts.cumsum() + done
        upto = int(ends[-1])
        inside = [place for place in places if done <= place < upto]
        for place, index in zip(inside, ends.searchsorted(inside, "right"), strict=True):
            found[place] = float(values[index])
        done = upto
    figures: dict[str, float | None] = {name: _between(found, at) for name, at in wanted.items()}
    figures |= {"mean": moments.mean, "mode": mode, "std": moments.std(), "min": least, "max": found[numbers.count - 1]}
    return Spread(**{name: _plain(figure, unit) for name, figure in figures.items()})


def _between(found: dict[int, float], at: float) -> float:
    """Linear between the two neighbours, as numpy's quantile has it."""
    low, high = found[math.floor(at)], found[math.ceil(at)]
    share = at - math.floor(at)
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)


def _plain(figure: float | None, unit: float) -> float | None:
    """None for what is not finite; zero has no sign."""
    return figure / unit + 0.0 if figure is not None and math.isfinite(figure) else None
