"""Holds that nobody says: of a component that fails again and again, and while a disk is full. They end with their cause.

Failing: what could not run (exit 75) is tried again by each pass, so its hold is a drain that binds the others' eyes only;
what failed by itself is tried again after a minute, then two, four, at most an hour, so its hold is a halt with an end. The
first pass that works ends both. Full: each pass measures for itself before each unit of work.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, select

from dmtools.command.report import Report
from dmtools.control import heartbeats, holds
from dmtools.control.holds import AUTOMATIC, Hold
from dmtools.ledger import tables
from dmtools.ledger.leases import HOST
from dmtools.settings import Settings

ERRORS, SPACE = "error limit", "free space"
FIRST_WAIT, LONGEST_WAIT = 60.0, 3600.0  # seconds
MORE = 1.25  # so much more room than the limit ends a hold: at the limit itself it would come and go


# ---- a component that fails again and again ------------------------------------------------------------------------------


def after_pass(connection: Connection, settings: Settings, report: Report, at: datetime) -> None:
    """Places the hold of a component that came to its error limit, or ends it, by how its pass went; after its heartbeat."""
    scope = f"{report.pipeline}/{report.component}"
    known = [hold for hold in holds.uncleared(connection, (AUTOMATIC,)) if hold.by == ERRORS and hold.scope == scope]
    if heartbeats.worked(report):
        holds.clear(connection, known, by=scope.replace("/", "-"), at=at)
        return
    column = tables.component.c
    query = select(column.errors_in_row, column.error_text).where(
        column.pipeline == report.pipeline, column.name == report.component
    )
    row = connection.execute(query).one()
    over = row.errors_in_row - settings.control.error_limit
    if not heartbeats.failed(report) or over < 0:
        return
    hold = _of_errors(scope, report.state, row.errors_in_row, row.error_text or "", over, at)
    if known:
        holds.renew(connection, replace(hold, id=known[0].id))
    else:
        holds.place(connection, hold)


def _of_errors(scope: str, state: str, times: int, last: str, over: int, at: datetime) -> Hold:
    if state == "unavailable":
        said = f"it could not run {times} times in a row; each pass tries again, and the first that works ends this; last: {last}"
        return Hold(scope, "drain", AUTOMATIC, ERRORS, said, at)
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(over, 10))
    said = f"it failed {times} times in a row; the first pass after that tries again, and one that works ends this; last: {last}"
    return Hold(scope, "halt", AUTOMATIC, ERRORS, said, at, at + timedelta(seconds=wait))


# ---- a disk that is full -------------------------------------------------------------------------------------------------


def of_disks(settings: Settings, places: Mapping[str, Sequence[Path]], found: Sequence[Hold], at: datetime) -> list[Hold]:
    """The holds by the disks as they are now: `places` are by the scope that a full one drains; `found` are those in force."""
    held = {hold.scope: hold for hold in found if _is_ours(hold)}
    full = []
    for scope, paths in places.items():
        said = next(filter(None, (_full(path, settings.control.full_percent, scope in held) for path in paths)), "")
        if said:
            full.append(held.get(scope) or Hold(scope, "drain", AUTOMATIC, f"{SPACE}@{HOST}", said, at))
    return full


def is_kept(full: Sequence[Hold], found: Sequence[Hold], scopes: Collection[str]) -> bool:
    """Do the tables say so already?"""
    return {hold.scope for hold in full} == {hold.scope for hold in found if _is_ours(hold) and hold.scope in scopes}


def keep(connection: Connection, scopes: Sequence[str], full: Sequence[Hold], by: str, at: datetime) -> None:
    """Writes down which of the scopes this host found full, for those who only read."""
    known = [hold for hold in holds.uncleared(connection, (AUTOMATIC,)) if _is_ours(hold) and hold.scope in scopes]
    holds.clear(connection, [hold for hold in known if hold.scope not in {one.scope for one in full}], by=by, at=at)
    for one in full:
        if one.scope not in {hold.scope for hold in known}:
            holds.place(connection, one)


def binds(hold: Hold, scope: str) -> bool:
    """Does a hold that was found in the tables bind a pass of this component? Disks it sees for itself."""
    return not is_tried(hold, scope) and not (hold.kind == AUTOMATIC and hold.by.startswith(SPACE))


def is_tried(hold: Hold, scope: str) -> bool:
    """Is it the drain of a component that could not run? That is no reason not to try again."""
    return hold.kind == AUTOMATIC and hold.by == ERRORS and hold.scope == scope and hold.state == "drain"


def _is_ours(hold: Hold) -> bool:
    return hold.kind == AUTOMATIC and hold.by == f"{SPACE}@{HOST}"


def _full(path: Path, percent: float, held: bool) -> str:
    """Why nothing new may come here; empty when there is room, or nobody can tell."""
    try:
        found = os.statvfs(path)
    except OSError:
        return ""
    usable = found.f_blocks - found.f_bfree + found.f_bavail
    wanted = min(percent * MORE, (percent + 100) / 2)
    if usable <= 0 or 100 * found.f_bavail >= usable * (wanted if held else percent):
        return ""
    from dmtools.control.display import size  # seldom needed

    unit = found.f_frsize
    until = size(usable * wanted / 100 * unit)
    return f"{path} has {size(found.f_bavail * unit)} free: make room; with {until} new work begins again by itself"
