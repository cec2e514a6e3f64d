"""How requests come in and answers go out: the token, JSON, errors in FTS3's two shapes."""

from __future__ import annotations

import hmac
import http
import json
from base64 import b64decode
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import bottle
import msgspec

from dmtools.simulators.fts.model import Refused

Route = tuple[str, str, Callable[..., bytes]]
_NAMES = {419: "Authentication Timeout"}


def application(routes: list[Route], token: str) -> bottle.Bottle:
    """The WSGI application of these routes; all of them want the token."""
    app = bottle.Bottle(autojson=False)
    app.default_error_handler = _http_error
    for method, path, handler in routes:
        app.route(path, method, _guarded(handler, token.encode()))
    return app


def _guarded(handler: Callable[..., bytes], token: bytes) -> Callable[..., bytes]:
    def respond(**parts: str) -> bytes:
        try:
            _authenticate(bottle.request, token)
            return handler(**parts)
        except Refused as problem:
            return _told(problem)

    return respond


def _authenticate(request: Any, token: bytes) -> None:
    """Bearer TOKEN, or the token as the password of http://any:TOKEN@host for clients that know no tokens."""
    kind, _, given = (request.get_header("Authorization") or "").partition(" ")
    secret = given.strip().encode()
    if kind.lower() == "basic":
        try:
            secret = b64decode(secret).partition(b":")[2]
        except ValueError:
            secret = b""
    if kind.lower() not in ("bearer", "basic") or not hmac.compare_digest(secret, token):
        raise Refused(401, "Invalid or missing token; the token of this server is in its address file")


def method_of(request: Any) -> str:
    """How the client showed who it is, in FTS3's words."""
    return "oauth2" if (request.get_header("Authorization") or "").lower().startswith("bearer") else "certificate"


def body_of(request: Any) -> Any:
    """The decoded body. Raises Refused(400)."""
    kind = (request.content_type or "").partition(";")[0].strip().lower()
    data = request.body.read()
    if request.method == "PUT" or kind == "application/json":
        return _decoded(data)
    if kind == "application/x-www-form-urlencoded":
        return {key: values[0] for key, values in parse_qs(data.decode("latin-1")).items()}
    raise Refused(400, "Expecting application/json or application/x-www-form-urlencoded")


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:  # what Python's json writes and msgspec refuses, as NaN
        return json.loads(data)
    except (ValueError, RecursionError):
        raise Refused(400, "Badly formatted JSON request") from None


def number(text: str | None) -> int | None:
    """An integer of a query, or None."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def answer(value: Any, status: int = 200) -> bytes:
    """The value as JSON."""
    return answer_text(msgspec.json.encode(value), status)


def answer_text(text: bytes, status: int = 200) -> bytes:
    """JSON that is encoded already."""
    bottle.response.status = status
    bottle.response.content_type = "application/json"
    return text


def _told(problem: Refused) -> bytes:
    status = f"{problem.code} {_NAMES.get(problem.code) or http.HTTPStatus(problem.code).phrase}"
    text = answer({"status": status, "message": problem.message})
    bottle.response.status = status
    return text


def _http_error(error: bottle.HTTPError) -> str:
    bottle.response.content_type = "application/json"
    message = str(error.body) if error.status_code < 500 else "Internal Server Error"
    return json.dumps({"status": error.status_line, "message": message})
