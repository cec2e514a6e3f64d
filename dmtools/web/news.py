"""What the pages are made of: the newest snapshot and the newest verdicts, each read by a thread of its own."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial

from dmtools import clock
from dmtools.control.entry import Pipeline
from dmtools.control.train_ok import Outcome
from dmtools.settings import Settings
from dmtools.web import sessions, snapshots
from dmtools.web.reader import Reader, Reading
from dmtools.web.sessions import Session
from dmtools.web.snapshots import Camera, Snapshot

VERDICT_SECONDS = 15  # a probe may take its time: a disk that does not answer must not hold up the figures


class News:
    """Both readings; they are read only while somebody looks."""

    def __init__(self, settings: Settings, entries: dict[str, Pipeline], troubles: list[str]) -> None:
        explained = snapshots.explained
        self._seconds = settings.web.refresh_seconds
        self._figures = Reader(Camera(settings, entries).shot, self._seconds, explained)
        judge = partial(snapshots.judged, settings, entries, troubles)
        self._verdicts: Reader[Outcome] = Reader(judge, max(VERDICT_SECONDS, self._seconds), explained)

    def figures(self) -> Reading[Snapshot]:
        """The newest snapshot."""
        return self._figures.ask()

    def verdicts(self) -> Reading[Outcome]:
        """The newest verdicts; the first are waited for, later ones come with the next refresh."""
        return self._verdicts.ask(1.0)

    def refresh(self) -> None:
        """Somebody has changed something: reads the tables now."""
        self._figures.fresh()

    def look(self) -> str:
        """Why the tables can't be read now; empty when they can. Looks first."""
        self._figures.ask()
        return self._figures.trouble()

    def trouble(self) -> str:
        """The same, from the last look."""
        return self._figures.trouble()

    def session(self, token: str) -> Session | None:
        """Who holds the token, by the last snapshot: so people stay signed in while the database is gone."""
        if not token:
            return None
        snapshot = self._figures.ask().value
        found = snapshot.sessions.get(sessions.key(token)) if snapshot else None
        return found if found and found.expires > clock.now() else None

    def old(self, reading: Reading[Snapshot]) -> str:
        """The sentence for a page whose data are old; empty when they are not."""
        trouble = self._figures.trouble()
        if not trouble:
            return ""
        if reading.value is None:
            return f"There are no data: the database can't be read: {trouble}"
        return f"These data are {clock.age(self.age(reading))} old: the database can't be read: {trouble}"

    def age(self, reading: Reading[Snapshot]) -> float:
        """Seconds since the snapshot was read."""
        return max(0.0, time.monotonic() - reading.read) if reading.value else 0.0

    def stop(self) -> None:
        """Ends both threads."""
        self._figures.stop()
        self._verdicts.stop()


def moment(at: datetime) -> str:
    """For people: the time of today's page."""
    return at.astimezone().strftime("%H:%M:%S %Z")
