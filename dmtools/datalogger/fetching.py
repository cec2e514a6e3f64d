"""A piece of a window, asked for until it is whole: what answers are known to lack is asked for by itself.

An answer may lack its tail, give only its first 487 points, or end early, and looks like any other. So the stretch after the
last sample, and the widest holes, are asked for again: an explicit `No values` proves that the logger has nothing there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dmtools.datalogger import kinds
from dmtools.datalogger.asking import CUT, MARGIN, Logger
from dmtools.datalogger.kinds import DEVICE, KINDS
from dmtools.datalogger.reading import SAID, Trouble
from dmtools.settings import Datalogger

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

SLACK = 2.5  # sample intervals that may pass without a sample
HOLES = 16  # of one piece that are asked for again, the widest
AGAIN = 8  # times, as long as that brings something: an answer about a hole may have one, too
ROUNDS = 400  # questions about one stretch, each of which brought something
FEW_UNKNOWN = 100  # events of the hour that comes twice which are taken though nothing after them proves them to be all
ENOUGH = 0.98  # of the samples that the rate says


@dataclass(frozen=True)
class Wanted:
    """What is asked for: [start, end) of a device or event, UTC seconds."""

    device: str
    node: str
    hertz: float
    start: float
    end: float
    kind: str = DEVICE


@dataclass
class Fetched:
    """What was had: rows up to `upto`, which is the end when all is well; else `trouble` says what came in between.

    `seconds`: when they are, as far as that is known.
    """

    wanted: Wanted
    node: str
    upto: float
    rows: Any = None
    seconds: Any = None
    starred: Any = None
    doubles: int = 0
    trouble: Trouble | None = None
    notes: list[str] = field(default_factory=list)


def fetch(logger: Logger, wanted: Wanted, limits: Datalogger) -> Fetched:
    """Asks until it is whole or in trouble; a device that another node logs by now is asked for there. Raises Away."""
    piece = _Piece(logger, wanted, limits)
    trouble, sure = None, wanted.end
    try:
        piece.stretch(wanted.start, wanted.end)
        sure = piece.reached if piece.full else wanted.end
    except Trouble as problem:
        trouble, sure = problem, piece.reached
    try:
        piece.holes(sure)
    except Trouble as problem:
        trouble, sure = problem, wanted.start
    return piece.result(sure, trouble)


class _Piece:
    """One piece in the making. `reached`: how far the stretch that is asked for is had; `full`: no more is to be had at once."""

    def __init__(self, logger: Logger, wanted: Wanted, limits: Datalogger) -> None:
        self._logger, self._wanted, self._limits = logger, wanted, limits
        self._slack = SLACK / wanted.hertz if wanted.hertz else 0.0
        self._readings: list[Any] = []
        self.full = False
        self._astray = False
        self._notes: list[str] = []
        self._moved = False
        self._node = wanted.node
        self.reached = wanted.start

    def stretch(self, start: float, end: float) -> None:
        """Asks for [start, end), and again for what lacks at its end, as long as that brings something. Raises Trouble, Away."""
        self.reached = start
        cut = 0
        for _ in range(ROUNDS):
            try:
                if self._is_whole(self._ask(self.reached, end), end):
                    return
                cut = 0
            except Trouble as problem:
                cut += 1
                if problem.kind != CUT or cut > 1:
                    raise
        raise Trouble(CUT, f"after {ROUNDS} questions the answers still end early: {_span(self.reached, end)}")

    def _is_whole(self, reading: Any, end: float) -> bool:
        """Is the stretch had with this reading? Else `reached` is moved on."""
        if reading.unknown and not (reading.beyond or reading.unknown <= FEW_UNKNOWN):
            some = f"{reading.unknown} of {_span(self.reached, end)}"
            raise Trouble(CUT, f"{some} may be of either hour of the two that the clock shows alike")
        if reading.astray and not self._astray:
            self._astray = True
            raise Trouble(CUT, f"{reading.astray} of other times came, perhaps in place of some: it is asked again")
        self._readings.append(reading)
        if reading.none or reading.beyond:
            return True
        if reading.full:
            self.full, self.reached = True, float(reading.seconds[-1])
            return True
        if reading.unknown:
            self.reached = max(reading.until, _after(float(reading.seconds[-1])) if len(reading.seconds) else 0.0)
            return self.reached >= end
        if len(reading.seconds):
            last = float(reading.seconds[-1])
            self.reached = _after(last)
            return bool(self._slack) and end - last <= self._slack
        if reading.before < math.floor(self.reached):
            raise Trouble(CUT, f"no sample of {_span(self.reached, end)}, and not said that there is none")
        self.reached = math.floor(self.reached) + 1.0  # it gave what is before, of the same second: so there is no more in it
        return self.reached >= end

    def holes(self, end: float) -> None:
        """Asks again for the widest holes before `end` when there are fewer samples than the rate says. Raises Trouble, Away."""
        wanted = self._wanted
        should = wanted.hertz * (end - wanted.start)
        asked = set[tuple[float, float]]()  # a hole that is as wide after its own question is one of the logger's
        for _ in range(AGAIN):
            found = [hole for hole in self._widest(end) if hole not in asked] if self._have(end) < ENOUGH * should else []
            if not found:
                break
            for first, last in found:
                self.stretch(first, last)
            asked.update(found)
        if (have := self._have(end)) < ENOUGH * should:
            self._notes.append(f"{have} samples where {wanted.hertz:g} Hz make {should:.0f}: the logger has no more")

    def result(self, sure: float, trouble: Trouble | None) -> Fetched:
        """What was had before `sure`."""
        kind, starred = self._wanted.kind, self._starred()
        found, doubles = kinds.rows(kind, self._readings, sure) if self._readings else (KINDS[kind].empty(), 0)
        doubles += sum(reading.twice for reading in self._readings)
        if unknown := max((reading.unknown for reading in self._readings), default=0):
            self._notes.append(f"which of two equal hours {unknown} of them are of is not known: their epoch is NaN")
        if astray := sum(reading.astray for reading in self._readings):
            self._notes.append(f"{astray} came that were of times nobody asked for, and were left out")
        had = (found, self._times(sure), starred[starred < sure], doubles)
        return Fetched(self._wanted, self._node, sure, *had, trouble, self._notes)

    def _have(self, end: float) -> int:
        return len(self._times(end)) + len(self._starred())

    def _starred(self) -> Floats:
        """When the `*****` were, each once."""
        import numpy as np

        return np.array(sorted({at for reading in self._readings for at in reading.starred}))

    def _times(self, end: float) -> Floats:
        """When what was had before `end` is."""
        import numpy as np

        found = kinds.times(self._readings)
        return found[: int(np.searchsorted(found, end))]

    def _widest(self, end: float) -> Iterator[tuple[float, float]]:
        """The widest holes before `end`, in their order."""
        import numpy as np

        edges = np.concatenate(([self._wanted.start], self._times(end), [end]))
        widths = np.diff(edges)
        wide = np.flatnonzero(widths > self._slack)
        for n in sorted(wide[np.argsort(widths[wide])[-HOLES:]]):
            start = self._wanted.start if n == 0 else _after(float(edges[n]))
            if start < edges[n + 1]:
                yield start, float(edges[n + 1])

    def _ask(self, start: float, end: float) -> Any:
        """One question, asked again when the answer was no good; at another node when the device went there."""
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

        again = Retrying(
            stop=stop_after_attempt(self._limits.tries),
            wait=wait_random_exponential(multiplier=0.2, max=10),
            retry=retry_if_exception(lambda problem: isinstance(problem, Trouble) and problem.kind != SAID),
            reraise=True,
        )
        ahead, wanted = max(MARGIN, 2 * self._slack), self._wanted
        try:
            return again(kinds.ask, self._logger, wanted.kind, wanted.device, self._node, start, end, ahead)
        except Trouble as problem:
            if problem.kind != SAID or not self._elsewhere():
                raise
            return again(kinds.ask, self._logger, wanted.kind, wanted.device, self._node, start, end, ahead)

    def _elsewhere(self) -> bool:
        """Does another node log it by now? Asked once."""
        if self._moved or self._wanted.kind != DEVICE:
            return False
        self._moved = True
        try:
            nodes = self._logger.logged_on(self._wanted.device)
        except Trouble:
            return False
        if not nodes or self._node in nodes:
            return False
        self._notes.append(f"it is logged on {nodes[0]} by now, not on {self._node}")
        self._node = nodes[0]
        return True


def _after(at: float) -> float:
    """The next instant, to the microsecond: what comes at it is not the sample at `at` again."""
    return at + 1e-6


def _span(start: float, end: float) -> str:
    return f"{datetime.fromtimestamp(start, UTC):%Y-%m-%d %H:%M:%S} to {datetime.fromtimestamp(end, UTC):%H:%M:%S} UTC"
