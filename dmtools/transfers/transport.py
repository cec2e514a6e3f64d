"""The transport under the `fts3` client: kept connections, a deadline over each whole answer, the server's own words kept.

urllib3 alone does it; the layers of `requests` above it cost more than all the rest of a submission.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import threading
import time
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from fts3.rest.client.exceptions import BadEndpoint
from fts3.rest.client.request import Request

CHUNK = 1 << 16
_call = threading.local()  # `end`: when the call that this thread makes has to be over


class NoAnswer(Exception):
    """Nothing, or not all, came back: nobody knows whether the act was done."""


class Duplicate(Exception):
    """409: this sid, or one of the destinations, is already known there."""


class _Until(io.RawIOBase):
    """A socket's bytes until the call's end: a server that sends one now and then makes no call last for ever."""

    def __init__(self, sock: Any, raw: Any) -> None:
        self._sock, self._raw, self._end = sock, raw, _call.end

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Raises TimeoutError at the call's end."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("no whole answer within its time")
        self._sock.settimeout(left)
        found: int | None = self._raw.readinto(buffer)
        return found

    def close(self) -> None:
        """Closes what is below."""
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *rest: Any, **named: Any) -> None:
        super().__init__(sock, *rest, **named)
        self.fp = io.BufferedReader(_Until(sock, self.fp.detach()))


class _Http(urllib3.connection.HTTPConnection):
    response_class = _Response


class _Https(urllib3.connection.HTTPSConnection):
    response_class = _Response


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Https


class Transport(Request):  # type: ignore[misc]
    """What the client's Context sends through: `request_class=`."""

    deadline_seconds = 30.0
    _kept: urllib3.PoolManager | None = None

    def method(self, method: str, url: str, body: Any = None, headers: dict[str, str] | None = None, **_: Any) -> str:
        """As the client's, but 207 is no error (each item says its own), 409 keeps its text, and a 400 must be the server's own.

        Raises NoAnswer.
        """
        head = {"Accept": "application/json", **(headers or {})}
        if self.fts_access_token:
            head["Authorization"] = f"Bearer {self.fts_access_token}"
        _call.end = time.monotonic() + self.deadline_seconds
        sent = body.encode("utf-8") if isinstance(body, str) else body
        try:
            answer = self._pool(url).request(
                method,
                url,
                body=sent,
                headers=head,
                timeout=urllib3.Timeout(connect=self.connectTimeout, read=self.timeout),
                redirect=False,
                retries=False,
                preload_content=False,
            )
            text = self._read(answer)
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            raise NoAnswer(" ".join(str(problem).split())[:300] or type(problem).__name__) from None
        if answer.status == 409:
            raise Duplicate(_message(text))
        if 300 <= answer.status < 400:
            raise BadEndpoint(f"{url} sends us elsewhere ({answer.status})")
        if answer.status == 400 and not _is_told(text):
            raise BadEndpoint(f"{url} gave a 400 that is not an FTS server's: {text[:200]}")
        if answer.status != 207:
            self._handle_error(url, answer.status, text)
        return text

    def _pool(self, url: str) -> urllib3.PoolManager:
        if self._kept is None:
            options: dict[str, Any] = {"maxsize": 8, "cert_file": self.ucert, "key_file": self.ukey}
            options["cert_reqs"] = "CERT_REQUIRED" if self.verify else "CERT_NONE"
            if self.verify and os.path.exists(self.capath):
                options["ca_cert_dir" if os.path.isdir(self.capath) else "ca_certs"] = self.capath
            proxy = _proxy(url)
            self._kept = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
            self._kept.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        return self._kept

    def _read(self, answer: urllib3.BaseHTTPResponse) -> str:
        parts = []
        try:
            while part := answer.read1(CHUNK):
                parts.append(part)
        except BaseException:
            answer.close()
            raise
        answer.release_conn()
        return b"".join(parts).decode("utf-8", "replace")


def _proxy(url: str) -> str | None:
    """The web proxy of the environment for this server; none for this very machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("localhost", "::1") or host.startswith("127.") or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)


def _is_told(text: str) -> bool:
    """Is this an error in FTS's own form? A web server or gateway before it says 400 too, and knows nothing of jobs."""
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, dict) and isinstance(found.get("message"), str)


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200]
