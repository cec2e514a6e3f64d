"""The one clock: every instant is UTC with microseconds."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo

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


_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d.%m.%Y", "%d/%m/%Y", "%d %b %Y", "%d %B %Y", "%b %d %Y", "%B %d %Y")
_TIMES = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M%p", "%I:%M:%S%p", "%I%p")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS = {"s": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_UNITS |= {"d": 86400, "day": 86400, "w": 604800, "week": 604800}
_LENGTH = r"(\d+(?:\.\d+)?) ?(s|m|min|h|d|w|(?:second|minute|hour|day|week)s?)"
_CLOCK = r"\d\d?(?::\d\d(?::\d\d(?:[.,]\d{1,6})?)?(?: ?[AaPp][Mm])?| ?[AaPp][Mm])"
_ZONE = r"[+-]\d\d(?::?\d\d)?|[A-Za-z]{1,5}|[A-Z]\w+(?:/[\w+-]+)+"
_TAKEN = "write 2026-11-24 14:00, 2026-11-24T14:00Z, 2026-11-24 14:00 Europe/Berlin, 14:00, tomorrow 08:00 or +6h"


def seconds(text: str) -> float:
    """A length of time: `90`, `90s`, `10m`, `6h`, `2d`, `1w`, `2 days`. Raises ValueError with a sentence."""
    match = re.fullmatch(_LENGTH, text.strip()) or re.fullmatch(r"(\d+(?:\.\d+)?)()", text.strip())
    if not match:
        raise ValueError(f"{text!r} is no length of time; write 90s, 10m, 6h, 2d or 1w")
    unit = match[2] or "s"
    return float(match[1]) * _UNITS[unit if unit in _UNITS else unit.removesuffix("s")]


def parse(text: str) -> datetime:
    """An instant in any common form: a date with or without a time, `14:00` (the next one), `friday 08:00`, `+6h` from now.

    Without a zone it is local time. Raises ValueError with a sentence that says which forms are taken.
    """
    plain = " ".join(text.split())
    try:
        found = _from_now(plain) or _iso(plain) or _at(plain)
    except (OverflowError, OSError, ValueError):  # no such day, or beyond the years that can be counted
        found = None
    if found is None:
        raise ValueError(f"{text!r} is no time this command knows; {_TAKEN}")
    return found


def parse_date(text: str) -> datetime:
    """An instant that is the same whenever it is read: it must hold a date. Raises ValueError with a sentence."""
    if not re.search(r"\d{4}|@\d", text.partition("+")[0]):
        raise ValueError(f"{text!r} holds no date; write 2026-11-24 14:00 (local time) or 2026-11-24T14:00Z")
    return parse(text)


def _from_now(text: str) -> datetime | None:
    if text.lower() in ("now", "tomorrow"):
        return now() + timedelta(days=text.lower() == "tomorrow")
    if re.fullmatch(rf"\+? ?{_LENGTH}", text):
        return now() + timedelta(seconds=seconds(text.lstrip("+ ")))
    return datetime.fromtimestamp(float(text[1:]), UTC) if re.fullmatch(r"@\d{6,}(\.\d+)?", text) else None


def _iso(text: str) -> datetime | None:
    try:
        return _instant(datetime.fromisoformat(text), None)
    except ValueError:
        return None


def _at(text: str) -> datetime | None:
    """A date, or a day by its name, with a time of day and perhaps a zone; a time of day alone."""
    text = re.sub(rf"^(\w{{3}} \w{{3}} \d+) ({_CLOCK}) (\w+) (\d{{4}})$", r"\1 \4 \2 \3", text)  # as `date` says it
    match = re.fullmatch(rf"(?P<day>.*?)(?:(?:^|[T ])(?P<time>{_CLOCK})(?: ?(?P<zone>{_ZONE}))?)?", text)
    if match is None:
        return None
    at = _strptime((match["time"] or "00:00").replace(",", ".").replace(" ", ""), _TIMES)
    zone = _zone(match["zone"]) if match["zone"] else None
    if at is None or (match["zone"] and zone is None):
        return None
    day = re.sub(rf"^(?:{'|'.join(name[:3] for name in _WEEKDAYS)})[a-z]*,? (?=\S)", "", match["day"], flags=re.IGNORECASE)
    if dated := _strptime(day.replace(",", ""), _DATES):
        return _instant(datetime.combine(dated, at.time()), zone)
    return _next(day.lower(), at, zone) if match["time"] else None


def _next(day: str, at: datetime, zone: tzinfo | None) -> datetime | None:
    """The next such time of day; `day`: empty for any, today, tomorrow, or the name of a weekday."""
    first: date = now().astimezone(zone).date()
    for n in range(9):
        found = _instant(datetime.combine(first + timedelta(days=n), at.time()), zone)
        name = _WEEKDAYS[(first + timedelta(days=n)).weekday()]
        if day == ("today", "tomorrow")[n] if day in ("today", "tomorrow") else day in ("", name, name[:3]) and found > now():
            return found
    return None


def _zone(text: str) -> tzinfo | None:
    """`Z`, `UTC`, `+02:00`, the short names of the local zone (what `local` writes can be read again), `Europe/Berlin`."""
    if text.upper() in ("Z", "UTC", "GMT"):
        return UTC
    if text[0] in "+-":
        digits = text[1:].replace(":", "").ljust(4, "0")
        return timezone((-1 if text[0] == "-" else 1) * timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))
    if text in time.tzname:
        return timezone(timedelta(seconds=-(time.timezone if text == time.tzname[0] else time.altzone)))
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):  # no such zone
        return None


def _strptime(text: str, forms: tuple[str, ...]) -> datetime | None:
    for form in forms:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def _instant(found: datetime, zone: tzinfo | None) -> datetime:
    return (found.replace(tzinfo=zone) if zone else found.astimezone()).astimezone(UTC)
