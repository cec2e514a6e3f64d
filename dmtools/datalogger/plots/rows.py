"""What the site is made of: the statistics of each window, and the windows of which there are none, with why."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, case, func, or_, select

from dmtools.datalogger.files import F
from dmtools.datalogger.states import DONE
from dmtools.datalogger.stats import connecting, store
from dmtools.datalogger.stats.store import S
from dmtools.datalogger.windows import EVENT, SCHEDULE, W
from dmtools.ledger import tables

UNDISTILLED = "undistilled"  # it is had, and waits for its statistics
_SAME = ("kind", "name", "start", "end", "state", "units", "count", "complete", "file")


class Key(NamedTuple):
    """A device, or an event by its two hex digits."""

    kind: str
    name: str


class Row(NamedTuple):
    """The statistics of one window, [start, end) in epoch seconds: of a device's values, or of the seconds between events."""

    kind: str
    name: str
    start: float
    end: float
    state: str
    units: str
    samples: int
    complete: float | None
    file: str
    mean: float | None
    mode: float | None
    std: float | None
    min: float | None
    max: float | None


class Missing(NamedTuple):
    """A window without statistics, or a lost one of which some was had."""

    start: float
    end: float
    state: str
    why: str


def marks(connection: Connection, url: str, home: str) -> dict[Key, str]:
    """Every device that has statistics or windows, with what changes when one of them does. Raises Unavailable."""
    found: dict[Key, list[Any]] = {}
    own = [func.count(), func.max(W.since), func.max(W.id), func.max(F.distilled), func.sum(case((W.state == DONE, 1), else_=0))]
    query = select(W.kind, W.name, *own).outerjoin_from(tables.datalogger_window, tables.datalogger_file, F.id == W.file_id)
    for row in connection.execute(query.where(*_ours(home)).group_by(W.kind, W.name)):
        found.setdefault(Key(row[0], row[1]), []).extend(row[2:])
    counted = select(S.kind, S.name, func.count(), func.max(S.distilled), func.sum(S.count), func.max(S.end))
    for row in _asked(url, counted.group_by(S.kind, S.name)):
        found.setdefault(Key(row[0], row[1]), []).extend(row[2:])
    return {key: "|".join(str(value) for value in found[key]) for key in sorted(found)}


def _ours(home: str) -> tuple[Any, ...]:
    """What the schedule owes, and what was adopted."""
    return W.home == home, or_(W.origin == SCHEDULE, F.adopted == 1)


def _asked(url: str, query: Any) -> Iterator[Any]:
    """Rows of the statistics; none when nobody made them yet."""
    if not connecting.is_there(url):
        return
    with store.opened(url) as engine, connecting.reading(engine) as connection:
        if store.number(connection) is not None:
            yield from connection.execute(query)


def statistics(url: str, keys: Collection[Key]) -> dict[Key, list[Row]]:
    """The rows of these devices, by start. Raises Unavailable."""
    found: dict[Key, list[Row]] = {key: [] for key in keys}
    for kind in {key.kind for key in keys}:
        prefix = "interval" if kind == EVENT else "value"
        columns = [S[name] for name in _SAME] + [S[f"{prefix}_{name}"] for name in Row._fields[len(_SAME) :]]
        names = [key.name for key in keys if key.kind == kind]
        query = select(*columns).where(S.kind == kind, S.name.in_(names)).order_by(S.name, S.start, S.end)
        for row in _asked(url, query):
            found[Key(kind, row[1])].append(Row(*row))
    return found


def missing(connection: Connection, home: str, keys: Collection[Key]) -> dict[Key, list[Missing]]:
    """The windows of these devices that are not done, or not distilled yet, by start."""
    found: dict[Key, list[Missing]] = {key: [] for key in keys}
    waits = or_(F.id.is_(None), and_(F.distilled.is_(None), W.rows > 0))
    query = (
        select(W.kind, W.name, W.start, W.end, W.state, W.reason)
        .outerjoin_from(tables.datalogger_window, tables.datalogger_file, F.id == W.file_id)
        .where(*_ours(home), or_(W.state != DONE, waits), W.name.in_({key.name for key in keys}))
        .order_by(W.name, W.start)
    )
    for row in connection.execute(query):
        if (key := Key(row.kind, row.name)) in found:
            state = UNDISTILLED if row.state == DONE else row.state
            found[key].append(Missing(row.start.timestamp(), row.end.timestamp(), state, row.reason or ""))
    return found
