"""Plain JSON to lta-rest-server and back: time-outs, retries, one key an order. Needs the standard library and tenacity alone.

A lost answer is asked for again with the same Idempotency-Key: the server gives the same answer and does nothing twice.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
import urllib.request
import uuid
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

ROOT = "/api/v1"
LARGEST = 64 << 20  # bytes of an answer
CONNECT_SECONDS = 5.0  # who doesn't even take a call in so long is called once more
_LOCAL = ("localhost", "127.0.0.1", "::1")


class Away(Exception):
    """Nobody could answer, the text says why; whether an order was carried out is not known: the same may be repeated."""

    wait = 0.0  # seconds that the server asked for


class Refused(Exception):
    """The server answers that it won't: `status` is HTTP's, the text the server's."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Untrusted(Exception):
    """Whoever answers there can't prove to be the server: the text says why. Nothing was sent to it."""


class Wire:
    """A server, asked with a token. Any number of threads may use it; each has a connection of its own."""

    def __init__(self, url: str, token: str, ca_file: str = "", *, seconds: float = 15.0, patience: float = 15.0) -> None:
        """`seconds`: so long an answer may be waited for; `patience`: after so many there is no new attempt, and none waits on.

        Raises Refused for a bad address.
        """
        place = urlsplit(url)
        self.url = url.rstrip("/").removesuffix(ROOT)
        if place.scheme not in ("http", "https") or not place.hostname:
            raise Refused(400, f"{url} is no address of a server; write https://HOST")
        if place.scheme == "http" and place.hostname not in _LOCAL:
            raise Refused(403, f"over {place.scheme} others could read the token on its way to {place.hostname}; write https://")
        self._place, self._token = urlsplit(self.url), token
        self._seconds, self._patience = seconds, patience
        self._trust = ssl.create_default_context(cafile=ca_file or None) if place.scheme == "https" else None
        self._mine = threading.local()
        self._given_up: float | None = None  # when it was found away

    def get(self, path: str, params: dict[str, Any] | None = None) -> Any:
        """Asks. `params` that are None are left out, lists are repeated. Raises Away, Refused, Untrusted."""
        found = [(name, value) for name, value in (params or {}).items() if value is not None]
        asked = urlencode([(name, _word(value)) for name, value in found], doseq=True)
        return self._patiently("GET", path + (f"?{asked}" if asked else ""), None, {})

    def post(self, path: str, body: Any, key: str | None = None) -> Any:
        """Orders; `key` names the order when it is repeated later than here. Raises Away, Refused, Untrusted."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key or uuid.uuid4().hex}
        return self._patiently("POST", path, json.dumps(body).encode(), headers)

    def close(self) -> None:
        """Ends this thread's connection."""
        connection, self._mine.connection = getattr(self._mine, "connection", None), None
        if connection is not None:
            connection.close()

    def _patiently(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        """Who was just found away is asked once, and shortly: a pass that hands back ten things doesn't wait ten times."""
        began = time.monotonic()
        if self._given_up is not None and began - self._given_up < self._patience:
            return self._once(method, path, body, headers, self._seconds / 5)
        try:
            found = self._again_and_again(began, method, path, body, headers)
        except Away:
            self._given_up = time.monotonic()
            raise
        self._given_up = None
        return found

    def _again_and_again(self, began: float, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        try:
            return self._once(method, path, body, headers, self._seconds)
        except Away as problem:
            if time.monotonic() - began + problem.wait >= self._patience:
                raise
            first = problem
        import tenacity  # seldom needed: it costs more than an answer

        def left() -> float:
            return self._patience - (time.monotonic() - began)

        def once() -> Any:
            return self._once(method, path, body, headers, min(self._seconds, max(0.1, left())))

        def wait(state: tenacity.RetryCallState) -> float:
            told = state.outcome.exception() if state.outcome else None
            return max(getattr(told, "wait", 0.0), tenacity.wait_random_exponential(0.2, max=5.0)(state))

        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Away),
            stop=tenacity.stop_before_delay(max(0.0, left())),
            wait=wait,
            reraise=True,
        )
        time.sleep(first.wait)
        return again(once)

    def _once(self, method: str, path: str, body: bytes | None, headers: dict[str, str], seconds: float) -> Any:
        told = {"Authorization": f"Bearer {self._token}", "Accept": "application/json", **headers}
        try:
            connection = self._connection(seconds)
            connection.request(method, f"{self._place.path}{ROOT}{path}", body, told)
            answer = connection.getresponse()
            said = answer.read(LARGEST + 1)
        except ssl.SSLCertVerificationError as problem:
            self.close()
            raise Untrusted(problem.verify_message or str(problem)) from None
        except (OSError, http.client.HTTPException) as problem:
            self.close()
            raise Away(f"{self.url} doesn't answer: {_told(problem, seconds)}") from None
        if answer.will_close or len(said) > LARGEST:
            self.close()
        return self._read(answer, said)

    def _read(self, answer: http.client.HTTPResponse, said: bytes) -> Any:
        status = answer.status
        try:
            found = json.loads(said)
        except ValueError:
            raise Away(f"{self.url} answers {status} with what is no JSON ({said[:40]!r}): another server's?") from None
        if status == 200:
            return found
        why = found.get("why") if isinstance(found, dict) else None
        if status in (429, 500, 502, 503, 504) or why is None:
            problem = Away(f"{self.url} answers {status}: {why or answer.reason}")
            problem.wait = min(60.0, _seconds(answer.getheader("Retry-After")))
            raise problem
        raise Refused(status, str(why))

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        """Open, and waiting at most so long for each part of an answer."""
        found: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        if found is None or found.sock is None:
            found = self._mine.connection = self._to(min(seconds, CONNECT_SECONDS))
            found.connect()
        found.sock.settimeout(seconds)
        return found

    def _to(self, seconds: float) -> http.client.HTTPConnection:
        place, host = self._place, self._place.hostname or ""
        via = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(place.scheme)
        proxy = urlsplit(via if "//" in via else f"//{via}") if via and host not in _LOCAL else None
        at = (host, place.port) if proxy is None else (proxy.hostname or "", proxy.port or 3128)
        if self._trust is None:
            return http.client.HTTPConnection(*at, timeout=seconds)
        connection = http.client.HTTPSConnection(*at, timeout=seconds, context=self._trust)
        if proxy is not None:
            connection.set_tunnel(host, place.port or 443)
        return connection


def segment(text: object) -> str:
    """A part of a path."""
    return quote(str(text), safe="")


def _word(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return list(value) if isinstance(value, (list, tuple)) else value


def _told(problem: Exception, seconds: float) -> str:
    if isinstance(problem, TimeoutError) and not problem.errno:
        return f"not a word in {seconds:.3g} s"
    return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() else 0.0
