"""The page's own JSON endpoint, POST /sync_proxy: what its websocket would tell, asked for without a browser."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from dmtools.dqm.robbing.addresses import Address
from dmtools.dqm.robbing.page import Content, Failed, Refused

JOB = "dqm-source-state"
_AT_ONCE = 200  # documents of one request
_MOST_BYTES = 200 << 20


class NoEndpoint(Exception):
    """The site has none."""


@dataclass
class Endpoint:
    """Headers and documents as far as they are known; each `update` asks for what is new alone. Instants are the source's own."""

    address: Address
    seconds: float
    _headers: dict[str, dict[str, Any]] = field(default_factory=dict)
    _documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    _rev: int | None = None
    _session: Any = None

    def update(self) -> None:
        """Learns of new headers. Raises NoEndpoint, Refused, Failed, requests' RequestException (away)."""
        for message in self._ask({"event": "sync_request", "known_rev": self._rev}):
            if message.get("event") != "update_headers":
                continue
            if self._rev is not None and message["sync_to_rev"] < self._rev:  # another server than before
                self._headers.clear()
                self._documents.clear()
            for header in message["headers"]:
                self._headers[str(header["_id"])] = header
            self._rev = int(message["rev"][1])

    def runs(self) -> tuple[int, ...]:
        """All that it knows, the newest first."""
        return tuple(sorted({run for one in self._headers.values() if (run := _run(one))}, reverse=True))

    def jobs(self, run: int) -> int:
        """How many jobs a run has."""
        return sum(1 for one in self._headers.values() if _run(one) == run and one.get("type") == JOB)

    def revision(self, run: int) -> int:
        """The newest revision of a run's documents."""
        return max((int(one["_rev"]) for one in self._headers.values() if _run(one) == run), default=0)

    def documents(self, run: int) -> list[dict[str, Any]]:
        """All of a run, by their ids. Raises as `update` does."""
        wanted = {key: int(one["_rev"]) for key, one in self._headers.items() if _run(one) == run}
        old = [key for key, rev in wanted.items() if int(self._documents.get(key, {}).get("_rev", -1)) < rev]
        for begin in range(0, len(old), _AT_ONCE):
            for message in self._ask({"event": "request_documents", "ids": old[begin : begin + _AT_ONCE]}):
                if message.get("event") == "update_documents":
                    self._documents |= {str(one["_id"]): one for one in message["documents"]}
        found = [self._documents[key] for key in sorted(wanted) if key in self._documents]
        self._forget(run)
        return found

    def _forget(self, run: int) -> None:
        """Bodies of other runs are not kept: they would only grow."""
        self._documents = {key: one for key, one in self._documents.items() if _run(one) == run}

    def content(self, run: int | None = None) -> Content:
        """A run (None: the newest) as documents.json. Raises as `update` does."""
        known = self.runs()
        if run is None:
            run = known[0] if known else None
        documents = self.documents(run) if run else []
        running = sum(1 for one in documents if one.get("type") == JOB and one.get("exit_code") is None)
        said = {"schema": 1, "run": run, "runs": known, "rev": self._rev or 0, "documents": documents}
        data = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        mark = hashlib.sha256(json.dumps([run, known, documents], sort_keys=True).encode()).hexdigest()
        return Content(run, known, running, "http", print=mark, files={"documents.json": data})

    def _ask(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            answer = self._http().post(
                self.address.endpoint("sync_proxy"),
                json={"messages": [json.dumps(message)]},
                cookies=self.address.cookies,
                timeout=self.seconds,
                allow_redirects=False,
                stream=True,
            )
            with answer:
                body = _body(answer)
        except UnicodeError as problem:
            raise Failed(f"no such address: {problem}") from None
        try:
            found = [json.loads(text) for text in json.loads(body)["messages"]]
            _prove(found)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Failed("/sync_proxy answers with something else than messages") from None
        return found

    def _http(self) -> Any:
        if self._session is None:
            import requests

            self._session = requests.Session()
            self._session.trust_env = False  # no proxy, no ~/.netrc
        return self._session


def _prove(messages: list[Any]) -> None:
    """Raises ValueError, KeyError, TypeError or AttributeError when a message has not the form that is read here."""
    for message in messages:
        if message.get("event") == "update_headers":
            int(message["rev"][1]), int(message["sync_to_rev"])
        for one in (*message.get("headers", ()), *message.get("documents", ())):
            int(one["_rev"]), str(one["_id"])


def _body(answer: Any) -> bytes:
    status = answer.status_code
    if status in (401, 403) or 300 <= status < 400:
        raise Refused(f"/sync_proxy refuses us with HTTP {status}")
    if status in (404, 405, 501):
        raise NoEndpoint(f"/sync_proxy: HTTP {status}")
    if status != 200:
        raise Failed(f"/sync_proxy answers with HTTP {status}")
    parts, size = [], 0
    for part in answer.iter_content(1 << 16):
        parts.append(part)
        if (size := size + len(part)) > _MOST_BYTES:
            raise Failed(f"/sync_proxy gives more than {_MOST_BYTES >> 20} MB")
    return b"".join(parts)


def _run(one: dict[str, Any]) -> int | None:
    """Its run as a number; None when it has none."""
    try:
        return int(one["run"]) or None
    except (KeyError, TypeError, ValueError):
        return None
