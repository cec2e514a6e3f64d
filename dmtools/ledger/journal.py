"""Every change of state: compare-and-set, the journal entry and the counts, in one transaction."""

from __future__ import annotations

import functools
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Insert, Table, Update, bindparam, insert, select

from dmtools.ledger import late, tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale

SHARDS = 16
BUCKET_SECONDS = 300
MANY = 40  # so many items that change alike cost less in one statement than one by one
MANY_AWAY = 3  # the same where each statement is a question to a server
_ENTRY = insert(tables.journal)


@dataclass(frozen=True)
class State:
    """One state of a pipeline's items: what it means, who writes it, what may come next."""

    name: str
    meaning: str
    writer: str
    next: tuple[str, ...] = ()


@dataclass(frozen=True)
class States:
    """A pipeline's states, in the order in which people read them; `kind` is the journal's word for an item."""

    pipeline: str
    kind: str
    states: tuple[State, ...]
    counted: bool = True  # are its items what the tally and the rates count?

    def legal(self, before: str, after: str) -> bool:
        """May an item go from `before` to `after`?"""
        return (before, after) in self._pairs

    def names(self) -> tuple[str, ...]:
        """The states in order."""
        return self._names

    @functools.cached_property
    def _pairs(self) -> frozenset[tuple[str, str]]:
        return frozenset((state.name, after) for state in self.states for after in state.next)

    @functools.cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(state.name for state in self.states)


class IllegalMove(Exception):
    """A change of state that the table of states doesn't have: an error of the program, nothing was written."""


@dataclass(frozen=True)
class Move:
    """One item's change of state. `values` are other columns written with it; sizes are bytes, for the counts."""

    item: int
    before: str
    after: str
    why: str | None = None
    size: int = 0
    size_before: int | None = None
    values: tuple[tuple[str, Any], ...] = ()


def advance(
    connection: Connection, table: Table, states: States, moves: Sequence[Move], *, by: str, at: datetime, kept: bool = False
) -> None:
    """Makes all moves or none. Raises Stale when an item is no longer in the state it was read in, IllegalMove.

    `kept`: the caller has read the items in this transaction and keeps them from others: nobody need wait for the result.
    """
    alike: dict[tuple[Any, ...], list[Move]] = defaultdict(list)
    for move in moves:
        if not states.legal(move.before, move.after):
            raise IllegalMove(f"{states.pipeline}: {move.before} -> {move.after} is not a legal change of state")
        alike[move.before, move.after, move.values].append(move)
    lone: list[Move] = []
    done = 0
    for (before, after, values), group in alike.items():
        if len(group) < _many(connection):
            lone += group
            continue
        row = {"_before": before, "state": after, "since": at, **dict(values)}
        for part in chunks([move.item for move in group]):
            done += _changed(connection, _moving(table, tuple(row), many=True), [{**row, "_id": part}], len(part), kept=kept)
    done += _advance_each(connection, table, lone, at, kept=kept)
    if done != len(moves):
        raise Stale(f"{len(moves) - done} of {len(moves)} items of {states.pipeline} changed meanwhile")
    record(connection, states, moves, by=by, at=at, table=table)
    if states.counted:
        count_moves(connection, states.pipeline, moves, at)


def _many(connection: Connection) -> int:
    return MANY if connection.dialect.name == "sqlite" else MANY_AWAY


def _advance_each(connection: Connection, table: Table, moves: Sequence[Move], at: datetime, *, kept: bool) -> int:
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for move in moves:
        row = {"_id": move.item, "_before": move.before, "state": move.after, "since": at, **dict(move.values)}
        groups[tuple(row)].append(row)
    return sum(
        _changed(connection, _moving(table, columns, many=False), rows, len(rows), kept=kept) for columns, rows in groups.items()
    )


def _changed(connection: Connection, statement: Update, rows: list[dict[str, Any]], items: int, *, kept: bool) -> int:
    """How many items it met: all of them, when the caller keeps them in their state."""
    if not kept:
        return connection.execute(statement, rows).rowcount
    late.execute(connection, statement, rows)
    return items


@functools.lru_cache(maxsize=1000)
def _moving(table: Table, columns: tuple[str, ...], *, many: bool) -> Update:
    """Made once: making a statement costs more than asking it."""
    ids = table.c.id.in_(bindparam("_id", expanding=True)) if many else table.c.id == bindparam("_id")
    values: dict[str, Any] = {name: bindparam(name) for name in columns if not name.startswith("_")}
    return table.update().where(ids, table.c.state == bindparam("_before")).values(values)


def record(
    connection: Connection, states: States, moves: Iterable[Move], *, by: str, at: datetime, table: Table | None = None
) -> None:
    """The journal entries of the moves. With the items' own table, moves that are alike cost one statement together."""
    alike: dict[tuple[str, str, str | None], list[int]] = defaultdict(list)
    for move in moves:
        alike[move.before, move.after, move.why].append(move.item)
    lone: list[dict[str, Any]] = []
    for (before, after, why), items in alike.items():
        entry = {"at": at, "pipeline": states.pipeline, "kind": states.kind, "from_state": before or None, "to_state": after}
        entry |= {"by": by, "why": why}
        if table is None or len(items) < _many(connection):
            lone += [{**entry, "item": item} for item in items]
            continue
        for part in chunks(items):
            late.execute(connection, _entries(table, tuple(entry)), [{**entry, "_id": part}])
    if lone:
        late.execute(connection, _ENTRY, lone)


@functools.lru_cache(maxsize=100)
def _entries(table: Table, names: tuple[str, ...]) -> Insert:
    """The same entry for many items of a table."""
    words = [bindparam(name, type_=tables.journal.c[name].type) for name in names]
    found = select(*words, table.c.id).where(table.c.id.in_(bindparam("_id", expanding=True)))
    return insert(tables.journal).from_select([*names, "item"], found, include_defaults=False)


def note(connection: Connection, pipeline: str, kind: str, item: int, *, by: str, at: datetime, why: str) -> None:
    """A journal entry that changes no state: what was seen or decided about the item."""
    note_many(connection, pipeline, kind, [item], by=by, at=at, why=why)


def note_many(connection: Connection, pipeline: str, kind: str, items: Iterable[int], *, by: str, at: datetime, why: str) -> None:
    """The same note for each of many items."""
    entry = {"at": at, "pipeline": pipeline, "kind": kind, "by": by, "why": why}
    if rows := [{**entry, "item": item} for item in items]:
        connection.execute(insert(tables.journal), rows)


def count_moves(connection: Connection, pipeline: str, moves: Iterable[Move], at: datetime) -> None:
    """Tally and flow of the moves."""
    change: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    came: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for move in moves:
        if move.before:
            change[move.before][0] -= 1
            change[move.before][1] -= move.size if move.size_before is None else move.size_before
        if move.after:
            for counts in (change[move.after], came[move.after]):
                counts[0] += 1
                counts[1] += move.size
    add_tally(connection, pipeline, {state: (n, size) for state, (n, size) in change.items()})
    keys = {"pipeline": pipeline, "bucket": bucket_of(at)}
    rows = [{**keys, "state": state, "n": n, "bytes": size} for state, (n, size) in sorted(came.items())]
    _add(connection, tables.flow, rows)


def count_new(connection: Connection, pipeline: str, state: str, n: int, size: int, at: datetime) -> None:
    """Counts n items, of `size` bytes together, that begin in a state."""
    if n:
        add_tally(connection, pipeline, {state: (n, size)})
        row = {"pipeline": pipeline, "state": state, "bucket": bucket_of(at), "n": n, "bytes": size}
        _add(connection, tables.flow, [row])


def add_tally(connection: Connection, pipeline: str, change: dict[str, tuple[int, int]]) -> None:
    """Adds (number, bytes) to the counts by state."""
    shard = threading.get_native_id() % SHARDS  # of the threads of a server, too, each mostly has one of its own
    keys = {"pipeline": pipeline, "shard": shard}
    _add(connection, tables.tally, [{**keys, "state": s, "n": n, "bytes": b} for s, (n, b) in sorted(change.items()) if n or b])


def bucket_of(at: datetime) -> datetime:
    """The start of the five minutes that hold the instant."""
    over = timedelta(seconds=at.timestamp() % BUCKET_SECONDS)
    return (at - over).replace(microsecond=0)


def _add(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Adds `n` and `bytes` to the row of each key, or makes it. All writers meet here: it is the last of a transaction."""
    if not rows:
        return
    if connection.dialect.name != "sqlite":
        late.execute(connection, _upsert(table), rows)
        return
    for row in rows:
        keys = [table.c[column.name] == row[column.name] for column in table.primary_key]
        update = table.update().where(*keys).values(n=table.c.n + row["n"], bytes=table.c.bytes + row["bytes"])
        if not connection.execute(update).rowcount:
            connection.execute(insert(table), row)


@functools.cache
def _upsert(table: Table) -> Any:
    from sqlalchemy.dialects.mysql import insert as upsert

    made = upsert(table)
    return made.on_duplicate_key_update(n=table.c.n + made.inserted.n, bytes=table.c.bytes + made.inserted.bytes)
