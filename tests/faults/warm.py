"""Runs commands of bin/ in forks of a process that has the libraries loaded already: the same passes, a tenth of the time.

As a program it reads requests, one JSON object a line, and answers each by a line. It never imports dmtools itself, so every
fork imports it anew, from the tree that is asked for.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIBRARIES = (
    *("click", "sqlalchemy", "sqlalchemy.dialects.sqlite", "requests", "fts3.rest.client.easy", "msgspec", "bottle"),
    *("cheroot.wsgi", "cheroot.server", "sqlite3", "concurrent.futures.thread", "tomllib", "gzip", "isal.isal_zlib", "ctypes"),
)


@dataclass(frozen=True)
class Done:
    """How a pass ended."""

    command: str
    code: int
    out: str
    err: str


class Warm:
    """The client's side. One pass at a time; servers run beside it until they are stopped."""

    def __init__(self, tree: Path, place: Path) -> None:
        self.tree, self.place = tree, place
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._servers: set[int] = set()

    def _ask(self, **request: Any) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        return int(self._process.stdout.readline())

    def _start(self, argv: tuple[str, ...], env: dict[str, str], out: Path, err: Path, **more: Any) -> int:
        full = [str(self.tree / "bin" / argv[0]), *argv[1:]]
        return self._ask(argv=full, tree=str(self.tree), env=env, out=str(out), err=str(err), **more)

    def run(self, *argv: str, env: dict[str, str], killed_after: float | None = None) -> Done:
        """A command to its end, or until the kernel ends it (by SIGALRM, which it doesn't catch) after so many seconds."""
        out, err = self.place / "warm.out", self.place / "warm.err"
        code = self._start(argv, env, out, err, wait=True, alarm=killed_after)
        return Done(" ".join(argv), code, out.read_text("utf-8", "replace"), err.read_text("utf-8", "replace"))

    def serve(self, *argv: str, env: dict[str, str], listening: int) -> int:
        """A server, once it has said `listening on` so often; gives its pid."""
        out = self.place / "server.out"
        out.write_bytes(b"")  # what an earlier server said is gone before the new one begins
        pid = self._start(argv, env, out, out, wait=False)
        self._servers.add(pid)
        end = time.monotonic() + 60
        while out.read_text().count("listening on") < listening:
            if time.monotonic() > end:
                raise TimeoutError(f"{argv} did not listen: {out.read_text()}")
            time.sleep(0.005)
        return pid

    def stop(self, pid: int, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends a server and waits for its end."""
        self._servers.discard(pid)
        self._ask(stop=pid, how=int(how))

    def close(self) -> None:
        """Ends all."""
        for pid in list(self._servers):
            self.stop(pid, signal.SIGKILL)
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)
        assert self._process.stdout
        self._process.stdout.close()


def _become(request: dict[str, Any]) -> None:
    """In the fork: runs the command as `python bin/NAME` would and ends with its exit code."""
    os.environ.clear()
    os.environ.update(request["env"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for handle, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), handle)
    sys.argv = request["argv"]
    sys.path[0:0] = [str(Path(sys.argv[0]).parent), request["tree"]]
    if request.get("alarm") is not None:
        signal.setitimer(signal.ITIMER_REAL, request["alarm"])
    code = 1
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - what the interpreter would do at the end of the program
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _main() -> None:
    sys.path.pop(0)  # this directory
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    servers: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "stop" in request:
            servers.discard(request["stop"])
            os.kill(request["stop"], request["how"])
            answer = os.waitstatus_to_exitcode(os.waitpid(request["stop"], 0)[1])
        elif child := os.fork():
            answer = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if request["wait"] else child
            servers |= set() if request["wait"] else {child}
        else:
            _become(request)
        print(answer, flush=True)
    for server in servers:  # who asked is gone, perhaps killed
        os.kill(server, signal.SIGKILL)


if __name__ == "__main__":
    _main()
