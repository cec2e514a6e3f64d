"""The texts of cells to values. What has another form than it must have is no value: ValueError, never a guess."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?: (-?[\d,]{1,15})(?: ?(s|min|h)\.?)?)?", re.ASCII)
_UNITS = {None: 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:\[\]_-]{0,251}[A-Za-z0-9\]])?", re.ASCII)
_EVENTS = re.compile(r"(\d{1,15}|\d{1,3}(?:,\d{3})+) \(([\d,]{1,12}(?:\.\d{1,20})?) evt/s\)", re.ASCII)
_RSS = re.compile(r"(\d{1,9}|\d{1,3}(?:,\d{3})+) mb", re.ASCII)
RUN_MOST = 999_999_999


def time_and_age(text: str) -> tuple[datetime | None, float | None]:
    """`2026-11-26 12:00:00 12`, or `... 3 min.`: the page's clock, read as UTC, and the age in seconds; both may be missing."""
    if not text:
        return None, None
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError("no time")
    at = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    return at, float(found[2].replace(",", "")) * _UNITS[found[3]] if found[2] else None


def host(text: str) -> str:
    """A host's name, or its address; a mere number is neither."""
    if not _HOST.fullmatch(text) or text.isdecimal():
        raise ValueError("no name of a host")
    return text


def count(text: str, most: int = 10**9) -> int | None:
    """A whole number; a page that has none leaves the place empty."""
    if text in ("", "-", "-1"):
        return None
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or int(text) > most:
        raise ValueError("no number")
    return int(text)


def run(text: str) -> int:
    """A run's number."""
    found = count(text, RUN_MOST)
    if not found:
        raise ValueError("no run")
    return found


def exit_code(text: str) -> int | None:
    """`R`: it runs; else its exit code, of a signal negative or above 128."""
    if text == "R":
        return None
    if not re.fullmatch(r"-?\d{1,6}", text, re.ASCII):
        raise ValueError("no state")
    return int(text)


def tag(text: str) -> str | None:
    """A job's tag; a number, or the letter of a state, is the text of another cell."""
    if not text:
        return None
    if not re.fullmatch(r"(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9][A-Za-z0-9_+.-]{1,63}", text, re.ASCII):
        raise ValueError("no tag")
    return text


def rss(text: str) -> int | None:
    """`1,229 mb` in bytes."""
    if text in ("", "-", "mb", "NaN mb"):
        return None
    found = _RSS.fullmatch(text)
    if not found:
        raise ValueError("no memory")
    return int(found[1].replace(",", "")) << 20


def events(text: str) -> tuple[int | None, float | None]:
    """`2000 (12.5 evt/s)`, or dashes."""
    if text in ("", "--"):
        return None, None
    found = _EVENTS.fullmatch(text)
    if not found:
        raise ValueError("no events")
    return int(found[1].replace(",", "")), float(found[2].replace(",", ""))
