"""The figures of a pipeline: counts and bytes by state, ages, rates, forecast, its components. Never from history's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, exc, func, select

from dmtools import clock
from dmtools.command.named import named
from dmtools.control import buffers, claims, holds, sightings
from dmtools.control.entry import Counted, Pipeline, Probing, Stuck
from dmtools.control.holds import Hold
from dmtools.ledger import tables
from dmtools.ledger.journal import BUCKET_SECONDS
from dmtools.settings import Settings

HOUR = timedelta(hours=1)
NONE = {"files": 0, "bytes": 0}


def oldest_transfers(connection: Connection, pipeline: str, states: Sequence[str]) -> dict[str, datetime]:
    """When the oldest file of each state came into it: one look into the index `transfer_state` for each."""
    column = tables.transfer.c
    found = {}
    for state in states:
        since = select(func.min(column.since)).where(column.pipeline == pipeline, column.state == state)
        if (when := connection.execute(since).scalar()) is not None:
            found[state] = when
    return found


def oldest(connection: Connection, table: Table, states: Sequence[str]) -> dict[str, datetime]:
    """When the oldest row of each state came into it: one look into the table's index of state and since for each."""
    found = {}
    for state in states:
        if (since := connection.execute(select(func.min(table.c.since)).where(table.c.state == state)).scalar()) is not None:
            found[state] = since
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


def counted(look: Probing, entry: Pipeline) -> Counted:
    """How its items stand: by its files, where it can tell by these, else as the passes booked it."""
    found: Counted | None = named(entry.counts)(replace(look, entry=entry)) if entry.counts else None
    return booked(look.connection, entry) if found is None else found


def booked(connection: Connection, entry: Pipeline) -> Counted:
    """How its items stand as the passes booked it."""
    number, size = counts(connection, entry)
    return Counted(number, size, entry.oldest(connection, [state for state, n in number.items() if n > 0]))


def came(connection: Connection, entry: Pipeline, at: datetime) -> dict[str, tuple[int, int, datetime]]:
    """By state: (files, bytes) that came into it within the last hour, and since when. Only the hour's rows are read."""
    column = tables.flow.c
    query = select(column.state, func.sum(column.n), func.sum(column.bytes), func.min(column.bucket))
    where = (column.pipeline == entry.name, column.state.in_(entry.states.names()), column.bucket > at - HOUR)
    rows = connection.execute(query.where(*where).group_by(column.state))
    return {row[0]: (int(row[1]), int(row[2]), row[3]) for row in rows}


def inflow(entry: Pipeline, hour: dict[str, tuple[int, int, datetime]], at: datetime) -> tuple[int, int, float]:
    """(files, bytes) that came into the done states within the last hour, and over how many seconds of it."""
    done = [hour[state] for state in entry.done if state in hour]
    if not sum(files for files, _, _ in done):
        return 0, 0, HOUR.total_seconds()
    seconds = (at - min(first for _, _, first in done)).total_seconds()
    return sum(files for files, _, _ in done), sum(size for _, size, _ in done), max(BUCKET_SECONDS, seconds)


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


def of(
    connection: Connection, entry: Pipeline, found: list[Hold], at: datetime, settings: Settings | None = None
) -> dict[str, Any]:
    """The record of one pipeline, contract section 2; with the settings also what its own functions tell (see `outlook`)."""
    stands, troubles = _stands(connection, entry, at, settings)
    number, size, since = stands.number, stands.size, stands.since
    hour = came(connection, entry, at)
    flow = inflow(entry, hour, at)
    left = sum(number[state] for state in entry.open)
    eta = forecast(left, sum(size[state] for state in entry.open), flow, at) if left > 0 else None
    mine = [hold for hold in found if hold.scope.partition("/")[0] in ("all", entry.name)]
    return {
        "control": {"state": holds.in_force(found, entry.name), "holds": [hold.record() for hold in mine]},
        "counts": number,
        "bytes": size,
        "oldest": {
            state: max(0, round((at - since[state]).total_seconds())) for state, n in number.items() if n > 0 and state in since
        },
        "rate": {"files_per_hour": flow[0], "bytes_per_hour": flow[1]},
        "came": {state: {"files": hour[state][0], "bytes": hour[state][1]} if state in hour else NONE for state in number},
        "eta": clock.iso(eta),
        "left": left,
        "bad": list(entry.bad),
        "components": components(connection, entry, found),
        "seen": seen(connection, entry),
        **outlook(connection, entry, {state: row[1] for state, row in hour.items()}, at, settings, troubles),
    }


def _stands(connection: Connection, entry: Pipeline, at: datetime, settings: Settings | None) -> tuple[Counted, list[str]]:
    """Where its own function fails, what was booked, and a sentence for `troubles`."""
    try:
        return (booked(connection, entry) if settings is None else counted(Probing(settings, connection, at), entry)), []
    except exc.DBAPIError:
        raise
    except Exception as problem:  # noqa: BLE001 - a third party's function must not hide the rest
        said = (
            f"how {entry.name} stands can't be asked: {type(problem).__name__}: {problem}; the counts are those that were booked"
        )
        return booked(connection, entry), [said]


def outlook(
    connection: Connection,
    entry: Pipeline,
    bytes_came: dict[str, int],
    at: datetime,
    settings: Settings | None,
    troubles: Sequence[str] = (),
) -> dict[str, Any]:
    """The buffers, what is stuck, what is moved twice, disks and jobs; one that can't be asked is told in `troubles`."""
    result: dict[str, Any] = {"buffers": [], "stuck": [], "duplicates": [], "notes": [], "troubles": [*troubles]}
    if settings is None:
        return result
    look = Probing(settings, connection, at)
    ways: dict[str, Callable[[Iterable[Any]], list[Any]]] = {
        "buffers": lambda found: buffers.records(connection, entry.name, found, bytes_came, at),
        "stuck": lambda found: [stuck_record(one) for one in found],
        "duplicates": list,
        "notes": lambda found: [asdict(one) for one in found],
    }
    for what, way in ways.items():
        try:
            result[what] = way(entry.ask(what, look))
        except exc.DBAPIError:
            raise
        except Exception as problem:  # noqa: BLE001 - a third party's function must not hide the rest
            result["troubles"].append(f"the {what} of {entry.name} can't be asked: {type(problem).__name__}: {problem}")
    return result


def stuck_record(one: Stuck) -> dict[str, Any]:
    """For --json."""
    return {
        "subject": one.subject,
        "kind": one.kind,
        "state": one.state,
        "since": clock.iso(one.since),
        "why": one.why,
        "next": one.next,
    }


def seen(connection: Connection, entry: Pipeline) -> list[dict[str, Any]]:
    """What the passes last saw of the world around them: servers that are away, and the like."""
    rows = sightings.read(connection, entry.name, "")
    told = {name: row for name, row in rows.items() if not name.startswith(buffers.POSTED)}
    return [{"name": name, "since": clock.iso(since), "what": what} for name, (since, what) in sorted(told.items())]


def whole(connection: Connection, entries: dict[str, Pipeline], settings: Settings, now: datetime) -> dict[str, Any]:
    """What dm-monitoring tells: every pipeline, and who holds leases; `now` is the database's clock, by which these end."""
    at = clock.now()
    found = holds.open_holds(connection, settings, at)
    records = {name: of(connection, entry, found, at, settings) for name, entry in entries.items()}
    told = {"schema": 1, "at": clock.iso(at), "home": str(settings.home), "pipelines": records}
    return {**told, "leases": holders(connection, now)}


def holders(connection: Connection, now: datetime) -> list[dict[str, Any]]:
    """Who holds leases: one record a process, the one that holds the oldest first, with how many of them are overdue."""
    of_owner: dict[str, list[claims.Claim]] = {}
    for claim in claims.all_of(connection, now):
        of_owner.setdefault(claim.owner, []).append(claim)
    return [
        {
            "who": mine[0].who(),
            "holder": mine[0].holder,
            "leases": len(mine),
            "oldest_seconds": max(0, *(round((now - claim.since).total_seconds()) for claim in mine if claim.since)),
            "overdue": sum(claim.expires <= now for claim in mine),
            "first": mine[0].resource,
        }
        for mine in of_owner.values()
    ]
