"""An FTS server whose jobs do exactly what a test says: every state, every odd answer, every request written down."""

from __future__ import annotations

import json
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dmtools.names import path_of

BASE_ID = uuid.UUID("01874efb-4735-4595-bc9c-591aef8240c9")
ENDED = ("FINISHED", "FAILED", "CANCELED")
GONE = {"http_status": "404 Not Found"}


@dataclass
class File:
    """One file of a job."""

    source: str
    destination: str
    checksum: str = ""
    state: str = "SUBMITTED"
    reason: str | None = None

    def shown(self) -> dict[str, Any]:
        found = {"source_surl": self.source, "dest_surl": self.destination, "file_state": self.state, "reason": self.reason}
        return found | {"start_time": None, "finish_time": None, "file_metadata": None, "file_id": hash(self.destination)}


@dataclass
class Job:
    """One job; `params` and `files` as they were sent."""

    id: str
    params: dict[str, Any]
    sent: list[dict[str, Any]]
    files: list[File]
    state: str = "SUBMITTED"
    reason: str | None = None

    @property
    def paths(self) -> list[str]:
        """The last part of each destination."""
        return [file.destination.rpartition("/")[2] for file in self.files]

    def chosen(self, words: Sequence[str]) -> list[File]:
        return [file for file in self.files if not words or any(word in file.destination for word in words)]

    def finish(self, *words: str) -> Job:
        """These files (all) arrive: local ones are copied really, as far as overwriting is allowed."""
        for file in self.chosen(words):
            target = path_of(file.destination) if file.destination.startswith("file:") else None
            if target is not None and target.exists() and not self.params["overwrite"]:
                self.fail("DESTINATION [17] Destination file exists and overwrite is not enabled", file.destination)
                continue
            if target is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path_of(file.source), target)
            file.state, file.reason = "FINISHED", ""
        return self.over()

    def fail(self, reason: str, *words: str, state: str = "FAILED") -> Job:
        """These files (all) end like this."""
        for file in self.chosen(words):
            file.state, file.reason = state, reason
        return self.over()

    def over(self) -> Job:
        """The job's own state follows its files', as the real server's does."""
        states = {file.state for file in self.files}
        if states <= set(ENDED):
            self.state = states.pop() if len(states) == 1 else "FINISHEDDIRTY" if "FINISHED" in states else "FAILED"
        return self

    def shown(self, fields: bool) -> dict[str, Any]:
        found = {"job_id": self.id, "job_state": self.state, "reason": self.reason, "http_status": "200 Ok"}
        return found | ({"files": [file.shown() for file in self.files]} if fields else {})


Answer = tuple[int, bytes] | Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Odd:
    """Requests that match get this answer; so often (None: always)."""

    pattern: str
    answer: Answer
    times: int | None = None
    act: bool = False  # is the request carried out all the same?


@dataclass
class FakeFts:
    """The server. `requests` holds (method, path with query) of all that came in."""

    vo: str = "demo"
    url: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    odd: list[Odd] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def answers(self, pattern: str, answer: Answer, times: int | None = None, *, act: bool = False) -> None:
        """An odd answer to requests like `POST /jobs`."""
        self.odd.append(Odd(pattern, answer, times, act))

    def job(self, number: int = -1) -> Job:
        """A job by the order of submission."""
        return list(self.jobs.values())[number]

    def asked(self, pattern: str) -> list[str]:
        """The paths of the requests like this."""
        return [path for method, path in self.requests if re.search(pattern, f"{method} {path}")]

    # ---- routes

    def handle(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if method == "GET" and path == "/":
            return 200, {"api": {"major": 3, "minor": 14, "patch": 2}, "delegation": {}, "schema": {}}
        if path == "/whoami":
            return 200, {"vos": [self.vo], "delegation_id": "d", "user_dn": "/CN=me"}
        if method == "POST" and path == "/jobs":
            return self._submit(json.loads(body))
        ids = urlsplit(path).path.removeprefix("/jobs/").split(",")
        if method == "DELETE":
            return self._cancel(ids[0])
        fields = "files=" in path
        found = [
            self.jobs[i].shown(fields) if i in self.jobs else {"job_id": i, **GONE, "http_message": f"No job {i}"} for i in ids
        ]
        missing = any(i not in self.jobs for i in ids)
        return (404 if missing else 200, found[0]) if len(ids) == 1 else (207 if missing else 200, found)

    def _submit(self, told: dict[str, Any]) -> tuple[int, Any]:
        job = str(uuid.uuid5(uuid.uuid5(BASE_ID, self.vo), told["params"]["sid"]))
        if job in self.jobs:
            return 409, {"status": "409 Conflict", "message": "The sid provided by the user is duplicated"}
        files = [File(f["sources"][0], f["destinations"][0], f.get("checksum", "")) for f in told["files"]]
        self.jobs[job] = Job(job, told["params"], told["files"], files)
        return 200, {"job_id": job}

    def _cancel(self, job: str) -> tuple[int, Any]:
        if job not in self.jobs:
            return 404, {"job_id": job, **GONE}
        for file in self.jobs[job].files:
            if file.state not in ENDED:
                file.state, file.reason = "CANCELED", "Job canceled by the user"
        self.jobs[job].over()
        return 200, self.jobs[job].shown(False)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fake: FakeFts

    def log_message(self, *_: object) -> None:
        return

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = re.sub("^/+", "/", self.path)
        with self.fake.lock:
            self.fake.requests.append((self.command, path))
            odd = next((o for o in self.fake.odd if o.times != 0 and re.search(o.pattern, f"{self.command} {path}")), None)
            if odd is not None and odd.times is not None:
                odd.times -= 1
            answer = self.fake.handle(self.command, path, body) if odd is None or odd.act else None
        if odd is None and answer is not None:
            self.send(answer[0], json.dumps(answer[1]).encode())
        elif odd is not None and callable(odd.answer):
            odd.answer(self)
        elif odd is not None:
            self.send(*odd.answer)

    def send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names that http.server calls


@contextmanager
def fake_fts(vo: str = "demo") -> Iterator[FakeFts]:
    """A running server on a free port of 127.0.0.1."""
    fake = FakeFts(vo)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": fake}))
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


# ---- odd answers ------------------------------------------------------------------------------------------------------


def nothing(handler: BaseHTTPRequestHandler) -> None:
    """The connection is closed without a word."""
    handler.close_connection = True


def silence(handler: BaseHTTPRequestHandler) -> None:
    """No word, and the connection stays; until the client goes."""
    handler.connection.settimeout(30)
    try:
        handler.connection.recv(1)
    except OSError:
        pass
    handler.close_connection = True


def drip(handler: BaseHTTPRequestHandler, *, head: bool = False) -> None:
    """A byte now and then, for ever: no single wait is long."""
    handler.close_connection = True
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    try:
        if not head:
            handler.wfile.write(text)
        for n in range(300):
            handler.wfile.write(text[n : n + 1] if head and n < len(text) - 2 else b"h" if head else b" ")
            handler.wfile.flush()
            if _gone(handler, 0.1):
                return
    except OSError:
        return


def drip_head(handler: BaseHTTPRequestHandler) -> None:
    """The same within the answer's head."""
    drip(handler, head=True)


def _gone(handler: BaseHTTPRequestHandler, seconds: float) -> bool:
    """Waits, and says whether the client went away meanwhile."""
    handler.connection.settimeout(seconds)
    try:
        return handler.connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


HTML = (200, b"<html><body>Please sign in</body></html>")
HTML_400 = (400, b"<html><body>400 The plain HTTP request was sent to HTTPS port</body></html>")
TRUNCATED = (200, b'{"job_id": "75f11bfc-930b-5370-a75b-da41256c7')
BROKEN = (500, b'{"status":"500 Internal Server Error","message":"database is away"}')
BUSY = (503, b"")


def target(home: Path, lfn: str) -> Path:
    """Where an LFN goes by the default rule."""
    return home / "demo/echo" / lfn.lstrip("/")
