"""All that the pages show of the tables, read at one instant by the functions of dm-monitoring and dm-train-ok."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from dmtools import clock
from dmtools.control import figures, holds, train_ok
from dmtools.control.entry import Figure, Pipeline
from dmtools.control.holds import Hold
from dmtools.control.train_ok import Outcome, Wanted
from dmtools.ledger import Ledger, LedgerUnavailable, open_ledger
from dmtools.settings import Settings, SettingsError
from dmtools.web import hours, sessions
from dmtools.web.hours import Hour
from dmtools.web.sessions import Session

PATIENCE = 5  # seconds that a page's request waits for another command that writes
_DAY_SECONDS = 20  # so long the plots' figures are kept


@dataclass(frozen=True)
class Snapshot:
    """The tables at an instant: what dm-monitoring tells, the last 24 hours by pipeline, holds, who is signed in."""

    at: datetime
    told: dict[str, Any]
    days: dict[str, list[Hour]]
    holds: list[Hold]
    planned: list[Hold]
    sessions: dict[bytes, Session]


@contextmanager
def opened(settings: Settings) -> Iterator[Ledger]:
    """The database for one use. Anew each time: it may have been moved away, put back or upgraded. Raises LedgerUnavailable."""
    patient = min(PATIENCE, settings.database.busy_seconds)
    database = msgspec.structs.replace(settings.database, busy_seconds=patient)
    ledger = open_ledger(msgspec.structs.replace(settings, database=database))
    try:
        yield ledger
    finally:
        ledger.close()


class Camera:
    """Takes snapshots."""

    def __init__(self, settings: Settings, entries: dict[str, Pipeline]) -> None:
        self.settings, self.entries = settings, entries
        self._days: dict[str, list[Hour]] = {}
        self._days_read = float("-inf")

    def shot(self) -> Snapshot:
        """One snapshot, in one reading transaction. Raises LedgerUnavailable."""
        at = clock.now()
        with opened(self.settings) as ledger, ledger.read() as connection:
            told = figures.whole(connection, self.entries, self.settings, ledger.now(connection))
            found, planned = holds.open_holds(connection, self.settings, at), holds.planned(self.settings, at)
            if time.monotonic() - self._days_read > _DAY_SECONDS:
                self._days = {name: hours.of(connection, entry, at) for name, entry in self.entries.items()}
                self._days_read = time.monotonic()
            return Snapshot(at, told, self._days, found, planned, sessions.read(connection, at))


def judged(settings: Settings, entries: dict[str, Pipeline], troubles: list[str]) -> Outcome:
    """dm-train-ok's check, but for its try of the database's write lock, which would be in the passes' way."""
    try:
        outcome = train_ok.check(settings, entries, Wanted(dry_run=True), lambda _what: None)  # it may take its time
    except (LedgerUnavailable, SettingsError) as problem:
        return Outcome(str(settings.home), clock.now(), failure=explained(problem))
    outcome.figures += [train_ok.judge(Figure("failed", {"probe": "register"}, None, text)) for text in troubles]
    return outcome


def explained(problem: Exception) -> str:
    """Why the tables can't be read, and what to do."""
    if isinstance(problem, LedgerUnavailable):
        return f"{problem}; {problem.next_step}"
    return str(problem) if isinstance(problem, SettingsError) else f"{type(problem).__name__}: {problem}"
