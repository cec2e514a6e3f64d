"""The ACL commands that the page takes: logger_get, event_log, read, tlg_info, show."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from dmtools import clock
from dmtools.simulators.datalogger import signals

ZONE = ZoneInfo("America/Chicago")
BLOCK = 40_000  # samples that are made at once
EVENTS = {0x0C: Fraction(15), 0x07: Fraction(720), 0x0F: Fraction(15), 0x8F: Fraction(1)}  # and 0x00: each supercycle
_NAME = re.compile(r"[A-Z]:[A-Za-z0-9_]{1,12}$")


@dataclass(frozen=True)
class Answer:
    """What a command gives: its text in pieces; `samples`, `events`: they are lines of those."""

    pieces: Iterator[bytes]
    samples: bool = False
    events: bool = False


@dataclass
class Logger:
    """The logger: which node logs which device, how often, and for how long it remembers."""

    hertz: Fraction
    keep_days: float
    nodes: dict[str, str] = field(default_factory=dict)  # of devices that are not where they were asked for
    supercycle: Fraction = signals.SUPERCYCLE
    fold: int = 0  # which of two equal hours of a clock change a wall-clock time means
    gaps: dict[str, list[tuple[int, int]]] = field(default_factory=dict)  # [start, end) in ms without samples
    now: Callable[[], datetime] = clock.now

    def answer(self, command: str) -> Answer:
        """The answer to what follows `acl=`, decoded."""
        parts = _parts(command)
        word = parts[0].partition(" ")[0] if parts else ""
        known: dict[str, Callable[[list[str]], Answer]] = {
            "logger_get": self._get,
            "event_log": self._events,
            "read": self._read,
            "tlg_info": lambda _parts: _text(signals.timeline(self._cycle()[0])),
            "show": self._show,
        }
        return known[word](parts) if word in known else _text(f"!Unknown command - {word[:40]}")

    def _get(self, parts: list[str]) -> Answer:
        said = {key: value for key, _, value in (part.partition("=") for part in parts[1:])}
        node, _, name = said.get("node", "").partition(" ")
        if not _NAME.match(name) or name.startswith("N:"):
            return _text(f"Invalid device name ({name}) in request - DIO_NO_SUCH")
        if node != self.nodes.get(name, "MLrn"):
            return _text(f"Error reading device {name} on {node} - LJ_NOTLOGGED")
        window = self._window(said, "start", "end")
        if isinstance(window, str):
            return _text(window)
        some = [ticks for part in self._without_gaps(name, *window) if (ticks := signals.ticks(self._hertz(name), *part))]
        if not some:
            return _text("No values\n")
        blocks = (block for ticks in some for block in _blocks(ticks))
        if said.get("date_format") == "'utc_seconds'":
            return Answer((signals.lines(name, self._hertz(name), part) for part in blocks), samples=True)
        return Answer((self._dated(name, part) for part in blocks), samples=True)

    def _without_gaps(self, name: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        for first, last in sorted(self.gaps.get(name, [])):
            yield start, min(end, first)
            start = max(start, last)
        yield start, end

    def _dated(self, name: str, some: range) -> bytes:
        found = []
        for line in signals.lines(name, self._hertz(name), some).splitlines():
            at, value = line.split()
            found.append(f"{_wall(float(at))}  {value.decode()}\n")
        return "".join(found).encode()

    def _hertz(self, name: str) -> Fraction:
        """Devices whose name says so are faster or slower than the others."""
        if name.endswith("720HZ"):
            return Fraction(720)
        return Fraction(1) if name.endswith("_1HZ") else self.hertz

    def _window(self, said: dict[str, str], first: str, last: str) -> tuple[int, int] | str:
        """[start, end) in milliseconds, as far as it is remembered and has been; or an error's text."""
        ends = []
        for key in (first, last):
            try:
                wall = datetime.strptime(said[key].strip('"'), "%Y-%m-%d %H:%M:%S")
            except (KeyError, ValueError):
                return f"!Invalid {key} time - CLIB_SYNTAX"
            ends.append(int(wall.replace(tzinfo=ZONE, fold=self.fold).timestamp() * 1000))
        now = int(self.now().timestamp() * 1000)
        return max(ends[0], now - int(self.keep_days * 86_400_000)), min(ends[1], now)

    def _events(self, parts: list[str]) -> Answer:
        said = {key: value for key, _, value in (part.partition("=") for part in parts[1:])}
        window = self._window(said, "start_time", "stop_time")
        if isinstance(window, str):
            return _text(window)
        if not re.fullmatch("[0-9a-f]{2}", said.get("event", "")):
            return _text("!Invalid event - CLIB_SYNTAX")
        code = int(said["event"], 16)
        rate = (EVENTS | {0x00: 1 / self.supercycle}).get(code)
        some = signals.ticks(rate, *window) if rate else range(0)
        if rate is None or not some:
            return _text("No occurrences of event\n")
        return Answer((_event_lines(rate, part, self.supercycle) for part in _blocks(some)), events=True)

    def _cycle(self) -> tuple[int, Fraction]:
        """Which supercycle is played, and how much of it is over."""
        number, over = divmod(Fraction(int(self.now().timestamp() * 1_000_000), 1_000_000), self.supercycle)
        return int(number), over

    def _read(self, parts: list[str]) -> Answer:
        """G:SCTIME: its setting is the length of the supercycle, its reading how much of it is over."""
        if not parts[-1].endswith("G:SCTIME"):
            return _text(f"Invalid device name ({parts[-1]}) - DIO_NO_SUCH")
        if parts[-1].startswith("setting "):
            return _text(f"{float(self.supercycle):.6f}\n")
        return _text(f"{float(self._cycle()[1]):.6f}\n")

    def _show(self, parts: list[str]) -> Answer:
        name = parts[-1].rpartition(" ")[2]
        if not _NAME.match(name) or name.startswith("N:"):
            return _text(f"Invalid device name ({name}) - DIO_NO_SUCH")
        return _text(f"{name} is logged on:\n  {self.nodes.get(name, 'MLrn')}\n")


def _parts(command: str) -> list[str]:
    """Split at slashes that are not within quotes."""
    return [part for part in re.split(r"/(?=(?:[^\"']|\"[^\"]*\"|'[^']*')*$)", command) if part]


def _blocks(some: range) -> Iterator[range]:
    for first in range(some.start, some.stop, BLOCK):
        yield range(first, min(first + BLOCK, some.stop))


def _text(text: str) -> Answer:
    return Answer(iter([text.encode()]))


def _wall(seconds: float) -> str:
    return f"{(datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)).astimezone(ZONE):%d-%b-%Y %H:%M:%S.%f}"[:-3].upper()


def _event_lines(hertz: Fraction, some: range, supercycle: Fraction) -> bytes:
    """`02-NOV-2026 00:00:00.066 66000` a line."""
    import numpy as np

    cycle = int(supercycle * 1_000_000)
    found, last, text = [], -1, ""
    for at in signals.times_ms(hertz, np.arange(some.start, some.stop, dtype=np.int64)).tolist():
        if at // 1000 != last:
            last = at // 1000
            text = _wall(last)[:-3]
        found.append(f"{text}{at % 1000:03d} {at * 1000 % cycle}\n")
    return "".join(found).encode()
