"""Who asks: the bearer token of a request, looked up by its hash; and how often each may ask."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from dmtools.ledger import Ledger, tables
from dmtools.lta.books import Who

TABLE = tables.lta_token.c
REMEMBERED = 2.0  # seconds that a token which was found good is not looked up again: so soon a revoked one is out
_MANY = 10_000


class NobodyKnown(Exception):
    """No token, a wrong one, an expired or revoked one: nobody says which."""


@dataclass(frozen=True)
class _Seen:
    who: Who
    expires: datetime | None
    until: float


class Doorman:
    """Lets in who has a good token."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen: dict[bytes, _Seen] = {}

    def who(self, header: str) -> Who:
        """The owner of the token of `Authorization: Bearer TOKEN`. Raises NobodyKnown, LedgerUnavailable."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise NobodyKnown
        key = hashlib.sha256(token.strip().encode("latin-1", "replace")).digest()
        seen = self._seen.get(key)
        if seen is None or seen.until < time.monotonic():
            seen = self._look(key)
        return seen.who

    def _look(self, key: bytes) -> _Seen:
        columns = (TABLE.token_key, TABLE.name, TABLE.role, TABLE.site, TABLE.expires, TABLE.revoked)
        with self._ledger.read() as connection:
            row = connection.execute(select(*columns).where(TABLE.token_key == key)).one_or_none()
            now = self._ledger.now(connection)
        if row is None or not hmac.compare_digest(row.token_key, key) or row.revoked is not None:
            self._seen.pop(key, None)
            raise NobodyKnown
        if row.expires is not None and row.expires <= now:
            self._seen.pop(key, None)
            raise NobodyKnown
        left = REMEMBERED if row.expires is None else min(REMEMBERED, (row.expires - now).total_seconds())
        if len(self._seen) > _MANY:
            self._seen.clear()
        found = self._seen[key] = _Seen(Who(row.name, row.role, row.site), row.expires, time.monotonic() + left)
        return found


class Gate:
    """So many requests a second for each token, saved up for two seconds; 0: any number."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._left: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def wait(self, name: str) -> float:
        """Seconds to wait before the next request; 0: this one may pass, and is counted."""
        if not self._rate:
            return 0.0
        now, most = time.monotonic(), 2.0 * self._rate
        with self._lock:
            left, at = self._left.get(name, (most, now))
            left = min(most, left + (now - at) * self._rate)
            passes = left >= 1
            self._left[name] = (left - passes, now)
        return 0.0 if passes else (1 - left) / self._rate
