"""HOME/log/COMMAND-TIME.log: lines appended whole, a new file every `rotate_hours`, the newest `keep` stay."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dmtools import clock
from dmtools.command.report import one_line

if TYPE_CHECKING:
    from dmtools.settings import Log


class LogFile:
    """The log of one command. A log that can't be written never stops the work."""

    def __init__(self, directory: Path, name: str, settings: Log) -> None:
        span = settings.rotate_hours * 3600
        start = int(time.time() // span) * span
        self.path = directory / f"{name}-{time.strftime('%Y%m%dT%HZ', time.gmtime(start))}.log"
        self._handle: int | None = None
        try:
            new = not self.path.exists()
            self._handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            if new:
                _prune(directory, name, settings.keep)
        except OSError:
            self._handle = None

    def write(self, text: str) -> None:
        """One line: instant, pid, text."""
        if self._handle is None:
            return
        line = f"{clock.iso(clock.now())} {os.getpid()} {one_line(text)}\n"
        try:
            os.write(self._handle, line.encode("utf-8", "backslashreplace"))
        except OSError:
            self._handle = None

    def close(self) -> None:
        """Gives the file back: for processes that outlive it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def write_block(self, text: str) -> None:
        """Several lines, a traceback for instance."""
        for line in text.splitlines():
            self.write(line)


def _prune(directory: Path, name: str, keep: int) -> None:
    old = sorted(p for p in directory.glob(f"{name}-*.log") if p.stem[len(name) + 1 :][:8].isdigit())
    for path in old[:-keep]:
        path.unlink(missing_ok=True)
