"""What may be called dark or lost: nothing younger than the lists can tell."""

from __future__ import annotations

import re
import stat
from datetime import datetime
from pathlib import Path

from dmtools import clock
from dmtools.command import Refused

DAY = 86400.0
SKEW = 120.0  # seconds that another host's clock may be ahead
_EPOCH = re.compile(rb"\d{1,14}(\.\d*)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def list_time(path: Path, option: str | None, title: str) -> tuple[datetime | None, str]:
    """(instant of a list or None, where it comes from or why it is unknown). Raises Refused for a wrong option."""
    now = clock.now()
    if option:
        try:
            found = clock.parse(option)
        except ValueError as problem:
            raise Refused(f"--{title}-time: {problem}") from None
        if found > now:
            raise Refused(f"--{title}-time: {clock.local(found)} is still to come; name the time at which the {title} was begun")
        return found, f"--{title}-time"
    try:
        info = path.stat()
    except OSError:
        return None, "the file can't be looked at"
    if not stat.S_ISREG(info.st_mode):
        return None, "it is no plain file, so it has no time of its own"
    if info.st_mtime > now.timestamp() + SKEW:
        return None, "the time of the file lies in the future"
    return datetime.fromtimestamp(info.st_mtime, now.tzinfo), "the time of the file"


def instant(text: bytes) -> float | None:
    """A time column -> seconds since the epoch; None when it can't be told. Milliseconds are known by their size."""
    if _EPOCH.fullmatch(text):
        found = float(text)
        return found / 1000 if found > 1e11 else found
    plain = text.decode("ascii", "replace").strip()
    if not _DATE.match(plain):
        return None
    try:
        found = clock.parse(plain).timestamp()
    except (ValueError, OverflowError):
        return None
    # A date alone: the end of that day, for the file may be that young.
    return found + DAY if _DATE.fullmatch(plain) else found


class Guard:
    """Judges names that stand in one list only, by the times of both lists and the file's own."""

    def __init__(self, dump: datetime | None, catalogue: datetime | None, min_age_seconds: float) -> None:
        self.min_age = min_age_seconds
        self.blocked = _blocked(dump, catalogue)
        self._dump = dump.timestamp() if dump else None

    def dark(self, mtime: bytes) -> str:
        """'dark', or why it isn't: 'not judged' (the lists' times), 'age unknown', 'too young'."""
        if self.blocked or self._dump is None:
            return "not judged"
        if not mtime and self.min_age == 0:
            return "dark"  # it stands in the dump, so it is not younger than the dump
        at = instant(mtime)
        if at is None:
            return "age unknown"
        return "dark" if at <= self._dump - self.min_age else "too young"

    def lost(self, made: bytes) -> str:
        """'lost', or 'newer than the dump' when the catalogue's own time of the entry says so."""
        at = instant(made) if made else None
        return "newer than the dump" if at is not None and self._dump is not None and at > self._dump else "lost"


def _blocked(dump: datetime | None, catalogue: datetime | None) -> str:
    """Why no file at all may be called dark; empty when they may."""
    if dump is None:
        return "the time of the dump is not known (give --dump-time)"
    if catalogue is None:
        return "the time of the catalogue list is not known (give --catalogue-time)"
    if catalogue < dump:
        older = clock.age((dump - catalogue).total_seconds())
        return f"the catalogue list is {older} older than the dump, so it can't know the newest files; list the catalogue again"
    return ""
