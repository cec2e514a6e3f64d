"""The WSGI application: first who asks, then what; every answer is JSON, every refusal says why."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import bottle

from dmtools.ledger import Ledger, LedgerUnavailable
from dmtools.lta.api import Ask, Problem
from dmtools.lta.books import Who, allow
from dmtools.lta.books.registry import FUNCTIONS
from dmtools.lta.server import metrics, openapi
from dmtools.lta.server.answers import ENCODER, Desks
from dmtools.lta.server.letting_in import Doorman, Gate, NobodyKnown
from dmtools.lta.server.reading import BODY_BYTES, TooLarge, ask_of, drain
from dmtools.lta.wire import ROOT
from dmtools.settings import Settings

HEALTH, DESCRIPTION, METRICS = "/healthz", f"{ROOT}/openapi.json", f"{ROOT}/metrics"
_WHO = "no token that is good here; it goes into the header: Authorization: Bearer TOKEN, never into the address"
_IN_ADDRESS = "a token in an address ends in logs: have this one revoked, and put the next into the header Authorization"
_TOKEN_NAMES = ("token=", "access_token=", "api_key=", "authorization=")
_KEY = re.compile("[A-Za-z0-9_-]{1,255}")


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def refusal(status: int, why: str, *headers: tuple[str, str]) -> Answer:
    """A refusal: `{"status", "error", "why"}`."""
    body = ENCODER.encode({"status": status, "error": HTTPStatus(status).phrase, "why": why})
    return Answer(status, body, headers=headers)


class Application:
    """Answers by `wsgi`, on any number of threads."""

    def __init__(self, ledger: Ledger, settings: Settings, log: Callable[[str], None]) -> None:
        self._ledger, self._settings, self._log = ledger, settings, log
        self._doorman, self._gate = Doorman(ledger), Gate(settings.lta.rate)
        self._desks, self._counts = Desks(ledger, settings), metrics.Counts()
        self._routes = bottle.Bottle(catchall=False)
        for kind in FUNCTIONS:
            path = kind.PATH.replace("{id}", "<id:re:[0-9]+>").replace("{", "<").replace("}", ">")
            self._routes.route(ROOT + path, kind.METHOD, kind)
        self._routes.route(METRICS, "GET", metrics.text)
        self._description = ENCODER.encode(openapi.description())

    def wsgi(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answers a request."""
        began = time.monotonic()
        method, route = environ["REQUEST_METHOD"], ["?"]
        answer = self._answer(environ, route)
        if answer.status >= 400:
            drain(environ)
        self._counts.add(method, route[0], answer.status, time.monotonic() - began)
        headers = [("Content-Type", answer.kind), ("Content-Length", str(len(answer.body))), ("Cache-Control", "no-store")]
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", [*headers, *answer.headers])
        return [b"" if method == "HEAD" else answer.body]

    def _answer(self, environ: dict[str, Any], route: list[str]) -> Answer:
        try:
            return self._open(environ, route) or self._for_one_who_is_known(environ, route)
        except NobodyKnown:
            return refusal(401, _WHO, ("WWW-Authenticate", 'Bearer realm="lta"'))
        except Problem as problem:
            return refusal(problem.status, str(problem))
        except TooLarge:
            return refusal(413, f"the body has more than {BODY_BYTES} bytes; send fewer things at once")
        except bottle.HTTPError as problem:
            allowed = problem.get_header("Allow")
            why = "there is no such address here" if problem.status_code == 404 else f"this address takes {allowed}"
            return refusal(problem.status_code, why, *([("Allow", str(allowed))] if allowed else []))
        except LedgerUnavailable as problem:
            self._log(f"503: {problem}")
            return refusal(503, "the database can't be used now; nothing is known of this order: repeat it", ("Retry-After", "2"))
        except Exception as problem:  # noqa: BLE001 - the last line of defence: a sentence, never a traceback
            self._log(f"500: {route[0]}: {''.join(traceback.format_exception(problem))}")
            return refusal(500, "an error of the server; its log says more")

    def _open(self, environ: dict[str, Any], route: list[str]) -> Answer | None:
        path = environ.get("PATH_INFO", "")
        if path not in (HEALTH, DESCRIPTION) or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return None
        route[0] = path
        if path == DESCRIPTION:
            return Answer(200, self._description)
        return Answer(200, f"{self._health()}\n".encode(), "text/plain; charset=utf-8")

    def _health(self) -> str:
        try:
            with self._ledger.read() as connection:
                connection.exec_driver_sql("SELECT 1")
        except LedgerUnavailable:
            return "degraded"
        return "ok"

    def _for_one_who_is_known(self, environ: dict[str, Any], route: list[str]) -> Answer:
        who = self._doorman.who(environ.get("HTTP_AUTHORIZATION", ""))
        if wait := self._gate.wait(who.name):
            return refusal(429, f"{who.name} asks too often: {self._settings.lta.rate} requests a second", *_later(wait))
        query = str(environ.get("QUERY_STRING", "")).lower()
        if any(name in query for name in _TOKEN_NAMES):
            return refusal(400, _IN_ADDRESS)
        if environ.get("PATH_INFO") in (HEALTH, DESCRIPTION):
            return refusal(405, "this address takes GET", ("Allow", "GET"))
        found, fields = self._routes.match(environ)
        if found.callback is metrics.text:
            route[0] = METRICS
            return Answer(200, metrics.text(self._desks, who, self._counts).encode(), metrics.KIND)
        kind: type[Ask] = found.callback
        route[0] = kind.PATH
        return self._do(environ, who, kind, fields)

    def _do(self, environ: dict[str, Any], who: Who, kind: type[Ask], fields: dict[str, str]) -> Answer:
        allow(who, kind)
        key = environ.get("HTTP_IDEMPOTENCY_KEY")
        if key is not None and kind.METHOD == "POST" and not _KEY.fullmatch(key):
            return refusal(400, "an Idempotency-Key has 1 to 255 letters, digits, - and _")
        return Answer(200, self._desks.do(who, ask_of(kind, environ, fields), key or ""))


def _later(seconds: float) -> list[tuple[str, str]]:
    return [("Retry-After", str(max(1, round(seconds))))]
