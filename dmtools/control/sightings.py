"""What a pass last saw of the world around it (a server away, free space): one row a fact, for those who only read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, delete, select

from dmtools import clock
from dmtools.ledger import tables, upsert
from dmtools.ledger.engine import Ledger

S = tables.sighting.c


def servers(ledger: Ledger, pipeline: str, up: Iterable[str], away: dict[str, str]) -> None:
    """Which servers are away, why, and since when; written only when that changed."""
    with ledger.read() as connection:
        known = read(connection, pipeline, "server/")
    gone = [f"server/{name}" for name in up if f"server/{name}" in known]
    new = {f"server/{name}": why for name, why in away.items()}
    if gone or any(known.get(name, (None, None))[1] != why for name, why in new.items()):
        ledger.transact(lambda c: _put(c, pipeline, gone, new))


def read(connection: Connection, pipeline: str, prefix: str) -> dict[str, tuple[datetime, str]]:
    """By name: (since when, what) of the facts whose name begins so."""
    query = select(S.name, S.at, S.value).where(S.pipeline == pipeline, S.name >= prefix, S.name < prefix + "\x7f")
    return {row.name: (row.at, row.value) for row in connection.execute(query)}


def _put(connection: Connection, pipeline: str, gone: list[str], new: dict[str, str]) -> None:
    connection.execute(delete(tables.sighting).where(S.pipeline == pipeline, S.name.in_(gone)))
    for name, value in new.items():  # `at` stays: away since then
        upsert.put(connection, tables.sighting, {"pipeline": pipeline, "name": name}, {"value": value}, {"at": clock.now()})
