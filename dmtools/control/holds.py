"""The control word: holds by persons, automatic ones and those of the calendar; halt beats drain beats run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from sqlalchemy import Connection, insert, select, update

from dmtools import clock
from dmtools.command.report import one_line
from dmtools.ledger import tables
from dmtools.settings import Settings

RANK = {"run": 0, "drain": 1, "halt": 2}
PERSON, AUTOMATIC, CALENDAR = "person", "automatic", "calendar"


@dataclass(frozen=True)
class Hold:
    """One reason not to run: for `scope` (all, PIPELINE or PIPELINE/COMPONENT), by whom, why, since and until when."""

    scope: str
    state: str
    kind: str
    by: str
    reason: str
    since: datetime
    until: datetime | None = None
    id: int = 0

    def covers(self, pipeline: str, component: str | None = None) -> bool:
        """Does it hold this pipeline (or this component of it)?"""
        if self.scope in ("all", pipeline):
            return True
        return component is not None and self.scope == f"{pipeline}/{component}"

    def record(self) -> dict[str, Any]:
        """The JSON of contract section 2."""
        return {
            "scope": self.scope,
            "state": self.state,
            "by": self.by,
            "reason": self.reason,
            "since": clock.iso(self.since),
            "until": clock.iso(self.until),
            "kind": self.kind,
        }

    def sentence(self) -> str:
        """For people: `halt of migrate by anna since 2026-11-24 12:00:00 CET until ...: reason`."""
        return self._told(f"since {clock.local(self.since)}")

    def announcement(self, at: datetime) -> str:
        """Of one that has not begun: `halt of all by calendar from 2026-11-27 08:00:00 CET (in 21 h) until ...: reason`."""
        return self._told(f"from {clock.local(self.since)} (in {clock.age((self.since - at).total_seconds())})")

    def _told(self, begin: str) -> str:
        kind = "automatic " if self.kind == AUTOMATIC else ""
        until = f" until {clock.local(self.until)}" if self.until else ""
        return one_line(f"{kind}{self.state} of {self.scope} by {self.by} {begin}{until}: {self.reason or 'no reason given'}")


def open_holds(connection: Connection, settings: Settings, at: datetime) -> list[Hold]:
    """Every hold in force at the instant: rows that are neither cleared nor over, and the calendar's."""
    found = [hold for hold in uncleared(connection) if hold.until is None or hold.until > at]
    return found + [hold for hold in calendar(settings) if hold.since <= at < _end(hold)]


def planned(settings: Settings, at: datetime) -> list[Hold]:
    """The outages of the calendar that have not begun, the next one first."""
    return sorted((hold for hold in calendar(settings) if hold.since > at), key=lambda hold: hold.since)


def calendar(settings: Settings) -> list[Hold]:
    """Every outage of [control] calendar, past ones too."""
    return [
        Hold(one.scope, one.state, CALENDAR, "calendar", one.reason, clock.parse(one.start), clock.parse(one.end))
        for one in settings.control.calendar
    ]


def _end(hold: Hold) -> datetime:
    assert hold.until is not None
    return hold.until


def in_force(holds: list[Hold], pipeline: str, component: str | None = None) -> str:
    """run, drain or halt: the strongest of the holds that cover it."""
    return max((h.state for h in holds if h.covers(pipeline, component)), key=RANK.__getitem__, default="run")


def place(connection: Connection, hold: Hold) -> None:
    """Places a hold; the one that is open for the same scope and of the same kind is replaced, so words don't pile up."""
    _one_at_a_time(connection)
    clear(connection, [h for h in uncleared(connection, (hold.kind,)) if _same(h, hold)], by=hold.by, at=hold.since)
    row = {"scope": hold.scope, "state": hold.state, "kind": hold.kind, "by": hold.by, "reason": hold.reason}
    connection.execute(insert(tables.hold), [{**row, "since": hold.since, "until": hold.until}])


def renew(connection: Connection, hold: Hold) -> None:
    """Another state, reason and end for an open hold; since when it is there stays."""
    values = {"state": hold.state, "reason": hold.reason, "until": hold.until}
    connection.execute(update(tables.hold).where(tables.hold.c.id == hold.id).values(values))


def _same(one: Hold, other: Hold) -> bool:
    return one.scope == other.scope and (one.kind != AUTOMATIC or one.by == other.by)


def _one_at_a_time(connection: Connection) -> None:
    """Words that are said at once come one after the other: MariaDB would let each overlook the rows of the others."""
    connection.execute(select(tables.installation.c.id).with_for_update())


def clear(connection: Connection, ended: list[Hold], *, by: str, at: datetime) -> None:
    """Ends these holds."""
    table = tables.hold
    for hold in ended:
        connection.execute(update(table).where(table.c.id == hold.id).values(cleared_at=at, cleared_by=by))


def uncleared(connection: Connection, kinds: Sequence[str] = (PERSON, AUTOMATIC)) -> list[Hold]:
    """The rows that nobody has ended, whether or not their time is over."""
    table = tables.hold
    rows = connection.execute(select(table).where(table.c.cleared_at.is_(None)).order_by(table.c.id))
    found = [Hold(r.scope, r.state, r.kind, unquote(r.by), r.reason, r.since, r.until, r.id) for r in rows]
    return [hold for hold in found if hold.kind in kinds]
