"""What a pipeline asks of the engine for files that it has chosen itself: put them on the road, mend, submit, watch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from dmtools import names
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.journal import Move, advance, record
from dmtools.ledger.types import AnyRow
from dmtools.spool.listfile import Pair
from dmtools.transfers import lists
from dmtools.transfers.dispatch import dispatch as submit
from dmtools.transfers.recover import mend
from dmtools.transfers.road import Road
from dmtools.transfers.verdict import BAD, RETRY
from dmtools.transfers.watch import watch

__all__ = ["mend", "put", "submit", "watch"]
T = tables.transfer.c
Facts = Mapping[Pair, tuple[int, str]]


def put(
    connection: Connection,
    road: Road,
    wanted: Sequence[tuple[str, Sequence[Pair]]],
    *,
    by: str,
    at: datetime,
    facts: Facts | None = None,
) -> dict[Pair, int]:
    """New lists (name, files), in the caller's transaction; `mend` then writes their files into TODO.

    Gives each pair's list. A destination that is known is put on the road again when it is Bad; one that is
    under way or proved stays as it is, with its list. `facts`: size and checksum of sources that were read already, so
    that a road without `check_source` reads them no second time.
    """
    facts = facts or {}
    pairs = [pair for _, found in wanted for pair in found]
    known = _known(connection, road, pairs)
    new = [pair for pair in pairs if pair not in known]
    again = [pair for pair in pairs if pair in known and known[pair].state in (BAD, "Missing")]
    going = {*new, *again}
    fresh = [(name, [pair for pair in found if pair in going]) for name, found in wanted]
    row: dict[str, Any] = {"pipeline": road.pipeline, "home": road.home, "state": lists.CUT, "since": at, "planned": 1}
    rows = [{**row, "name": name, "files": len(found)} for name, found in fresh if found]
    staying = {pair: int(row.list_id) for pair, row in known.items() if pair not in going}
    if not rows:
        return staying
    lists.add(connection, rows)
    made = lists.by_names(connection, road.pipeline, road.home, [one["name"] for one in rows])
    list_of = {pair: made[name].id for name, found in fresh for pair in found}
    if new:
        connection.execute(insert(tables.transfer), [_row(road, pair, list_of[pair], facts, at) for pair in new])
    found = _known(connection, road, new)
    moves = [Move(found[pair].id, "", RETRY, "put on the road") for pair in new]
    record(connection, road.states, moves, by=by, at=at, table=tables.transfer)
    moves = [_again(known[pair], pair, list_of[pair], facts) for pair in again]
    if moves:
        advance(connection, tables.transfer, road.states, moves, by=by, at=at)
    return {**staying, **list_of}


def _known(connection: Connection, road: Road, pairs: Sequence[Pair]) -> dict[Pair, AnyRow]:
    keys = {names.key(pair.destination): pair for pair in pairs}
    query = select(T.id, T.place_key, T.state, T.list_id, T.size).where(T.pipeline == road.pipeline)
    return {keys[r.place_key]: r for part in chunks(list(keys)) for r in connection.execute(query.where(T.place_key.in_(part)))}


def _row(road: Road, pair: Pair, list_id: int, facts: Facts, at: datetime) -> dict[str, Any]:
    name = road.rules.lfn(pair)
    size, checksum = facts.get(pair, (None, None))
    found: dict[str, Any] = {"pipeline": road.pipeline, "name": name, "name_key": names.key(name), "source": pair.source}
    found |= {"destination": pair.destination, "place_key": names.key(pair.destination), "state": RETRY, "since": at}
    return found | {"list_id": list_id, "failures": 0, "tries": 0, "overwrite": 0, "size": size, "checksum": checksum}


def _again(row: AnyRow, pair: Pair, list_id: int, facts: Facts) -> Move:
    size, checksum = facts.get(pair, (None, None))
    values: tuple[tuple[str, Any], ...] = (("source", pair.source), ("list_id", list_id), ("failures", 0))
    values += (("size", size), ("checksum", checksum), ("error_class", None), ("reason", None))
    return Move(row.id, row.state, RETRY, "put on the road again", size or 0, size_before=row.size or 0, values=values)
