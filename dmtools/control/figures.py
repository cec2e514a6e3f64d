"""The figures of a pipeline: counts and bytes by state, ages, rates, forecast, its components. Never from history's rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from dmtools import clock
from dmtools.control import holds, sightings
from dmtools.control.entry import Pipeline
from dmtools.control.holds import Hold
from dmtools.ledger import tables
from dmtools.ledger.journal import BUCKET_SECONDS

HOUR = timedelta(hours=1)


def oldest_transfers(connection: Connection, pipeline: str, states: Sequence[str]) -> dict[str, datetime]:
    """When the oldest file of each state came into it: one look into the index `transfer_state` for each."""
    column = tables.transfer.c
    found = {}
    for state in states:
        since = select(func.min(column.since)).where(column.pipeline == pipeline, column.state == state)
        if (when := connection.execute(since).scalar()) is not None:
            found[state] = when
    return found


def oldest_lists(connection: Connection, pipeline: str, states: Sequence[str]) -> datetime | None:
    """When the oldest list in one of the states came into it: from the index `filelist_state`."""
    column = tables.filelist.c
    found = [
        connection.execute(select(func.min(column.since)).where(column.pipeline == pipeline, column.state == state)).scalar()
        for state in states
    ]
    return min((when for when in found if when is not None), default=None)


def counts(connection: Connection, entry: Pipeline) -> tuple[dict[str, int], dict[str, int]]:
    """(number, bytes) by state, every state named, from the tally."""
    column = tables.tally.c
    query = select(column.state, func.sum(column.n), func.sum(column.bytes)).where(column.pipeline == entry.name)
    rows = {row[0]: row for row in connection.execute(query.group_by(column.state))}
    names = entry.states.names()
    number = {name: int(rows[name][1]) if name in rows else 0 for name in names}
    return number, {name: int(rows[name][2]) if name in rows else 0 for name in names}


def inflow(connection: Connection, entry: Pipeline, at: datetime) -> tuple[int, int, float]:
    """(files, bytes) that came into the done states within the last hour, and over how many seconds of it."""
    column = tables.flow.c
    query = select(func.sum(column.n), func.sum(column.bytes), func.min(column.bucket))
    where = (column.pipeline == entry.name, column.state.in_(entry.done), column.bucket > at - HOUR)
    files, size, first = connection.execute(query.where(*where)).one()
    if not files:
        return 0, 0, HOUR.total_seconds()
    return int(files), int(size), max(BUCKET_SECONDS, (at - first).total_seconds())


def forecast(left: int, left_bytes: int, flow: tuple[int, int, float], at: datetime) -> datetime | None:
    """When the open work is done at the last hour's pace, by files or by bytes, whichever takes longer; None: no telling."""
    files, size, span = flow
    if left <= 0:
        return at
    if files <= 0:
        return None
    seconds = max(left / files, left_bytes / size if size > 0 else 0.0) * span
    return at + timedelta(seconds=min(seconds, 86400 * 36500))


def components(connection: Connection, entry: Pipeline, found: list[Hold]) -> dict[str, dict[str, Any]]:
    """Each component's heartbeat and the word in force for it; also those that ran and are not registered."""
    column = tables.component.c
    rows = {row.name: row for row in connection.execute(select(tables.component).where(column.pipeline == entry.name))}
    result: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys((*entry.component_names(), *sorted(rows))):
        row = rows.get(name)
        result[name] = {
            "last_start": clock.iso(row.last_start) if row else None,
            "last_success": clock.iso(row.last_success) if row else None,
            "last_error": clock.iso(row.last_error) if row else None,
            "error": row.error_text if row else None,
            "state": row.state if row else None,
            "host": row.host if row else None,
            "control": holds.in_force(found, entry.name, name),
        }
    return result


def of(connection: Connection, entry: Pipeline, found: list[Hold], at: datetime) -> dict[str, Any]:
    """The record of one pipeline, contract section 2."""
    number, size = counts(connection, entry)
    busy = [state for state, n in number.items() if n > 0]
    since = entry.oldest(connection, busy)
    flow = inflow(connection, entry, at)
    left = sum(number[state] for state in entry.open)
    eta = forecast(left, sum(size[state] for state in entry.open), flow, at) if left > 0 else None
    mine = [hold for hold in found if hold.scope.partition("/")[0] in ("all", entry.name)]
    return {
        "control": {"state": holds.in_force(found, entry.name), "holds": [hold.record() for hold in mine]},
        "counts": number,
        "bytes": size,
        "oldest": {state: max(0, round((at - since[state]).total_seconds())) for state in busy if state in since},
        "rate": {"files_per_hour": flow[0], "bytes_per_hour": flow[1]},
        "eta": clock.iso(eta),
        "left": left,
        "bad": list(entry.bad),
        "components": components(connection, entry, found),
        "seen": seen(connection, entry),
    }


def seen(connection: Connection, entry: Pipeline) -> list[dict[str, Any]]:
    """What the passes last saw of the world around them: servers that are away, and the like."""
    rows = sightings.read(connection, entry.name, "")
    return [{"name": name, "since": clock.iso(since), "what": what} for name, (since, what) in sorted(rows.items())]
