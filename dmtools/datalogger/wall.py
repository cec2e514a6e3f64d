"""Local days in UTC, and UTC as the logger takes it: wall-clock times of its zone, none that a clock change makes mean two."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

STEP = timedelta(minutes=15)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The begin of a local day, in UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def days(first: date, until: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """The local days from `first` on that are over at `until`, as [start, end) in UTC: of 23, 24 or 25 hours."""
    start = midnight(first, zone)
    while (end := midnight(first + timedelta(days=1), zone)) <= until:
        yield start, end
        first += timedelta(days=1)
        start = end


def asked(start: float, end: float, zone: ZoneInfo, *, whole: bool = False) -> tuple[str, str]:
    """Whole seconds of wall-clock time around [start, end): `2020-03-10+00:00:00`.

    A time of the hour that comes twice in autumn means two instants. Where the wrong one would leave something out, for a
    start in the first such hour or an end in the second, it is moved out of both. `whole`: any is; the answer has both hours.
    """
    one = datetime.fromtimestamp(math.floor(start), zone)
    other = datetime.fromtimestamp(math.ceil(end), zone)
    while _means_two(one) and (whole or one.fold == 0):
        one = (one.astimezone(UTC) - STEP).astimezone(zone)
    while _means_two(other) and (whole or other.fold == 1):
        other = (other.astimezone(UTC) + STEP).astimezone(zone)
    return f"{one:%Y-%m-%d+%H:%M:%S}", f"{other:%Y-%m-%d+%H:%M:%S}"


def _means_two(at: datetime) -> bool:
    return at.replace(fold=0).utcoffset() != at.replace(fold=1).utcoffset()


def _comes_twice(at: datetime) -> bool:
    """Of a time around a clock change: is it there at all?"""
    return at.astimezone(UTC).astimezone(at.tzinfo).replace(tzinfo=None) == at.replace(tzinfo=None)


def past_two(at: datetime, zone: ZoneInfo) -> datetime:
    """The instant, or the next one whose wall-clock time means one alone."""
    while _means_two(at.astimezone(zone)) and _comes_twice(at.astimezone(zone)):
        at += STEP
    return at


@dataclass(frozen=True)
class Change:
    """A clock change at `at`, UTC seconds, from the offset `before` to `after`.

    Wall-clock times from `low` to `high` come twice, or are left out.
    """

    at: float
    before: float
    after: float

    @property
    def twice(self) -> bool:
        """Is it that of autumn?"""
        return self.after < self.before

    @property
    def low(self) -> float:
        """The first wall-clock second that is doubled or left out."""
        return self.at + min(self.before, self.after)

    @property
    def high(self) -> float:
        """The first one behind it."""
        return self.at + max(self.before, self.after)


def changes(start: float, end: float, zone: ZoneInfo) -> list[Change]:
    """The clock changes in [start, end]; they stand on quarters of an hour."""
    quarter = STEP.total_seconds()
    found = []
    at = math.floor(start / quarter) * quarter
    before = offset(at, zone)
    while at < end:
        far = min(86_400.0, max(quarter, end - at))
        if offset(at + far, zone) == before:
            at += far
            continue
        while (after := offset(at + quarter, zone)) == before:
            at += quarter
        at += quarter
        found.append(Change(at, before, after))
        before = after
    return found


def offset(at: float, zone: ZoneInfo) -> float:
    """How far the zone's clock is ahead of UTC, in seconds."""
    ahead = datetime.fromtimestamp(at, zone).utcoffset()
    return ahead.total_seconds() if ahead is not None else 0.0


def parse(text: str, zone: ZoneInfo) -> datetime:
    """`YYYY-MM-DD hh:mm:ss` of the zone, shorter forms, or any that says its own zone. Raises ValueError with a sentence."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no time; write YYYY-MM-DD hh:mm:ss, which is taken as {zone.key} time") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone)
        if _means_two(found):
            what = "comes twice" if _comes_twice(found) else "is left out"
            raise ValueError(
                f"{text!r} {what} in {zone.key}, where the clock changes; add its offset, as in {text.strip()}-06:00"
            )
    return found.astimezone(UTC)


def instant(seconds: float) -> datetime:
    """Of UTC seconds; to the microsecond, as the tables keep it."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(seconds * 1e6))


def text(at: datetime) -> str:
    """For people: `2026-11-25T06:00:00Z`."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def stamp(at: datetime) -> str:
    """`20261125T060000Z`, as in the names of files."""
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%S" + (".%f" if at.microsecond else "") + "Z")
