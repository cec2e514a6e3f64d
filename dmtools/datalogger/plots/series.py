"""One device over time: its windows in order, each with its statistics or with why there are none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dmtools.datalogger.plots.rows import UNDISTILLED, Key, Missing, Row
from dmtools.datalogger.states import ASKED, DONE, EMPTY, ERROR, INCOMPLETE, LOST, OWED

A_DAY = 20 * 3600  # a window of so many seconds is a day, of 23, 24 or 25 hours
MEANING = {
    OWED: "owed: not asked for yet",
    ASKED: "owed: being asked for",
    INCOMPLETE: "owed: some of it is here, the rest is asked for again",
    ERROR: "error: the logger gave no sample of it",
    LOST: "lost: the logger has forgotten it",
    EMPTY: "empty: the logger said that it has no values",
    UNDISTILLED: "here: its statistics are not made yet",
}


class Slot(NamedTuple):
    """One window: local wall-clock text of its start, its state, why it is not whole, its statistics if there are any."""

    start: float
    end: float
    x: str
    state: str
    why: str
    row: Row | None


@dataclass(frozen=True)
class Series:
    """All slots of a device, by start; `day` is the local date of each."""

    key: Key
    units: str
    slots: tuple[Slot, ...]

    @property
    def days(self) -> list[tuple[date, Slot]]:
        """Those slots that are whole days."""
        return [(date.fromisoformat(slot.x[:10]), slot) for slot in self.slots if slot.end - slot.start >= A_DAY]

    @property
    def points(self) -> int:
        """How many have statistics."""
        return sum(slot.row is not None for slot in self.slots)


def of(key: Key, rows: Sequence[Row], missing: Iterable[Missing], zone: ZoneInfo, units: str = "") -> Series:
    """Both kinds of windows as one series; a window that has statistics and is lost in part has both."""
    lacking = {(one.start, one.end): one for one in missing}
    slots = [_slot(row.start, row.end, lacking.pop((row.start, row.end), None), row, zone) for row in rows]
    slots += [_slot(one.start, one.end, one, None, zone) for one in lacking.values()]
    slots.sort(key=lambda slot: (slot.start, slot.end))
    known = next((row.units for row in reversed(rows) if row.units), units)
    return Series(key, known, tuple(slots))


def _slot(start: float, end: float, lacks: Missing | None, row: Row | None, zone: ZoneInfo) -> Slot:
    state = row.state if row is not None else lacks.state if lacks else DONE
    why = lacks.why if lacks and lacks.state not in (DONE, UNDISTILLED) else ""
    return Slot(start, end, wall(start, zone), state, why, row)


@lru_cache(maxsize=20_000)
def wall(epoch: float, zone: ZoneInfo) -> str:
    """The wall-clock text of an instant, as Plotly takes it: `2026-11-25`, or with the time when it is no midnight."""
    at = datetime.fromtimestamp(epoch, UTC).astimezone(zone)
    if (at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0):
        return f"{at:%Y-%m-%d}"
    return f"{at:%Y-%m-%d %H:%M:%S}" + (f".{at.microsecond // 1000:03d}" if at.microsecond else "")


class Run(NamedTuple):
    """Windows one after the other that lack for one reason: local text of the start, seconds on the wall clock, how many."""

    x: str
    seconds: float
    until: str
    number: int
    state: str
    why: str


def runs(series: Series, zone: ZoneInfo) -> Iterator[Run]:
    """What is missing, in as few pieces as say it all."""
    held: list[Slot] = []
    for slot in series.slots:
        if held and (not _lacks(slot) or (slot.state, slot.why) != (held[0].state, held[0].why) or slot.start > held[-1].end + 1):
            yield _run(held, zone)
            held = []
        if _lacks(slot):
            held.append(slot)
    if held:
        yield _run(held, zone)


def _lacks(slot: Slot) -> bool:
    return slot.row is None or slot.state == LOST


def _run(held: list[Slot], zone: ZoneInfo) -> Run:
    until = wall(held[-1].end, zone)
    wide = (datetime.fromisoformat(until) - datetime.fromisoformat(held[0].x)).total_seconds()
    return Run(held[0].x, max(wide, 1.0), until, len(held), held[0].state, held[0].why)
