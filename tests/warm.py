"""Runs commands of bin/ in forks of a process that has the libraries loaded: the same command, a fraction of the time.

Importing the libraries is nine tenths of a short command. As a program this is the process that is forked, one a worker: it
reads requests, each with four handles, from a socket, and never imports dmtools itself, so each fork imports it anew and sees
nothing of an earlier one. DMTOOLS_TESTS_COLD=1 starts every command as a process of its own; tests/house/test_warm.py compares.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import resource
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

LIBRARIES = (
    *("click", "sqlalchemy", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.mysql", "sqlite3", "pymysql", "msgspec"),
    *("msgspec.json", "msgspec.toml", "alembic.command", "alembic.config", "alembic.op", "requests", "fts3.rest.client.easy"),
    *("cheroot.wsgi", "cheroot.server", "rich.console", "rich.live", "rich.table", "nagiosplugin", "crontab", "argon2"),
    *(
        "isal.isal_zlib",
        "isal.igzip",
        "zlib_ng.zlib_ng",
        "cryptography.x509",
        "concurrent.futures.thread",
        "tomllib",
        "gzip",
        "csv",
    ),
)
# These folders are about processes, kills and whole installations: there every command is a process of its own.
COLD_ROOMS = ("tests/faults/", "tests/house/", "tests/journeys/")
# What an interpreter or a library reads when it starts, before a fork could be told another value.
READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "GLIBC_", "SSL", "OPENSSL")
ROOM = 32 << 10  # bytes for a command's arguments and for its environment, as /proc shows them
MOST = 100 << 10  # bytes of a request: one message of a socket
SHADOWS = {"sitecustomize", "usercustomize", *(name.partition(".")[0] for name in LIBRARIES)}


# ---- the client's side -------------------------------------------------------------------------------------------------


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None,
    input: bytes,  # noqa: A002
    timeout: float,
    **_: Any,
) -> subprocess.CompletedProcess[bytes]:
    """As subprocess.run(argv, ..., capture_output=True). Raises subprocess.TimeoutExpired, too."""
    end = time.monotonic() + timeout
    pipes = [os.pipe() for _ in range(3)]  # stdin, stdout, stderr
    stdin, stdout, stderr = pipes[0][1], pipes[1][0], pipes[2][0]
    theirs = (pipes[0][0], pipes[1][1], pipes[2][1])
    try:
        process = Process(argv, env, theirs, cwd)
    finally:
        for handle in theirs:
            os.close(handle)
    said: dict[int, bytes] = {stdout: b"", stderr: b""}
    try:
        _talk(stdin, input, said, end)
        code = process.wait(max(end - time.monotonic(), 0.001))
    except (TimeoutError, subprocess.TimeoutExpired):
        process.kill()
        process.wait()
        raise subprocess.TimeoutExpired(argv, timeout, said[stdout], said[stderr]) from None
    return subprocess.CompletedProcess(argv, code, said[stdout], said[stderr])


class Process:
    """A command with these handles as stdin, stdout and stderr; what subprocess.Popen's has these names, too."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], handles: Sequence[int], cwd: Path | None = None) -> None:
        self.args = argv
        self.returncode: int | None = None
        self._ended = zygote().start(_request(argv, env, cwd), handles)
        self.pid = self._told()

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._ended.settimeout(timeout)
            try:
                self.returncode = self._told()
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._ended.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """If it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def _told(self) -> int:
        if not (number := self._ended.recv(100)):
            raise RuntimeError(f"the process that is forked is gone: {zygote().process.communicate()}")
        return int(number)


def can(argv: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether a fork would be the same as a process of its own."""
    if os.environ.get("DMTOOLS_TESTS_COLD") or os.environ.get("PYTEST_CURRENT_TEST", "").startswith(COLD_ROOMS):
        return False
    if argv[0] != sys.executable or argv[1].startswith("-"):
        return False
    return zygote().suits(env) and _size(env) < ROOM and len(_request(argv, env, None)) < MOST


class Zygote:
    """The process that is forked, and its socket."""

    def __init__(self) -> None:
        from tests.support import TEST_MARK, environment

        self.env = environment()
        self.env.pop(TEST_MARK, None)  # it outlives the test that comes first
        self.limits = _limits()
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno()), "-" * ROOM],
            env={**self.env, "DM_TEST_ROOM": "-" * ROOM},
            cwd="/",
            pass_fds=[theirs.fileno()],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )
        theirs.close()
        atexit.register(self.close)

    def suits(self, env: Mapping[str, str]) -> bool:
        """Whether an interpreter that was started with this environment would have begun as this one did."""
        mine, theirs = (
            {name: value for name, value in one.items() if name.startswith(READ_AT_START) and name != "PYTHONPATH"}
            for one in (self.env, env)
        )
        return mine == theirs and self.limits == _limits() and not _shadows(env.get("PYTHONPATH", ""))

    def start(self, request: bytes, handles: Sequence[int]) -> socket.socket:
        """Starts a command with these as stdin, stdout and stderr; the socket gives its pid and, at its end, its exit code."""
        ended, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(self.socket, [request], [*handles, theirs.fileno()])
        return ended

    def close(self) -> None:
        """Ends it."""
        self.socket.close()
        self.process.communicate()


_lock = threading.Lock()
_started: list[Zygote] = []


def zygote() -> Zygote:
    """This worker's."""
    with _lock:
        if not _started:
            _started.append(Zygote())
        return _started[0]


def _request(argv: Sequence[str], env: Mapping[str, str], cwd: Path | None) -> bytes:
    mask = os.umask(0o022)
    os.umask(mask)
    return json.dumps({"argv": list(argv), "env": dict(env), "cwd": str(cwd or Path.cwd()), "umask": mask}).encode()


def _talk(stdin: int, given: bytes, said: dict[int, bytes], end: float) -> None:
    """Writes stdin and reads the others to their ends; closes all. Raises TimeoutError."""
    left = {stdin, *said}
    try:
        with selectors.DefaultSelector() as waiting:
            for handle in left:
                waiting.register(handle, selectors.EVENT_WRITE if handle == stdin else selectors.EVENT_READ)
            while left - {stdin}:
                ready = waiting.select(max(end - time.monotonic(), 0))
                if not ready and time.monotonic() > end:
                    raise TimeoutError
                for key, _ in ready:
                    if key.fd == stdin:
                        more = given = _written(stdin, given)
                    else:
                        more = os.read(key.fd, 1 << 16)
                        said[key.fd] += more
                    if not more:
                        waiting.unregister(key.fd)
                        left.remove(key.fd)
                        os.close(key.fd)
    finally:
        for handle in left:
            os.close(handle)


def _written(handle: int, given: bytes) -> bytes:
    """What is left to be written."""
    try:
        return given[os.write(handle, given[: select.PIPE_BUF]) :] if given else b""
    except BrokenPipeError:
        return b""


def _limits() -> list[tuple[int, int]]:
    return [resource.getrlimit(which) for name, which in sorted(vars(resource).items()) if name.startswith("RLIMIT_")]


def _shadows(path: str) -> bool:
    """Whether something in these directories would have been loaded instead of what is loaded already."""
    places = [Path(one) for one in path.split(":") if one]
    return any(entry.name.partition(".")[0] in SHADOWS for place in places if place.is_dir() for entry in place.iterdir())


def _size(env: Mapping[str, str]) -> int:
    return sum(len(os.fsencode(name)) + len(os.fsencode(value)) + 2 for name, value in env.items())


# ---- the process that is forked ----------------------------------------------------------------------------------------


def _main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    for name in LIBRARIES:
        with suppress(ImportError):  # one that isn't installed is missed by the command, if it needs it
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    if request := _wait(control):
        _become(*request)


def _wait(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Forks for each request. Comes back in the forks, with the request; and, when the worker is gone, with None."""
    open_ones: dict[int, tuple[int, int]] = {}  # handle of a process -> its pid, where its end is told
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for handle, _ in poll.poll():
            if handle in open_ones:
                pid, answer = open_ones.pop(handle)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                poll.unregister(handle)
                _tell(answer, code)
                os.close(answer)
                os.close(handle)
                continue
            message, handles, _, _ = socket.recv_fds(control, MOST + 1000, 4)
            if not message:
                return None
            pid = os.fork()
            if not pid:
                control.close()
                return json.loads(message), handles
            for one in handles[:3]:
                os.close(one)
            process = os.pidfd_open(pid)
            open_ones[process] = pid, handles[3]
            poll.register(process, select.POLLIN)
            _tell(handles[3], pid)


def _tell(answer: int, number: int) -> None:
    with suppress(OSError):  # who asked doesn't wait any more
        os.write(answer, str(number).encode())


def _become(request: dict[str, Any], handles: list[int]) -> None:
    """In the fork: goes on as `python bin/NAME ...` does, to the end of the process."""
    argv, env = request["argv"], request["env"]
    os.chdir(request["cwd"])
    os.umask(request["umask"])
    for target, handle in enumerate(handles[:3]):
        os.dup2(handle, target)
    os.closerange(3, 1 << 16)
    path = sys.path[1 + len(_split(os.environ)) :]
    os.environ.clear()
    os.environ.update(env)
    _show(argv, env)
    time.tzset()
    sys.argv[:], sys.orig_argv[:] = argv[1:], argv
    sys.path[:] = [str(Path(argv[1]).resolve().parent), *_split(env), *path]
    importlib.invalidate_caches()
    gc.unfreeze()
    main = types.ModuleType("__main__")
    main.__dict__.update(__annotations__={}, __file__=argv[1], __cached__=None, __loader__=SourceFileLoader("__main__", argv[1]))
    sys.modules["__main__"] = main
    exec(compile(Path(argv[1]).read_bytes(), argv[1], "exec", dont_inherit=True), main.__dict__)


def _split(env: Mapping[str, str]) -> list[str]:
    return [str(Path(one).absolute()) for one in env.get("PYTHONPATH", "").split(":") if one]


def _show(argv: list[str], env: dict[str, str]) -> None:
    """Puts the command's own arguments and environment where /proc/PID shows them, over those of the start."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    for words, field in ((argv, 45), ([f"{name}={value}" for name, value in env.items()], 47)):
        begin, end = int(fields[field]), int(fields[field + 1])
        text = b"".join(os.fsencode(word) + b"\0" for word in words)
        ctypes.memmove(begin, text[: end - begin].ljust(end - begin, b"\0"), end - begin)


if __name__ == "__main__":
    _main()
