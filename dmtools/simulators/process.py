"""What every simulator's process shares: the address file, the lock of its name, signals and exit codes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from dmtools import durable
from dmtools.command import Unavailable

_TOKEN_BYTES = 32


class Seat:
    """A simulator's name, held for the life of the process: NAME.lock is locked, NAME.json says where it listens.

    Raises Unavailable when another live process serves under the name; `instead` is the advice then.
    """

    def __init__(self, home: Path, name: str, instead: str = "stop that one first") -> None:
        self.name = name
        self.directory = home / "run" / "sim"
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        self.address = self.directory / f"{name}.json"
        self.faults = self.directory / f"{name}.faults.toml"
        self.database = self.directory / f"{name}.db"
        self._lock = os.open(self.directory / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            why = f"{name} runs already{self._whose()}; nothing was started"
            raise Unavailable("already running", name, why, instead) from None
        self.token = self._old_token() or secrets.token_urlsafe(_TOKEN_BYTES)

    def announce(self, url: str) -> None:
        """Writes the address file and prints the line that says that the server is ready."""
        told = {"url": url, "token": self.token, "pid": os.getpid()}
        durable.write_file(self.address, json.dumps(told).encode() + b"\n", mode=0o600)
        print(f"listening on {url}", flush=True)

    def leave(self) -> None:
        """Takes the address file away; the lock goes with the process."""
        self.address.unlink(missing_ok=True)

    def stay(self, signals: Signals, *last: Callable[[], object]) -> NoReturn:
        """Until a signal comes; then it leaves, does what is last, and the process ends."""
        code = signals.wait()
        self.leave()
        for act in last:
            act()
        sys.stdout.flush()
        os._exit(code)  # idle connections' threads and open websockets would hold up the end

    def _whose(self) -> str:
        try:
            told = json.loads(self.address.read_bytes())
            return f" (pid {int(told['pid'])}, {told['url']})"
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _old_token(self) -> str | None:
        """The token of a server that was killed: clients that hold it need not notice the restart."""
        try:
            if self.address.stat().st_mode & 0o077:
                return None
            token = json.loads(self.address.read_bytes())["token"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return token if isinstance(token, str) and len(token) >= _TOKEN_BYTES else None


@contextmanager
def port_of(name: str, port: int) -> Iterator[None]:
    """Around what takes a port. Raises Unavailable when another program has it."""
    try:
        yield
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE or "Address already in use" in str(problem):
            why = f"port {port} of 127.0.0.1 is taken by another program"
            raise Unavailable("no port", name, why, "choose another with --port N; --port 0 takes any free one") from None
        raise


class Signals:
    """Turns SIGTERM and SIGINT into an event; `code` is then the exit code (143 or 130)."""

    def __init__(self) -> None:
        self.code = 0
        self._event = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._caught)

    def wait(self) -> int:
        """Blocks until a signal comes or `stop` is called; gives the exit code."""
        while not self._event.wait(0.5):  # Python sees a signal that came in the last moment before a wait only after it
            pass
        return self.code

    def stop(self, code: int) -> None:
        """Ends the wait from within, with this exit code."""
        self.code = code
        self._event.set()

    def _caught(self, number: int, _frame: object) -> None:
        self.stop(128 + number)
