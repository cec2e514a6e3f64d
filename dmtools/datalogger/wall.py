"""Local days in UTC, and UTC as the logger takes it: wall-clock times of its zone, none that a clock change makes mean two."""

from __future__ import annotations

import math
from collections.abc import Iterator
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


def asked(start: float, end: float, zone: ZoneInfo) -> tuple[str, str]:
    """Whole seconds of wall-clock time around [start, end): `2020-03-10+00:00:00`.

    A time of the hour that comes twice in autumn means two instants. Where the wrong one would leave something out, for a start
    in the first such hour or an end in the second, it is moved out of both.
    """
    one = datetime.fromtimestamp(math.floor(start), zone)
    other = datetime.fromtimestamp(math.ceil(end), zone)
    while _means_two(one) and one.fold == 0:
        one = (one.astimezone(UTC) - STEP).astimezone(zone)
    while _means_two(other) and other.fold == 1:
        other = (other.astimezone(UTC) + STEP).astimezone(zone)
    return f"{one:%Y-%m-%d+%H:%M:%S}", f"{other:%Y-%m-%d+%H:%M:%S}"


def _means_two(at: datetime) -> bool:
    return at.replace(fold=0).utcoffset() != at.replace(fold=1).utcoffset()


def parse(text: str, zone: ZoneInfo) -> datetime:
    """`YYYY-MM-DD hh:mm:ss` of the zone, shorter forms, or any that says its own zone. Raises ValueError with a sentence."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no time; write YYYY-MM-DD hh:mm:ss, which is taken as {zone.key} time") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone)
        if _means_two(found):
            there = found.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == found.replace(tzinfo=None)
            what = "comes twice" if there else "is left out"
            raise ValueError(
                f"{text!r} {what} in {zone.key}, where the clock changes; add its offset, as in {text.strip()}-06:00"
            )
    return found.astimezone(UTC)


def stamp(at: datetime) -> str:
    """`20261125T060000Z`, as in the names of files."""
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%S" + (".%f" if at.microsecond else "") + "Z")
