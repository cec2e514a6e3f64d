"""A window that a person asks for: as the original scripts took it, booked as such, written where it was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select, update

from dmtools import clock
from dmtools.command.run import Refused
from dmtools.control.passes import Pass
from dmtools.datalogger import files, kinds, params, publishing, wall, windows
from dmtools.datalogger.files import F, File
from dmtools.datalogger.home import Home
from dmtools.datalogger.rounds import Rounds
from dmtools.datalogger.states import DONE, EMPTY, LOST, OWED, PUBLISHED
from dmtools.datalogger.windows import HAND, W, Window
from dmtools.ledger import tables
from dmtools.settings.datalogger import Device

OVER = (DONE, EMPTY, LOST)


@dataclass(frozen=True)
class Length:
    """How long a window is: days by the calendar, so that one may have 23 or 25 hours; the rest by the clock."""

    days: int = 0
    hours: int = 0
    minutes: int = 0
    seconds: int = 0

    def back(self, end: datetime, zone: ZoneInfo) -> datetime:
        """The begin of a window that ends there."""
        return self._moved(end, zone, -1)

    def on(self, start: datetime, zone: ZoneInfo) -> datetime:
        """The end of a window that begins there."""
        return self._moved(start, zone, 1)

    def _moved(self, at: datetime, zone: ZoneInfo, sign: int) -> datetime:
        days = timedelta(days=self.days * sign)
        moved = (at.astimezone(zone).replace(tzinfo=None) + days).replace(tzinfo=zone).astimezone(UTC) if self.days else at
        one = 0 if any((self.days, self.hours, self.minutes, self.seconds)) else 1
        return moved + sign * timedelta(hours=self.hours, minutes=self.minutes, seconds=self.seconds or one)

    def __bool__(self) -> bool:
        return any((self.days, self.hours, self.minutes, self.seconds))


def window(startat: str, stopat: str, length: Length, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """[start, end) of the options; the end is last midnight, the length 1 s, unless said otherwise. Raises Refused."""
    try:
        start = wall.parse(startat, zone) if startat else None
        end = wall.parse(stopat, zone) if stopat else None
    except ValueError as problem:
        raise Refused(str(problem)) from None
    if start is not None and end is not None and length:
        raise Refused("--startat, --stopat and a length say the same thing twice: leave one of the three out")
    if start is not None and end is None:
        end = length.on(start, zone)
    if end is None:
        end = wall.midnight(now.astimezone(zone).date(), zone)
    if start is None:
        start = length.back(end, zone)
    return start, end


def refuse(start: datetime, end: datetime, now: datetime, keep_days: float, zone: ZoneInfo) -> None:
    """Windows that nobody can have. Raises Refused."""
    one, other = (f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}" for at in (start, end))
    if start >= end:
        raise Refused(f"the window from {one} to {other} has no length; its start must be before its end")
    if end > now:
        raise Refused(f"the window from {one} to {other} is not over yet; ask for it then, or for its part that is past")
    if end <= now - timedelta(days=keep_days):
        raise Refused(f"the logger keeps {keep_days:g} days ([datalogger] keep_days): nothing is left of {one} to {other}")


def is_the_schedules(this: Pass, startat: str, stopat: str, length: Length, out: Path | None) -> bool:
    """`--days 1` into [datalogger] out, as the crontab says it, is what the schedule owes, and all that was missed before."""
    configured = this.settings.path(this.settings.datalogger.out)
    return not startat and not stopat and length == Length(days=1) and out is not None and out.resolve() == configured.resolve()


def grab(
    this: Pass,
    home: Home,
    kind: str,
    devices: dict[str, Device],
    start: datetime,
    end: datetime,
    *,
    adopt: bool,
    first_only: bool = False,
) -> None:
    """Asks for the window of these devices or events, and writes what came. Raises Unavailable when the logger is away.

    `first_only`: one after the other, until one yields data.
    """
    if this.dry_run:
        for device in devices.values():
            what, whom = kinds.table(kind, device.name), device.node or "the logger"
            this.plan(f"would ask {whom} for {what} of {wall.stamp(start)} to {wall.stamp(end)}")
        this.plan(f"would write {home.out / files.name(kind, start, end, 0)}")
        return
    keys = {"kind": kind, "origin": HAND, "start": start, "end": end}
    _finish_old(this, home, keys, devices)
    asked: list[int] = []
    rounds = None
    for some in [{one.name: one} for one in devices.values()] if first_only else [devices]:
        rounds, found = _ask(this, home, keys, some)
        asked += found
        if first_only and (rounds is None or rounds.away or _yields(this, found) or not this.goes()):
            break
    _write(this, home, asked, devices, adopt=adopt)
    publishing.tidy(this, home)
    if rounds is not None and rounds.away:
        params.tell_away(this, rounds)


def _ask(this: Pass, home: Home, keys: dict[str, Any], devices: dict[str, Device]) -> tuple[Rounds | None, list[int]]:
    """Books the windows of these and asks for what no file has; gives the ids of what was asked for."""
    new = [{**keys, "name": device.name, "node": device.node} for device in devices.values()]
    this.ledger.transact(lambda c: windows.make(c, home.id, new, by=this.by, at=clock.now()))
    found = _mine(this, home, keys, devices)
    wanted = [fresh for one in found if (fresh := _afresh(this, home, one)) is not None]
    return params.ask(this, home, devices, wanted, by_hand=True) if wanted else None, [one.id for one in wanted]


def _yields(this: Pass, ids: Sequence[int]) -> bool:
    with this.ledger.read() as connection:
        return any(one.rows for one in windows.by_ids(connection, ids).values())


def _mine(this: Pass, home: Home, keys: dict[str, Any], devices: dict[str, Device]) -> list[Window]:
    with this.ledger.read() as connection:
        query = select(tables.datalogger_window).where(W.home == home.id, *(W[key] == value for key, value in keys.items()))
        return [one for one in windows.read(connection, query.order_by(W.name)) if one.name in devices]


def _finish_old(this: Pass, home: Home, keys: dict[str, Any], devices: dict[str, Device]) -> None:
    """Files of this window that a killed run left as drafts."""
    with this.ledger.read() as connection:
        found = [one for one in files.drafted(connection, home.id, HAND) if (one.start, one.end) == (keys["start"], keys["end"])]
    for file in found:
        publishing.finish(this, home, file, devices)


def _afresh(this: Pass, home: Home, window: Window) -> Window | None:
    """The window to ask for; None when a file in the directory has all of it. What a file has of it is not asked for again."""
    file = _file(this, window)
    here = file is not None and file.state == PUBLISHED and file.place.parent == home.out and file.place.exists()
    if window.state in OVER and file is None:
        return window  # a killed run has all of it; only the file lacks
    if window.state in OVER and here and file is not None:
        this.context.say(f"{window.called}: {file.place} has it already")
        return None
    if window.state in OVER:
        return _changed(this, window, OWED, {**windows.AFRESH, "upto": window.start, "failures": 0, "forgotten": None})
    if file is not None:
        return _changed(this, window, window.state, {"rows": 0, "file_id": None, "draft": None})
    return window


def _file(this: Pass, window: Window) -> File | None:
    if window.file_id is None:
        return None
    with this.ledger.read() as connection:
        row = connection.execute(select(tables.datalogger_file).where(F.id == window.file_id)).first()
    return files.of(row) if row is not None else None


def _changed(this: Pass, window: Window, state: str, values: dict[str, Any]) -> Window | None:
    """The window with these columns; None when another run has it."""
    if not this.leases.claim([window.resource]):
        return None
    try:
        if state != window.state:
            why = "asked for again by hand"
            windows.advance(this, window, state, why, values, clock.now())
        else:
            windows.book(this, window, values)
        with this.ledger.read() as connection:
            return windows.by_ids(connection, [window.id])[window.id]
    finally:
        this.leases.release([window.resource])


def _write(this: Pass, home: Home, ids: Sequence[int], devices: dict[str, Device], *, adopt: bool) -> None:
    """A file of what was had, whole or not."""
    with this.ledger.read() as connection:
        had = [one for one in windows.by_ids(connection, ids).values() if one.state in OVER or one.rows]
    ready = [one.id for one in had if one.file_id is None]
    file = files.intend(this, home, ready, clock.now()) if ready else None
    if file is None:
        return
    if adopt:
        number = file.id
        this.ledger.transact(lambda c: _adopt(c, number))
    if publishing.finish(this, home, file, devices):
        this.context.say(str(file.place))


def _adopt(connection: Connection, number: int) -> None:
    connection.execute(update(tables.datalogger_file).where(F.id == number).values(adopted=1))
