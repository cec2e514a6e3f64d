"""Steps at the remote site: a tape job run by hand, and what the simulator's tape has by its own word."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmtools import names
from tests.support import Result, command, environment, run, wait_until

IDEAL = "/data/exp/2016/b.zip"
DATA = bytes(range(256)) * 20


@dataclass
class Archive:
    """dm-sim archive of a HOME."""

    home: Path
    root: str = "/projects"  # what a test has of the tape

    @property
    def env(self) -> dict[str, str]:
        """Its hsi first in PATH."""
        return {"PATH": f"{self.home}/demo/lta/remote/bin:{os.environ['PATH']}"}

    def faults(self, *found: dict[str, object]) -> None:
        """The faults from now on."""
        lines = []
        for fault in found:
            lines += ["[[fault]]", *(f"{key} = {json.dumps(value)}" for key, value in fault.items())]
        (self.home / "run/sim/archive.faults.toml").write_text("\n".join(lines) + "\n")

    def files(self) -> dict[str, dict[str, Any]]:
        """What is on tape below the root, by path."""
        return {one["path"]: one for one in self.ask("GET", "/sim/files") if one["path"].startswith(self.root + "/")}

    def flip(self, path: str) -> None:
        """One bit of a file rots."""
        assert self.ask("POST", f"/sim/flip?path={path}")["code"] == 0

    def ask(self, method: str, path: str) -> Any:
        """Its answer."""
        told = json.loads((self.home / "run/sim/archive.json").read_bytes())
        asked = urllib.request.Request(told["url"] + path, method=method, headers={"Authorization": f"Bearer {told['token']}"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.loads(answer.read())


@dataclass
class Body:
    """A tape job that is run by hand. Its bundle is DATA under IDEAL."""

    place: Path
    env: dict[str, str]
    system: dict[str, Any]
    kind: str = "put"
    key: str = "lta-test-b1-1"
    ideal: str = IDEAL
    size: int = len(DATA)
    before: str = ""

    @property
    def local(self) -> Path:
        return self.place / "buffer" / self.ideal.lstrip("/")

    @property
    def tape(self) -> str:
        return self.system["tape_root"] + self.ideal

    def lay(self, data: bytes = DATA) -> None:
        """The bundle into the buffer."""
        self.local.parent.mkdir(parents=True, exist_ok=True)
        self.local.write_bytes(data)

    def run(self, **options: Any) -> Result:
        """`lta-nersc-client --job`."""
        jobs = self.place / self.key
        jobs.mkdir(exist_ok=True)
        told = {"key": self.key, "kind": self.kind, "size": self.size, "sha512": hashlib.sha512(DATA).hexdigest()}
        told |= {"local": names.encode(os.fsencode(self.local)), "tape": names.encode(os.fsencode(self.tape))}
        told |= {"before": self.before, "system": self.system}
        (jobs / "job.json").write_text(json.dumps(told))
        return run("lta-nersc-client", "--job", jobs / "job.json", env=self.env, **options)

    @property
    def result(self) -> dict[str, Any]:
        """result.json."""
        found: dict[str, Any] = json.loads((self.place / self.key / "result.json").read_bytes())
        return found


def hsi_system(**more: Any) -> dict[str, Any]:
    """The tape system as a job file has it."""
    return {"tape": "hsi", "tape_root": "/projects", "tape_commands": {}, "tape_seconds": 30, **more}


def archive_of(template: Path, place: Path) -> Iterator[Archive]:
    """dm-sim archive for the tests of a module, without any waiting of its own."""
    home = place / "home"
    shutil.copytree(template, home)
    argv = command("dm-sim", "archive", "--home", home, "--port", 0, "--mount", 0, "--rate", 0)
    with (place / "log").open("wb") as log:
        server = subprocess.Popen(argv, env=environment(home), stdout=log, stderr=log)
    try:
        wait_until(lambda: b"listening on" in (place / "log").read_bytes(), 60, "dm-sim archive listens")
        yield Archive(home)
    finally:
        server.kill()
        server.wait()
