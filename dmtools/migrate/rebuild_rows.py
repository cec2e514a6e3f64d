"""Rows made from lists as they stand in the directories: lists, files, and what is known already."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, insert, select

from dmtools import clock, names
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.journal import Move, record
from dmtools.ledger.types import AnyRow
from dmtools.migrate.home import Home
from dmtools.migrate.papers import Paper
from dmtools.migrate.states import STATES
from dmtools.spool.listfile import Pair
from dmtools.transfers import lists

T = tables.transfer.c
Masters = dict[str, int]  # the ids of the master lists by their names


def list_ids(connection: Connection, home: str, part: Iterable[Paper], to: Masters, state: str) -> dict[str, int]:
    """The ids of the lists of these papers; those that aren't there yet get a row."""
    by_name = {paper.name: paper for paper in part}
    there = lists.by_names(connection, "migrate", home, list(by_name))
    new = [paper for name, paper in by_name.items() if name not in there]
    if new:
        shared: dict[str, Any] = {"pipeline": "migrate", "home": home, "state": state, "since": clock.now(), "planned": 1}
        rows = [
            {**shared, "name": p.name, "files": len(p.content.pairs), "attempt": max(1, p.number("attempt")), **_span(p, to)}
            for p in new
        ]
        lists.add(connection, rows)
        there |= lists.by_names(connection, "migrate", home, [paper.name for paper in new])
    return {name: row.id for name, row in there.items()}


def _span(paper: Paper, to: Masters) -> dict[str, int | None]:
    if paper.origin is None or paper.origin[0] not in to:
        return {"start": None, "length": None, "master_id": None}
    master, start, end = paper.origin
    return {"start": start, "length": end - start, "master_id": to[master]}


def known_places(connection: Connection, destinations: Iterable[str]) -> dict[bytes, AnyRow]:
    """The rows that have these destinations already, by their key."""
    found: dict[bytes, AnyRow] = {}
    for part in chunks([names.key(url) for url in destinations]):
        query = select(T.id, T.source, T.state, T.list_id, T.job_id, T.size, T.tries, T.place_key)
        rows = connection.execute(query.where(T.pipeline == "migrate", T.place_key.in_(part)))
        found |= {row.place_key: row for row in rows}
    return found


def new_row(home: Home, pair: Pair, key: bytes, state: str, list_id: int) -> dict[str, Any]:
    """The columns of a file of which the directories say no more than its line."""
    name = home.rules.lfn(pair) if pair.destination else pair.source
    row: dict[str, Any] = {"pipeline": "migrate", "name": name, "name_key": names.key(name)}
    row |= {"source": pair.source, "destination": pair.destination}
    row |= {"place_key": key, "size": None, "checksum": None, "state": state, "since": clock.now(), "list_id": list_id}
    row |= {"job_id": None, "failures": 0, "tries": 1, "overwrite": 0, "error_class": None, "reason": None}
    return row | {"verified_by": None}


def new_only(connection: Connection, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those whose place is not taken yet."""
    keys: dict[bytes, dict[str, Any]] = {row["place_key"]: row for row in rows}
    for part in chunks(list(keys)):
        for key in connection.execute(select(T.place_key).where(T.pipeline == "migrate", T.place_key.in_(part))).scalars():
            del keys[key]
    return list(keys.values())


def book_files(connection: Connection, rows: list[dict[str, Any]], folder: str, *, by: str) -> list[int]:
    """New rows, with a journal entry each. Gives their ids."""
    made: list[int] = []
    for part in chunks(rows, 1000):
        ids = list(connection.execute(insert(tables.transfer).returning(T.id, sort_by_parameter_order=True), part).scalars())
        why = f"rebuilt from {folder}"
        moves = [Move(i, "", row["state"], row["reason"] or why) for i, row in zip(ids, part, strict=True)]
        record(connection, STATES, moves, by=by, at=clock.now())
        made += ids
    return made
