"""What tests call by name: commands as subprocesses, servers, waiting, ports. The fixtures are in conftest.py."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import warm

ROOT = Path(__file__).resolve().parents[1]
TEST_MARK = "DM_TEST"
# What the person who runs the tests may have set, and no test must see.
PRIVATE = ("DMTOOLS_", "X509_", "BEARER_TOKEN", "XRD_", "GFAL_")


def wait_until(condition: Callable[[], Any], seconds: float = 60, what: str = "") -> Any:
    """Asks again and again until the condition gives something true, and gives that; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what or getattr(condition, '__doc__', None) or condition}")
        time.sleep(0.01)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has now. Prefer --port 0 where a server can tell its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_base() -> int:
    """The first of ten ports that nobody has now, below those that the kernel gives away, apart from other workers'."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        _taken[0] += 10
        base = 20000 + worker % 6 * 2000 + _taken[0] % 2000
        if all(_free(port) for port in range(base, base + 10)):
            return base


_taken = [os.getpid() % 200 * 10]


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass(frozen=True)
class Result:
    """What a command gave."""

    args: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        """stdout as one JSON object; fails when it is anything else."""
        try:
            return json.loads(self.out)
        except ValueError:
            pytest.fail(f"not one JSON object on stdout: {self}")

    def ok(self) -> Result:
        """Itself, when the exit code is 0; else the test fails and shows all."""
        return self.gave(0)

    def gave(self, *codes: int) -> Result:
        """Itself, when the exit code is one of these and no traceback was shown."""
        if self.code not in codes or "Traceback (most recent call last)" in self.err:
            pytest.fail(f"wanted exit code {codes}: {self}")
        return self

    def __str__(self) -> str:
        return f"{' '.join(self.args)}\nexit {self.code} in {self.seconds:.2f} s\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def environment(home: Path | None = None, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command under test: none of the person's own settings, a plain locale."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE)}
    kept |= {"LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    kept |= {"DMTOOLS_HOME": str(home)} if home else {}
    return kept | dict(extra or {})


def command(name: str, *args: object) -> list[str]:
    """The argv of a command of bin/, run by this Python; a path is taken as it is."""
    path = Path(name) if "/" in name else ROOT / "bin" / name
    with path.open("rb") as file:
        python = b"python" in file.readline()
    return [*([sys.executable] if python else []), str(path), *map(str, args)]


def run(
    name: str,
    *args: object,
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float = 60,
    prefix: tuple[object, ...] = (),
) -> Result:
    """Runs a command of bin/ to its end. `home` goes into $DMTOOLS_HOME; `prefix` is put before it: ("strace", "-f")."""
    argv = [*map(str, prefix), *command(name, *args)]
    around = environment(home, env)
    begun = time.monotonic()
    try:
        done = (warm.run if warm.can(argv, around) else subprocess.run)(
            argv,
            env=around,
            cwd=cwd,
            input=(stdin or "").encode(),
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        said = "\n".join(part.decode("utf-8", "replace") for part in (late.stdout, late.stderr) if part)
        pytest.fail(f"{' '.join(argv)} was still running after {timeout} s:\n{said}")
    out, err = (part.decode("utf-8", "replace") for part in (done.stdout, done.stderr))
    return Result(tuple(argv), done.returncode, out, err, time.monotonic() - begun)


@dataclass
class Server:
    """A command that runs until it is stopped; `urls` are those of its lines `listening on URL`."""

    process: subprocess.Popen[bytes] | warm.Process
    log: Path
    urls: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def said(self) -> str:
        return self.log.read_bytes().decode("utf-8", "replace")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds: float = 30) -> int:
        """Sends the signal, waits for the end, gives the exit code (negative: by that signal)."""
        if self.alive:
            self.process.send_signal(how)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"{self.process.args} did not end within {seconds} s of {how.name}:\n{self.said}")

    def kill(self) -> int:
        """SIGKILL."""
        return self.stop(signal.SIGKILL)
