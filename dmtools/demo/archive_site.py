"""The remote site of the demo: a HOME of its own, a tape that speaks hsi, and the server of the source that it asks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dmtools.demo.servers import Sim, Unready

ROOT = "/projects/demo"
_LISTENS = re.compile(r"listening on (\S+)")


@dataclass
class Site:
    """It while it runs; `env` is that of its commands."""

    home: Path
    env: dict[str, str]
    source: Path

    def on_tape(self) -> list[Path]:
        """The zips that lie on its tape."""
        return sorted((self.source / f"demo/lta/remote/hpss{ROOT}").rglob("*.zip"))

    def command(self, env: Mapping[str, str], words: Sequence[str]) -> int:
        """Runs a command to its end; gives its exit code."""
        done = subprocess.run([*words], env=dict(env), capture_output=True, check=False, timeout=120)
        return done.returncode


@contextmanager
def running(home: Path, env: dict[str, str]) -> Iterator[Site]:
    """Tape and server run; at the end both are gone. Raises Unready."""
    tape = Sim("archive", ("archive", "--mount", "0.05", "--rate", "0"), home, env, outlives=False)
    tape.start()
    try:
        with _server(home, env) as url:
            yield _made(home, env, url)
    finally:
        tape.stop()


def _made(home: Path, env: dict[str, str], url: str) -> Site:
    """Its HOME: settings, and the one token that it was given. It has neither tables nor a database."""
    mine, there = home / "nersc", home / "demo/lta/remote"
    for name in ("", "run", "log", "secrets"):
        (mine / name).mkdir(mode=0o700 if name == "secrets" else 0o750)
    token = mine / "secrets/lta-nersc.token"
    shutil.copy(home / "secrets/lta-nersc.token", token)
    token.chmod(0o600)
    keys = {
        "url": url, "token_file": str(token), "remote_buffer": str(there / "buffer"), "remote_export": str(there / "export"),
        "export": f"file://{there / 'export'}",
        "tape": "hsi", "tape_root": ROOT, "lease_seconds": 5,
    }  # fmt: skip
    (mine / "dmtools.toml").write_text("[lta]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))
    path = f"{there / 'bin'}:{env['PATH']}"
    return Site(mine, {**env, "DMTOOLS_HOME": str(mine), "PATH": path}, home)


@contextmanager
def _server(home: Path, env: dict[str, str]) -> Iterator[str]:
    """lta-rest-server on any free port; gives its URL."""
    log = home / "log/lta-rest-server.out"
    argv = ["lta-rest-server", "--port", "0"]
    if shutil.which("setpriv"):
        argv = ["setpriv", "--pdeathsig", "TERM", *argv]
    with log.open("ab") as out:
        process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while not (found := _LISTENS.search(log.read_text("utf-8", "replace"))):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unready(f"lta-rest-server did not start (see {log})")
            time.sleep(0.02)
        yield found[1]
    finally:
        with suppress(ProcessLookupError):
            os.kill(process.pid, 15)
        process.wait(30)
