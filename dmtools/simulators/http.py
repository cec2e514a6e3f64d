"""The HTTP side of every simulator: bottle on cheroot, one token, and the faults that hit requests."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from cheroot import server as http_server
from cheroot import wsgi

from dmtools.simulators.faults import FaultsFile, server_error

THREADS = 6
_IDLE_SECONDS = 120
_URI_BYTES = 8190  # as Apache's default: 215 job ids or so


class Http:
    """Answers for one simulator at 127.0.0.1."""

    def __init__(self, name: str, port: int, app: Any, faults: FaultsFile) -> None:
        self._app, self._faults = app, faults
        self._server = _Server(("127.0.0.1", port), self._answer, numthreads=THREADS, timeout=_IDLE_SECONDS)
        self._server.shutdown_timeout = 1
        self._thread = threading.Thread(target=self._server.serve, name=f"http-{name}", daemon=True)

    def prepare(self) -> None:
        """Binds. Raises OSError when the port is taken."""
        self._server.prepare()

    def start(self) -> str:
        """Begins to answer; gives the URL."""
        self._thread.start()
        return f"http://127.0.0.1:{self._server.bind_addr[1]}"

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"] = re.sub("/{2,}", "/", environ["PATH_INFO"])
        fault = self._faults.of_request(environ["REQUEST_METHOD"], path, environ.get("QUERY_STRING", ""))
        if fault is None:
            found: Iterable[bytes] = self._app(environ, start_response)
            return found
        if fault.op == "slow":
            time.sleep(fault.seconds if fault.seconds is not None else 1.0)
        elif fault.op == "http500":
            environ["wsgi.input"].read()
            start_response("500 Internal Server Error", [("Content-Type", "application/json"), ("Connection", "close")])
            return [server_error(fault)]
        elif fault.op == "silent":
            environ["dm.gateway"].keep_silent(fault.seconds)
            return []
        else:
            environ["dm.lose"] = True
        answer: Iterable[bytes] = self._app(environ, start_response)
        if environ.get("dm.lose"):
            list(answer)
            environ["dm.gateway"].lose()
            return []
        return answer


class _OneLine:
    """Reads the request line and collapses the slashes that FTS3's client begins its paths with."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines

    def readline(self) -> bytes:
        line: bytes = self._lines.readline()
        return re.sub(rb"^([A-Z]+ )/{2,}", rb"\1/", line)


class _Request(http_server.HTTPRequest):
    def read_request_line(self) -> bool:
        lines = self.rfile
        self.rfile = _OneLine(lines)
        try:
            if not super().read_request_line():  # type: ignore[no-untyped-call]
                return False
            if len(self.uri) > _URI_BYTES:
                self.simple_response("414 Request-URI Too Long")
                return False
            return True
        finally:
            self.rfile = lines


class _Connection(http_server.HTTPConnection):
    RequestHandlerClass = _Request


class _Gateway(wsgi.Gateway_10):
    def get_environ(self) -> Any:
        environ: Any = super().get_environ()  # type: ignore[no-untyped-call]
        environ["dm.gateway"] = self
        return environ

    def lose(self) -> None:
        """Closes the connection with nothing sent."""
        self.req.close_connection = True
        self.req.sent_headers = True

    def keep_silent(self, seconds: float | None) -> None:
        """Leaves the connection open and unanswered, without a thread; for ever or for so long."""
        self.lose()
        connection = self.req.conn
        connection.linger = True
        _SILENT.append(connection.socket)
        if seconds is not None:
            timer = threading.Timer(seconds, connection.socket.close)
            timer.daemon = True
            timer.start()


_SILENT: list[Any] = []


class _Server(wsgi.Server):
    ConnectionClass = _Connection

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.gateway = _Gateway

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """Clients that go away are no news; what is serious is one line."""
        if level >= 40:
            print(f"dm-sim: {msg}", file=sys.stderr, flush=True)
