"""What the tests of lta-rest-server share: tokens, raw requests, clients."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dmtools.lta import tokens, wire
from dmtools.lta.api import ADMIN, Books
from dmtools.lta.api.tokens import AddToken
from dmtools.lta.away import Away
from dmtools.lta.books import Who
from tests.lta.bookkeeping import direct


def let_in(home: Path, name: str, role: str, site: str | None = None, days: int | None = None) -> str:
    """A new token."""
    token = tokens.made()
    books = direct(home, who=Who("test", ADMIN))
    books.do(AddToken(name=name, role=role, site=site, days=days, sha256=tokens.hashed(token)))
    books.ledger.close()
    return token


def books_at(url: str, token: str, **more: Any) -> Books:
    """The books of a server."""
    return Away(wire.Wire(url, token, **more))


@dataclass
class Raw:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Asker:
    """Raw requests on one connection; it reconnects when the server has closed it."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)

    def __call__(self, method: str, path: str, body: bytes | None = None, token: str | None = None, **headers: str) -> Raw:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            told["Authorization"] = f"Bearer {token}"
        self._connection.request(method, path, body, told)
        answer = self._connection.getresponse()
        return Raw(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def close(self) -> None:
        self._connection.close()
