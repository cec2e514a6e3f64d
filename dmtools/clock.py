"""The one clock: every instant is UTC with microseconds."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta

_OFFSET = timedelta(seconds=float(os.environ.get("DMTOOLS_CLOCK_OFFSET", "0")))


def now() -> datetime:
    """The present instant, aware, UTC; $DMTOOLS_CLOCK_OFFSET (seconds) moves it for drills and tests."""
    return datetime.now(UTC) + _OFFSET


def iso(instant: datetime | None) -> str | None:
    """`2026-11-24T12:00:00.000000Z`: the form of every instant in JSON, logs and file names' contents."""
    if instant is None:
        return None
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def stamp(instant: datetime) -> str:
    """`20261124T120000.000000Z`: the form of an instant inside a file name."""
    return instant.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def local(instant: datetime | None) -> str:
    """For people: local time with its zone, to the second."""
    if instant is None:
        return "never"
    return instant.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def age(seconds: float | None) -> str:
    """A length of time as people say it: `45 s`, `12 min`, `3 h 20 min`, `5 d 2 h`."""
    if seconds is None:
        return "-"
    whole = int(abs(seconds))
    sign = "-" if seconds < 0 else ""
    if whole < 120:
        return f"{sign}{whole} s"
    if whole < 7200:
        return f"{sign}{whole // 60} min"
    if whole < 172800:
        hours, rest = divmod(whole, 3600)
        return f"{sign}{hours} h {rest // 60} min" if rest >= 60 else f"{sign}{hours} h"
    days, rest = divmod(whole, 86400)
    return f"{sign}{days} d {rest // 3600} h" if rest >= 3600 else f"{sign}{days} d"


_FORMS = (
    "%Y-%m-%dT%H:%M:%S.%f%z",
    "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%dT%H:%M%z",
    "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d",
    "%d.%m.%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%H:%M",
    "%H:%M:%S",
)
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds(text: str) -> float:
    """A length of time: `90`, `90s`, `10m`, `6h`, `2d`, `1w`. Raises ValueError with a sentence."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)?\s*", text)
    if not match:
        raise ValueError(f"{text!r} is no length of time; write 90s, 10m, 6h, 2d or 1w")
    return float(match[1]) * _UNITS[match[2] or "s"]


def parse(text: str) -> datetime:
    """An instant in any common form; without a zone it is local time; `6h` or `+6h` is from now; `14:00` the next one.

    Raises ValueError with a sentence that says which forms are taken.
    """
    raw = text.strip()
    if re.fullmatch(r"\+?\s*\d+(\.\d+)?\s*(s|m|min|h|d|w)", raw):
        return now() + timedelta(seconds=seconds(raw.lstrip("+ ")))
    if re.fullmatch(r"@\d{6,}(\.\d+)?", raw):
        return datetime.fromtimestamp(float(raw[1:]), UTC)
    named = {"now": now(), "tomorrow": (now() + timedelta(days=1))}
    if raw.lower() in named:
        return named[raw.lower()]
    plain = re.sub(r"\s+UTC$|\s*Z$", "+0000", raw)
    plain = re.sub(r"^(\d{4}-\d{2}-\d{2}) +", r"\1T", plain)
    plain = re.sub(r" +([+-]\d{2}:?\d{2})$", r"\1", plain)
    for form in _FORMS:
        try:
            found = datetime.strptime(plain, form)
        except ValueError:
            continue
        if form.startswith("%H"):
            found = datetime.combine(now().astimezone().date(), found.time()).astimezone()
            return (found if found > now() else found + timedelta(days=1)).astimezone(UTC)
        return (found if found.tzinfo else found.astimezone()).astimezone(UTC)
    raise ValueError(f"{text!r} is no time this command knows; write 2026-11-24 14:00, 2026-11-24T14:00Z, 14:00 or +6h")


def parse_date(text: str) -> datetime:
    """An instant that is the same whenever it is read: it must hold a date. Raises ValueError with a sentence."""
    if not re.match(r"\s*(\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{4}|@\d{6,})", text):
        raise ValueError(f"{text!r} holds no date; write 2026-11-24 14:00 (local time) or 2026-11-24T14:00Z")
    return parse(text)
