"""What is owed: each device x each local day since the beginning, so that a day whose cron was missed is asked for later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from dmtools.control.passes import Pass
from dmtools.datalogger import gaps, kinds, wall, windows
from dmtools.datalogger.home import Home
from dmtools.datalogger.states import LOST, OPEN, OWED
from dmtools.datalogger.windows import SCHEDULE, W, Window
from dmtools.ledger import tables
from dmtools.settings.datalogger import Device

MOST_DAYS = 400


def owe(this: Pass, home: Home, kind: str, devices: Mapping[str, Device], now: datetime) -> int:
    """Books the windows of the days that are over; gives how many are new."""
    with this.ledger.read() as connection:
        new = list(_new(connection, this, home, kind, devices, now))
    if this.dry_run:
        for one in new:
            this.plan(f"would owe {kinds.table(kind, one['name'])} of {wall.stamp(one['start'])} to {wall.stamp(one['end'])}")
        return len(new)
    return len(this.ledger.transact(lambda c: windows.make(c, home.id, new, by=this.by, at=now))) if new else 0


def _new(
    connection: Connection, this: Pass, home: Home, kind: str, devices: Mapping[str, Device], now: datetime
) -> Iterator[dict[str, Any]]:
    limits = this.settings.datalogger
    until = now - timedelta(minutes=limits.settle_minutes)
    mine = (W.home == home.id, W.kind == kind, W.origin == SCHEDULE)
    query = select(W.name, func.min(W.start).label("first"), func.max(W.start).label("last")).where(*mine).group_by(W.name)
    there = {row.name: row for row in connection.execute(query)}
    for device in devices.values():
        row = there.get(device.name)
        first = _first(home, limits.since, row.first if row else None, until)
        for start, end in wall.days(first, until, home.zone):
            if row is None or not row.first <= start <= row.last:
                keys = {"kind": kind, "name": device.name, "node": device.node, "origin": SCHEDULE}
                yield {**keys, "start": start, "end": end}


def _first(home: Home, since: str, known: datetime | None, until: datetime) -> date:
    """The first day that is owed: `since`, else the first one that is booked, else yesterday."""
    today = until.astimezone(home.zone).date()
    if since:
        return max(date.fromisoformat(since), today - timedelta(days=MOST_DAYS))
    return known.astimezone(home.zone).date() if known is not None else today - timedelta(days=1)


def forget(this: Pass, home: Home, kind: str, now: datetime) -> None:
    """Windows of which the logger has nothing any more, and that are not done, are lost; why is kept with them."""
    limit = now - timedelta(days=this.settings.datalogger.keep_days)
    mine = (W.home == home.id, W.kind == kind, W.origin == SCHEDULE, W.state.in_(OPEN), W.end <= limit)
    with this.ledger.read() as connection:
        found = windows.read(connection, select(tables.datalogger_window).where(*mine).order_by(W.start, W.id))
    for window in claimed(this, found):
        why = window.reason if window.state != OWED and window.reason else "it was not asked for in time"
        told = f"the logger keeps {this.settings.datalogger.keep_days:g} days; before that: {why}"
        if not gaps.put(this, window, [gaps.lost(window.upto, window.end, told)] if window.upto < window.end else []):
            continue
        values = {"reason": told, "forgotten": window.end, "upto": window.end}
        if windows.advance(this, window, LOST, told, values, now):
            had = (
                f"{window.rows} {window.of_kind.noun} up to {wall.stamp(window.upto)} are kept"
                if window.rows
                else "nothing of it was had"
            )
            this.problem("lost", window.shown, why=told, left=had, next="nothing can bring it back; see dm-monitoring datalogger")


def claimed(this: Pass, found: Iterable[Window]) -> Iterator[Window]:
    """Those of the windows that are free and still as they were read, claimed one after the other."""
    for window in found:
        got = this.leases.claim([window.resource])
        try:
            if got:
                with this.ledger.read() as connection:
                    now = windows.by_ids(connection, [window.id]).get(window.id)
                if now is not None and (now.state, now.since) == (window.state, window.since):
                    yield now
        finally:
            this.leases.release(list(got))
