"""Server-sent events: who listens costs a socket and no thread; one thread tells all of them what is new."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable

from dmtools.web.serving import HEADERS

BEAT_SECONDS = 2.0  # so often something is said, that a browser may know that the connection lives
_LOOK_SECONDS = 0.25  # a verdict changes with the clock alone
MOST = 400  # listeners; a process may often have 1024 handles
_HEAD = "".join(
    f"{line}\r\n"
    for line in (
        "HTTP/1.1 200 OK",
        "Content-Type: text/event-stream; charset=utf-8",
        "Cache-Control: no-store",
        "Connection: close",
        "X-Accel-Buffering: no",
        *(f"{name}: {value}" for name, value in HEADERS),
    )
).encode()


class Events:
    """`tell` gives (what listeners must hear of at once when it changes, the message)."""

    def __init__(self, tell: Callable[[], tuple[object, bytes]]) -> None:
        self._tell = tell
        self._listeners: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._woken, self._stopped = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Begins to tell."""
        self._thread.start()

    def stop(self) -> None:
        """Ends all connections."""
        self._stopped = True
        self._woken.set()
        with self._lock:
            listeners, self._listeners = self._listeners, set()
        for one in listeners:
            _close(one)

    def wake(self) -> None:
        """Something may be new."""
        self._woken.set()

    @property
    def is_full(self) -> bool:
        """Are there as many as may listen?"""
        return len(self._listeners) >= MOST

    def join(self, one: socket.socket) -> None:
        """Takes a connection over, for as long as it lasts."""
        one.setblocking(False)
        if _send(one, _HEAD + b"\r\nretry: 2000\n\n" + self._tell()[1]):
            with self._lock:
                self._listeners.add(one)

    def _run(self) -> None:
        before, said = None, 0.0
        while not self._stopped:
            self._woken.wait(_LOOK_SECONDS)
            self._woken.clear()
            if not self._listeners:
                continue
            news, message = self._tell()
            now = time.monotonic()
            if news != before or now - said >= BEAT_SECONDS:
                before, said = news, now
                self._say(message)
            self._forget(_ended(list(self._listeners)))

    def _say(self, message: bytes) -> None:
        with self._lock:
            listeners = list(self._listeners)
        self._forget([one for one in listeners if not _send(one, message)])

    def _forget(self, gone: list[socket.socket]) -> None:
        with self._lock:
            self._listeners.difference_update(gone)
        for one in gone:
            _close(one)


def _send(one: socket.socket, message: bytes) -> bool:
    """A listener whose buffer is full has not read for long: it is let go, and comes again."""
    try:
        if one.send(message) == len(message):
            return True
    except OSError:
        pass
    _close(one)
    return False


def _ended(listeners: list[socket.socket]) -> list[socket.socket]:
    """Those who have gone away; who sends something more is no listener either."""
    poll, known = select.poll(), {one.fileno(): one for one in listeners if one.fileno() >= 0}
    for handle in known:
        poll.register(handle, select.POLLIN | select.POLLRDHUP)
    return [known[handle] for handle, _ in poll.poll(0)]


def _close(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    one.close()
