"""An order with an Idempotency-Key is carried out once: its answer is kept in its transaction, and a repeat gets it again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import msgspec
from sqlalchemy import Connection, delete, exc, insert, select

from dmtools import names
from dmtools.ledger import Ledger, late, tables
from dmtools.lta.api import Ask, Conflict, Problem
from dmtools.lta.books import Desk, Who, answer_of
from dmtools.lta.direct import transact, writes
from dmtools.settings import Settings

TABLE = tables.lta_answer
_KEEPING = insert(TABLE)
KEPT = timedelta(days=3)
_PRUNED = 3600.0  # seconds between two looks for what is too old
ENCODER = msgspec.json.Encoder()


class Desks:
    """Carries out asks, each in a transaction of its own, and gives their answers as JSON."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger, self._settings = ledger, settings
        self._pruned = 0.0
        self._lock = threading.Lock()

    def do(self, who: Who, ask: Ask, key: str = "") -> bytes:
        """The answer; `key` names the order. Raises Problem, LedgerUnavailable."""
        if not writes(ask):
            with self._ledger.read() as connection:
                return self._answer(connection, who, ask)
        if not key:
            return transact(self._ledger, lambda c: self._answer(c, who, ask))
        answer_key, ask_key = names.key(f"{who.name}\n{key}"), _key_of(ask)

        def once(connection: Connection) -> bytes:
            desk = Desk(connection, self._ledger, who, self._settings)
            found = ENCODER.encode(answer_of(desk, ask))
            row = {"answer_key": answer_key, "ask_key": ask_key, "answer": found.decode(), "at": desk.now}
            late.execute(connection, _KEEPING, [row])
            return found

        found = self._once(once, answer_key, ask_key)
        self._prune()
        return found

    def _answer(self, connection: Connection, who: Who, ask: Ask) -> bytes:
        return ENCODER.encode(answer_of(Desk(connection, self._ledger, who, self._settings), ask))

    def _once(self, work: Callable[[Connection], bytes], answer_key: bytes, ask_key: bytes) -> bytes:
        """Most orders come once: so the work is done first, and what was kept is looked for when it can't be booked."""
        try:
            return transact(self._ledger, work, lambda: self._kept(answer_key, ask_key))
        except Problem:
            kept = self._kept(answer_key, ask_key)
            if kept is None:
                raise
            return kept

    def _kept(self, answer_key: bytes, ask_key: bytes) -> bytes | None:
        with self._ledger.read() as connection:
            query = select(TABLE.c.ask_key, TABLE.c.answer).where(TABLE.c.answer_key == answer_key)
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        if row.ask_key != ask_key:
            raise Conflict("the Idempotency-Key was used for another order; nothing was changed; take a new key for each order")
        return str(row.answer).encode()

    def _prune(self) -> None:
        with self._lock:
            if time.monotonic() - self._pruned < _PRUNED:
                return
            self._pruned = time.monotonic()

        def old(connection: Connection) -> None:
            past = self._ledger.now(connection) - KEPT
            keys = select(TABLE.c.answer_key).where(TABLE.c.at < past).limit(5000)
            found = list(connection.execute(keys).scalars())
            for first in range(0, len(found), 500):
                connection.execute(delete(TABLE).where(TABLE.c.answer_key.in_(found[first : first + 500])))

        try:
            self._ledger.transact(old)
        except exc.IntegrityError:
            return


def _key_of(ask: Ask) -> bytes:
    return names.key(f"{type(ask).__name__}\n{ENCODER.encode(ask).decode()}")
