"""What the browsers' drivers say: HOME/log/dqm-driver-NAME.log, cut into pieces, all of them together within a quota."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

from dmtools import clock
from dmtools.command.report import one_line

_ALIKE = re.compile(r"0x[0-9a-fA-F]+|[0-9a-fA-F-]{16,}|\d+")  # what two lines that say the same may differ in
_SOME = 20  # lines alike that are kept an hour
_HOUR = 3600.0
_LONGEST = 2000  # letters of a line
_KINDS = 1000  # of lines that are told apart
_PIECES = 10


class DriverLog:
    """Takes the bytes as they come. A log that can't be written never stops the work."""

    def __init__(self, directory: Path, name: str, quota: int) -> None:
        self.path = directory / f"dqm-driver-{name}.log"
        self._quota = quota
        self._rest = b""
        self._begun = time.monotonic()
        self._seen: Counter[str] = Counter()

    def take(self, data: bytes) -> None:
        """A piece of the driver's output; whole lines of it are written."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST:
            lines, self._rest = [*lines, self._rest], b""
        kept = [text for line in lines if (text := self._worth(line.decode("utf-8", "replace").rstrip()))]
        self._write([*self._hourly(), *kept])

    def note(self, text: str) -> None:
        """A line of our own."""
        self._write([text])

    def _worth(self, line: str) -> str:
        alike = _ALIKE.sub("#", line[:_LONGEST])
        if not line or (alike not in self._seen and len(self._seen) >= _KINDS):
            return ""
        self._seen[alike] += 1
        return line[:_LONGEST] if self._seen[alike] <= _SOME else ""

    def _hourly(self) -> list[str]:
        if time.monotonic() - self._begun < _HOUR:
            return []
        more = [f"{n - _SOME} more lines like: {alike}" for alike, n in self._seen.items() if n > _SOME]
        self._begun = time.monotonic()
        self._seen.clear()
        return more

    def _write(self, lines: list[str]) -> None:
        if not lines:
            return
        at = clock.iso(clock.now())
        try:
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.writelines(f"{at} {one_line(line)}\n" for line in lines)
                size = file.tell()
            if size > self._quota // _PIECES:
                self._turn()
        except OSError:
            return

    def _turn(self) -> None:
        """The piece is put away; the oldest pieces of all sites go until the rest is within the quota."""
        self.path.rename(self.path.with_name(f"{self.path.name}.{time.time_ns()}"))
        pieces = sorted(self.path.parent.glob("dqm-driver-*.log.*"), key=lambda piece: piece.suffix)
        sizes = {piece: piece.stat().st_size for piece in pieces}
        open_ones = sum(piece.stat().st_size for piece in self.path.parent.glob("dqm-driver-*.log"))
        while pieces and sum(sizes[piece] for piece in pieces) + open_ones + self._quota // _PIECES > self._quota:
            pieces.pop(0).unlink(missing_ok=True)
