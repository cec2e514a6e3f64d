"""What the tests of lta-rest-server share: tokens, raw requests, clients."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
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
from tests.support import TEST_MARK, command, environment, wait_until


def let_in(home: Path, name: str, role: str, site: str | None = None, days: int | None = None) -> str:
    """A new token."""
    token = tokens.made()
    books = direct(home, who=Who("test", ADMIN))
    books.do(AddToken(name=name, role=role, site=site, days=days, sha256=tokens.hashed(token)))
    books.ledger.close()
    return token


def served(template: Path) -> Iterator[tuple[Path, str]]:
    """A HOME and its server for all tests of a module, which leave each other's tokens and bundles alone."""
    mark = os.environ.pop(TEST_MARK, None)  # it outlives the test that came first
    with tempfile.TemporaryDirectory(prefix="dmt-", dir="/tmp") as place:
        home, log = Path(place, "home"), Path(place, "log")
        shutil.copytree(template, home)
        with log.open("wb") as out:
            argv = command("lta-rest-server", "--port", 0)
            server = subprocess.Popen(argv, env=environment(home), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            wait_until(lambda: b"listening on" in log.read_bytes() or server.poll(), 60, "lta-rest-server listens")
            if mark:
                os.environ[TEST_MARK] = mark
            yield home, log.read_text().partition("listening on ")[2].split()[0]
        finally:
            server.terminate()
            server.wait(60)


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
