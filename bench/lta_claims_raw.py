"""The control of bench/lta_claims.py: the statements of a claim and its changes of state by the database's driver alone.

Nothing is checked, no ask is read, no transaction is repeated: what is left is what driver and database cost.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import Engine

from dmtools import clock
from dmtools.ledger import journal, late, tables
from dmtools.lta.api.bundles import Bundle
from dmtools.lta.books import claims, rows
from dmtools.lta.states import JSON_MADE, STATES, UNTOUCHED

TABLE = tables.lta_bundle
LEASE = timedelta(seconds=600)
SECONDS = "%Y-%m-%d %H:%M:%S.%f"


def texts(engine: Engine) -> dict[str, tuple[str, dict[str, Any]]]:
    """The statements as the books ask them, each with the values that stand in itself."""
    packed = (rows._packed(TABLE, Bundle),)
    values = ("_id", "_before", "state", "since", "holder", "ready")
    entry = ("at", "pipeline", "kind", "from_state", "to_state", "by", "why")
    count = ("pipeline", "state", "n", "bytes")
    made: dict[str, tuple[Any, tuple[str, ...]]] = {
        "claim": (claims._claiming(TABLE, packed, ("destination",), False), ("now", "state", "destination", "most")),
        "take": (claims._taking(TABLE), ("holder", "ready", "_id")),
        "lock": (rows._locking(TABLE, packed), ("ids",)),
        "move": (journal._moving(TABLE, values, many=True), values),
        "record": (journal._entries(TABLE, entry), (*entry, "_id")),
        "tally": (journal._upsert(tables.tally), (*count, "shard")),
        "flow": (journal._upsert(tables.flow), (*count, "bucket")),
    }
    compiled = {name: late._compiled(statement, engine, names) for name, (statement, names) in made.items()}
    return {name: (text, fixed) for name, (text, _, fixed) in compiled.items()}


def client(engine: Engine, number: int, most: int) -> Callable[[], list[int]]:
    """A connection of its own; each call claims so many and changes their states, and gives their ids."""
    raw: Any = engine.raw_connection().driver_connection
    cursor, asked, decode = raw.cursor(), texts(engine), msgspec.json.Decoder(Bundle).decode
    cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")

    def together(*statements: tuple[str, dict[str, Any]]) -> None:
        told = (cursor.mogrify(asked[name][0], {**asked[name][1], **values}) for name, values in statements)
        cursor.execute(";".join([*told, "COMMIT"]))
        while cursor.nextset():
            pass

    def read(name: str, values: dict[str, Any]) -> list[Bundle]:
        cursor.execute(asked[name][0], values)
        return [decode(packed) for (packed,) in cursor.fetchall()]

    def pair() -> list[int]:
        at = clock.now()
        now = at.strftime(SECONDS)
        found = read("claim", {"state": UNTOUCHED, "destination": "nersc", "now": now, "most": most})
        if not found:
            raw.rollback()
            return []
        ids = tuple(one.id for one in found)
        over = (at + LEASE).strftime(SECONDS)
        together(("take", {"ready": over, "holder": f"client {number}", "_id": ids}))
        size = sum(one.size for one in read("lock", {"ids": ids}))
        change = {"_id": ids, "_before": UNTOUCHED, "state": JSON_MADE, "since": now, "ready": now, "holder": None}
        entry = {"at": now, "pipeline": STATES.pipeline, "kind": STATES.kind, "from_state": UNTOUCHED, "to_state": JSON_MADE}
        came = {"pipeline": STATES.pipeline, "state": JSON_MADE, "n": len(ids), "bytes": size}
        left = {"pipeline": STATES.pipeline, "state": UNTOUCHED, "n": -len(ids), "bytes": -size}
        shard, bucket = {"shard": number % journal.SHARDS}, {"bucket": journal.bucket_of(at).strftime(SECONDS)}
        together(
            ("move", change),
            ("record", {**entry, "by": "bench", "why": None, "_id": ids}),
            *(("tally", {**one, **shard}) for one in (came, left)),
            ("flow", {**came, **bucket}),
        )
        return list(ids)

    return pair
