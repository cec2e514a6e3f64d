"""How long the pieces are in which a window is asked for: of devices always the same; of events by how many there were."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from dmtools.datalogger import wall
from dmtools.datalogger.kinds import EVENT
from dmtools.datalogger.windows import Window

FIRST = 600.0  # seconds of the first piece of an event: 432 000 events of 720 Hz
WANTED = 500_000  # events of a piece
GROWTH = 12.0  # so many times as long as the one before, at most


@dataclass
class Pace:
    """Of one pass. `minutes`: the length of the pieces of devices."""

    minutes: float
    _seconds: dict[int, float] = field(default_factory=dict)

    def end(self, window: Window, zone: ZoneInfo) -> datetime:
        """Of the next piece; that of events does not lie in the hour that comes twice, which is only clear as a whole."""
        if window.kind != EVENT:
            return min(window.end, window.upto + timedelta(minutes=self.minutes))
        end = window.upto + timedelta(seconds=self._seconds.get(window.id, FIRST))
        return min(window.end, wall.past_two(end, zone))

    def had(self, window: Window, seconds: float, rows: int) -> None:
        """A piece of so many seconds gave so many rows."""
        if window.kind == EVENT and seconds > 0:
            most = seconds * GROWTH
            self._seconds[window.id] = min(most, max(1.0, seconds * WANTED / rows)) if rows else most
