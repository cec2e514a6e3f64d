"""List rows: a set of files that goes to a server as one job. Their states, and the only place that changes them."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, exists, insert, select, true, update

from dmtools import names
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.ledger.journal import State, States

CUT, TODO, DOING, SETTLING, DONE = "cut", "TODO", "DOING", "settling", "done"
OPEN = (CUT, TODO, DOING, SETTLING)


@functools.cache
def list_states(pipeline: str) -> States:
    """The states of a pipeline's lists (the lists themselves; their files have the pipeline's own)."""
    return States(
        pipeline=pipeline,
        kind="list",
        counted=False,
        states=(
            State(CUT, "the row is made, its file is not proved to be there yet", "producer", (TODO, DONE)),
            State(TODO, "its file waits in TODO", "producer", (DOING, SETTLING)),
            State(DOING, "an attempt is open: intent written, perhaps sent", "consumer", (SETTLING,)),
            State(SETTLING, "the outcome is booked, the directories follow", "monitor", (TODO, DONE)),
            State(DONE, "all its files are in DONE; by hand in TODO again: anew", "monitor", (TODO, DOING, SETTLING)),
        ),
    )


@dataclass(frozen=True)
class ListRow:
    """One row of `filelist` as it was read; every change is made only if it is still so."""

    id: int
    pipeline: str
    home: str
    name: str
    state: str
    since: datetime
    files: int
    planned: int
    attempt: int
    next_try: datetime | None
    waits_for: str | None
    master_id: int | None
    start: int | None
    length: int | None
    parent_id: int | None

    @property
    def resource(self) -> str:
        """The name of its lease."""
        return f"list/{self.id}"


_COLUMNS = tuple(tables.filelist.c[name] for name in ListRow.__dataclass_fields__)


def by_names(connection: Connection, pipeline: str, home: str, wanted: Sequence[str]) -> dict[str, ListRow]:
    """The rows of these list names."""
    table = tables.filelist
    found: dict[str, ListRow] = {}
    for part in chunks(wanted):
        keys = [names.key(name) for name in part]
        query = select(*_COLUMNS).where(table.c.pipeline == pipeline, table.c.home == home, table.c.name_key.in_(keys))
        found |= {row.name: ListRow(*row) for row in connection.execute(query)}
    return found


def by_state(connection: Connection, pipeline: str, home: str, states: Iterable[str]) -> list[ListRow]:
    """The rows in these states, oldest first: open work only, never history."""
    table = tables.filelist
    query = select(*_COLUMNS).where(table.c.pipeline == pipeline, table.c.state.in_(tuple(states)), table.c.home == home)
    return [ListRow(*row) for row in connection.execute(query.order_by(table.c.id))]


def by_ids(connection: Connection, ids: Sequence[int]) -> dict[int, ListRow]:
    """The rows with these ids."""
    found: dict[int, ListRow] = {}
    for part in chunks(ids):
        query = select(*_COLUMNS).where(tables.filelist.c.id.in_(part))
        found |= {row.id: ListRow(*row) for row in connection.execute(query)}
    return found


def add(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """New rows: each with pipeline, home, name, state, since, files; the keys are made here."""
    full = [{"planned": 0, "attempt": 0, **row, "name_key": names.key(row["name"])} for row in rows]
    connection.execute(insert(tables.filelist), full)


def change(connection: Connection, row: ListRow, state: str, at: datetime, **values: Any) -> None:
    """Compare-and-set of one list's state. Raises Stale when it is no longer as it was read."""
    change_many(connection, [(row, state, values)], at)


def change_many(connection: Connection, changes: Sequence[tuple[ListRow, str, dict[str, Any]]], at: datetime) -> None:
    """The same for several lists: all or none. Raises Stale."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row, state, values in changes:
        if state != row.state and not list_states(row.pipeline).legal(row.state, state):
            raise ValueError(f"{row.pipeline}: a list does not go from {row.state} to {state}")
        full = {"_id": row.id, "_state": row.state, "_attempt": row.attempt, "state": state, **values}
        full["since"] = at if state != row.state else row.since
        groups[tuple(full)].append(full)
    table = tables.filelist
    same = (table.c.id == bindparam("_id"), table.c.state == bindparam("_state"), table.c.attempt == bindparam("_attempt"))
    for columns, rows in groups.items():
        new: dict[str, Any] = {name: bindparam(name) for name in columns if not name.startswith("_")}
        if connection.execute(update(table).where(*same).values(new), rows).rowcount != len(rows):
            raise Stale("a list is no longer as it was read: another command took it on")


def wait(connection: Connection, row: ListRow, until: datetime, why: str) -> None:
    """The list waits: why and until when, for the people who ask."""
    table = tables.filelist
    connection.execute(update(table).where(table.c.id == row.id).values(next_try=until, waits_for=why[:500]))


def belongs(list_id: ColumnElement[int], home: str | None) -> ColumnElement[bool]:
    """The condition that a row's list is one of this HOME's; None: of any."""
    table = tables.filelist.c
    return true() if home is None else exists().where(table.id == list_id, table.home == home)
