"""What a pass last saw of the world around it (a server away, free space): one row a fact, for those who only read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, delete, select

from dmtools import clock
from dmtools.ledger import tables, upsert
from dmtools.ledger.engine import Ledger

S = tables.sighting.c
AWAY, REFUSED = "server/", "credentials/"


def servers(
    ledger: Ledger, pipeline: str, up: Iterable[str], away: dict[str, str], refused: dict[str, str] | None = None
) -> None:
    """Which servers are away or refuse our credentials, why, and since when; written only when that changed."""
    with ledger.read() as connection:
        known = {**read(connection, pipeline, AWAY), **read(connection, pipeline, REFUSED)}
    refused = refused or {}
    new = {**{AWAY + name: why for name, why in away.items()}, **{REFUSED + name: why for name, why in refused.items()}}
    told = {*up, *away, *refused}
    gone = [name for name in known if name.partition("/")[2] in told and name not in new]
    if gone or any(known.get(name, (None, None))[1] != why for name, why in new.items()):
        ledger.transact(lambda c: _put(c, pipeline, gone, new))


def read(connection: Connection, pipeline: str, prefix: str) -> dict[str, tuple[datetime, str]]:
    """By name: (since when, what) of the facts whose name begins so."""
    query = select(S.name, S.at, S.value).where(S.pipeline == pipeline, S.name >= prefix, S.name < prefix + "\x7f")
    return {row.name: (row.at, row.value) for row in connection.execute(query)}


def servers_seen(connection: Connection, pipeline: str, how: str) -> dict[str, tuple[datetime, str]]:
    """By the server's name: (since when, why) of those that are AWAY, or REFUSED us."""
    return {name.removeprefix(how): seen for name, seen in read(connection, pipeline, how).items()}


def _put(connection: Connection, pipeline: str, gone: list[str], new: dict[str, str]) -> None:
    connection.execute(delete(tables.sighting).where(S.pipeline == pipeline, S.name.in_(gone)))
    for name, value in new.items():  # `at` stays: away since then
        upsert.put(connection, tables.sighting, {"pipeline": pipeline, "name": name}, {"value": value}, {"at": clock.now()})
