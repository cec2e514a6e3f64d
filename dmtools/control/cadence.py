"""How far apart the runs of a crontab line are at most: what "late" means depends on it."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

_NAMES = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0"}
_NAMES |= {"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *"}
_MONTHS = {
    name: n for n, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)
}
_DAYS = {name: n for n, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
DAY = 1440
USUAL = 7200  # seconds: [train_ok] success_* are meant for a component that cron starts so often


def longest_gap(times: str) -> float | None:
    """Seconds between two runs, at most, of a crontab line's five times or @daily; None when they can't be read."""
    fields = _NAMES.get(times.strip().lower(), times).split()
    if len(fields) != 5:
        return None
    try:
        minutes, hours = _numbers(fields[0], 0, 59, {}), _numbers(fields[1], 0, 23, {})
        days = _days_apart(fields[2], fields[3], fields[4])
    except ValueError:
        return None
    runs = sorted(hour * 60 + minute for hour in hours for minute in minutes)
    within = max((later - sooner for sooner, later in pairwise(runs)), default=0)
    return 60.0 * max(within, days * DAY + runs[0] - runs[-1])


def patience(times: str) -> float:
    """What [train_ok] success_* are multiplied with for these times: rarer components get more in proportion; none: 1."""
    return max(1.0, (longest_gap(times) or USUAL) / USUAL)


def _numbers(field: str, least: int, most: int, names: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for part in field.lower().split(","):
        span, slash, step = part.partition("/")
        first, dash, last = ("*", "", "") if span == "*" else span.partition("-")
        low = least if first == "*" else _number(first, names)
        high = most if first == "*" or (slash and not dash) else _number(last, names) if dash else low
        if not (least <= low <= high <= most) or (slash and int(step) < 1):
            raise ValueError(part)
        found |= set(range(low, high + 1, int(step) if slash else 1))
    return found


def _number(text: str, names: dict[str, int]) -> int:
    return names[text] if text in names else int(text)


def _days_apart(monthdays: str, months: str, weekdays: str) -> int:
    """The largest number of days from one day with runs to the next, over four years."""
    if (monthdays, months, weekdays) == ("*", "*", "*"):
        return 1
    in_month, in_year = _numbers(monthdays, 1, 31, {}), _numbers(months, 1, 12, _MONTHS)
    in_week = {number % 7 for number in _numbers(weekdays, 0, 7, _DAYS)}
    either = not monthdays.startswith("*") and not weekdays.startswith("*")  # cron's own rule: then one of the two is enough
    last, widest = None, 0
    for number in range(4 * 366):
        day = date(2024, 1, 1) + timedelta(days=number)
        fits = (day.day in in_month, day.isoweekday() % 7 in in_week)
        if day.month in in_year and (any(fits) if either else all(fits)):
            widest = max(widest, number - last) if last is not None else widest
            last = number
    if not widest:
        raise ValueError("it never runs, or once")
    return widest
