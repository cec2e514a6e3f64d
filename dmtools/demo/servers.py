"""The servers of the demo, two of FTS and a DAQ: started, killed, started again, asked for their own records."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

NAMES = ("fts1", "fts2")


class Unready(Exception):
    """A server did not come up; the text says what it said."""


class Sim:
    """`dm-sim ...` as a process of its own; `argv` is what stands behind dm-sim."""

    def __init__(self, name: str, argv: tuple[str, ...], home: Path, env: dict[str, str], *, outlives: bool) -> None:
        self.name = name
        self._argv = argv
        self._outlives = outlives  # else it ends with this process, however that ends
        self.home = home
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self.port = "0"

    @property
    def pid(self) -> int:
        """Of the running process; 0: none."""
        return self._process.pid if self._process else 0

    def start(self, seconds: float = 30) -> None:
        """Returns when it listens. Raises Unready."""
        log = self.home / "log" / f"dm-sim-{self.name}.out"
        argv = ["dm-sim", *self._argv, "--port", self.port]
        if not self._outlives and shutil.which("setpriv"):
            argv = ["setpriv", "--pdeathsig", "TERM", *argv]
        with log.open("ab") as out:
            options: dict[str, Any] = {"env": self._env, "stdin": subprocess.DEVNULL, "stdout": out, "stderr": out}
            self._process = subprocess.Popen(argv, start_new_session=True, **options)
        deadline = time.monotonic() + seconds
        while self._address().get("pid") != self._process.pid:
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text("utf-8", "replace").strip().rpartition("\n")[2]
                self.stop()
                raise Unready(f"the server {self.name} did not start: {said or 'it said nothing'} (see {log})")
            time.sleep(0.02)

    def _address(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.home / "run/sim" / f"{self.name}.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found

    def kill(self) -> None:
        """SIGKILL: it can't tidy up."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """SIGTERM, then SIGKILL if it does not end."""
        if not self._process:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    def record(self, path: str) -> list[dict[str, Any]]:
        """What the server itself has written down, as /sim/copies."""
        address = self._address()
        request = urllib.request.Request(f"{address['url']}{path}", headers={"Authorization": f"Bearer {address['token']}"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # 127.0.0.1, whatever the site's proxy
        with opener.open(request, timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found


class Fts(Sim):
    """`dm-sim fts --name NAME`."""

    def __init__(self, name: str, home: Path, env: dict[str, str], *, outlives: bool) -> None:
        super().__init__(name, ("fts", "--name", name), home, env, outlives=outlives)

    def copies(self) -> list[dict[str, Any]]:
        """The server's own record of each copy that it began."""
        return self.record("/sim/copies")
