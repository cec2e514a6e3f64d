"""A WSGI application on cheroot: where it may listen, what it says and logs, the headers of every answer, a clean end."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import json
import os
import re
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import click
from cheroot import server as http_server
from cheroot import wsgi

from dmtools.command.log import LogFile
from dmtools.command.run import Context, Refused, Unavailable
from dmtools.settings import Settings

_CONTENT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# On every page and answer, those of cheroot itself included. No script, style or picture from elsewhere, none inside a page.
HEADERS = (
    ("Content-Security-Policy", _CONTENT),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_NAMES = frozenset(name.lower() for name, _ in HEADERS)
_BODY_BYTES, _HEAD_BYTES = 64 << 10, 32 << 10
_IDLE_SECONDS = 10
_CLOSING_SECONDS = 3
_CONNECTIONS = 500  # that wait for their next request; each costs a socket, no thread
_PEEK_BYTES = 8192
_ANSWER_BYTES = 512 << 10  # that the kernel may hold for a slow reader: no thread waits for him


TAKE = "dmtools.take"  # in the environ of a request: gives its socket to the application, which answers by itself


def refuse_open_host(host: str, *, behind_proxy: bool, danger: str = "read the passwords") -> None:
    """Raises Refused when passwords would go over plain http to where other machines can hear them, or another `danger`."""
    if not behind_proxy and not _is_local(host):
        raise Refused(
            f"--host {host} can be reached from other machines, and over plain http others could {danger}; "
            "put a web server that speaks https before it and say --behind-proxy, or leave it at 127.0.0.1"
        )


def tell(context: Context, url: str) -> None:
    """The line that says that a server is ready; at its end it has nothing more to say."""
    said = f"listening on {url}"
    click.echo(json.dumps({"schema": 1, "url": url, "said": said}) if context.as_json else said)
    sys.stdout.flush()
    context.as_json, context.answer = False, {}


def until_a_signal() -> NoReturn:
    """Waits until SIGTERM or SIGINT raises Stopped here."""
    while True:  # Python sees a signal that came in the last moment before a sleep only after it
        time.sleep(0.5)


class Diary:
    """HOME/log/NAME-*.log for a process that outlives its files: each line goes to the file of its time."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings, self._name = settings, name

    def write(self, text: str) -> None:
        """One line, or a block."""
        file = LogFile(self._settings.home / "log", self._name, self._settings.log)
        file.write(text)
        file.close()


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as problem:
        raise Refused(f"--host {host!r} is no address of this machine: {problem}") from None
    return bool(host) and all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found)


class HttpServer:
    """Answers by `application` on `threads` threads, from `start` to `stop`. More threads convoy on the interpreter's lock."""

    def __init__(
        self,
        application: Callable[..., Iterable[bytes]],
        host: str,
        port: int,
        threads: int,
        *,
        tls: Any = None,
        body_bytes: int = _BODY_BYTES,
        at_once: Callable[[bytes], int] | None = None,
    ) -> None:
        """`tls`: cheroot's adapter for https; `body_bytes`: longer bodies are refused unseen, 0: the application does it.

        `at_once` is told the head of a GET that has come whole, and gives how many bytes the answer may have, when it waits for
        nothing; else 0. The thread that waits for all connections then answers by itself, as long as the kernel takes so many
        bytes without waiting for the reader: handing over to another thread costs more than such an answer.
        """
        self._host, self._port, self._scheme = host, port, "http" if tls is None else "https"
        self._http = _Http((host, port), with_headers(application), numthreads=threads, timeout=_IDLE_SECONDS)
        self._http.ssl_adapter, self._http.max_request_body_size = tls, body_bytes
        self._http.at_once = at_once
        self._thread = threading.Thread(target=self._http.serve, name="http", daemon=True)

    def start(self) -> str:
        """Binds and begins to answer; gives the URL. Raises Unavailable when the address can't be had."""
        try:
            self._http.prepare()
        except OSError as problem:
            raise _no_address(self._host, self._port, problem) from None
        sys.setswitchinterval(0.001)  # a request must not wait long for the thread that reads the tables
        self._thread.start()
        shown = f"[{self._host}]" if ":" in self._host else self._host
        return f"{self._scheme}://{shown}:{self._http.bind_addr[1]}"

    def stop(self) -> None:
        """Answers what has begun, for a few seconds at most, and closes; the process is to end then."""
        closing = threading.Thread(target=self._http.stop, name="closing", daemon=True)
        closing.start()
        closing.join(_CLOSING_SECONDS)  # cheroot itself would wait for an answer that hangs in the database


def _no_address(host: str, port: int, problem: OSError) -> Unavailable:
    found = re.search(r"\[Errno (\d+)\]", str(problem))  # cheroot keeps the number in its text alone
    number = problem.errno or (int(found[1]) if found else 0)
    subject, left = f"{host}:{port}", "choose another with --port N; --port 0 takes any free one"
    if number == errno.EADDRINUSE:
        return Unavailable("no port", subject, "another program listens there", left)
    if number == errno.EACCES:
        return Unavailable("no port", subject, "only root may listen there", left)
    why = os.strerror(number) if number else str(problem)
    return Unavailable("no address", subject, why, "give an address of this machine with --host")


def with_headers(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The application, each of whose answers has HEADERS."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            own = [header for header in headers if header[0].lower() not in _NAMES]
            return start_response(status, [*own, *HEADERS], *rest)

        return application(environ, start)

    return answer


class _Request(http_server.HTTPRequest):
    def simple_response(self, status: Any, msg: str = "") -> None:
        """What cheroot refuses by itself (no HTTP, too long) gets the headers, too: they follow the line of the status."""
        lines = "\r\n".join(f"{name}: {value}" for name, value in HEADERS)
        super().simple_response(f"{status}\r\n{lines}", msg)


class _Connection(http_server.HTTPConnection):
    RequestHandlerClass = _Request

    def __init__(self, server: Any, sock: socket.socket, *rest: Any) -> None:
        super().__init__(server, sock, *rest)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ANSWER_BYTES)


class _Gateway(wsgi.Gateway_10):
    def get_environ(self) -> Any:
        environ: Any = super().get_environ()  # type: ignore[no-untyped-call]
        environ[TAKE] = self._take
        return environ

    def _take(self) -> Any:
        """The socket, which from now on nobody else writes to, reads from or closes; no thread waits for it."""
        self.req.close_connection = self.req.sent_headers = True
        self.req.conn.linger = True
        return self.req.conn.socket


def _whole_head(wire: socket.socket) -> bytes:
    """The head of a lone GET whose client has read all answers before; empty when it is not (yet) one, or something else."""
    try:
        head = wire.recv(_PEEK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        if not head.startswith(b"GET ") or head.find(b"\r\n\r\n") != len(head) - 4 or b"\r\ncontent-length:" in head.lower():
            return b""
        unread = struct.unpack("i", fcntl.ioctl(wire, termios.TIOCOUTQ, b"\0\0\0\0"))[0]
    except OSError:
        return b""
    return b"" if unread else head


def _takes(wire: socket.socket, size: int) -> bool:
    """Does the kernel take an answer of this size at once? Half of its buffer may go for its own book-keeping."""
    return 0 < 2 * size <= wire.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


class _Http(wsgi.Server):
    ConnectionClass = _Connection
    keep_alive_conn_limit = _CONNECTIONS
    at_once: Callable[[bytes], int] | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.gateway = _Gateway
        self.shutdown_timeout = 1
        self.request_queue_size = 128
        self.max_request_header_size = _HEAD_BYTES
        self.server_name = "dmtools"

    def process_conn(self, conn: Any) -> None:
        """A new connection that says nothing yet, as browsers open them ahead, waits with the idle ones: it holds no thread."""
        if conn.last_used is None:
            self._connections.put(conn)  # type: ignore[attr-defined]
        elif self.at_once is not None and _takes(conn.socket, self.at_once(_whole_head(conn.socket))):
            self._answer(conn)
        else:
            super().process_conn(conn)

    def _answer(self, conn: Any) -> None:
        keep = False
        try:
            keep = conn.communicate()
        except ConnectionError:
            pass  # who has gone away is no news
        finally:
            if keep:
                self.put_conn(conn)
            else:
                conn.close()

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """Clients that go away are no news; what is serious is one line."""
        if level >= 40:
            print(f"dm: {msg}", file=sys.stderr, flush=True)
