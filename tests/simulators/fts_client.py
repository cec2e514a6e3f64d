"""What the tests of `dm-sim fts` share: a running server with its HOME, the unmodified client, plain HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import zlib
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import requests

from tests.support import command, environment, wait_until

TERMINAL = ("FINISHED", "FAILED", "FINISHEDDIRTY", "CANCELED")
_NUMBERS = count()


@dataclass
class Fts:
    """A server under HOME/run/sim/NAME.json, and what one does with it."""

    home: Path
    name: str = "fts1"
    process: subprocess.Popen[bytes] | None = None
    options: tuple[object, ...] = ()
    _session: requests.Session = field(default_factory=requests.Session)

    # ---- the process

    def start(self, *options: object) -> Fts:
        """Starts it with these options (or those of the time before) and waits for its line."""
        self.options = options or self.options
        argv = command("dm-sim", "fts", "--name", self.name, "--port", 0, *self.options)
        with (self.home / "sim.log").open("ab") as log:
            self.process = subprocess.Popen(argv, env=environment(self.home), stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout
        line = self.process.stdout.readline().decode()
        assert line == f"listening on {self.url}\n", self.said
        return self

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        assert self.process
        self.process.terminate()
        return self.process.wait(60)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        return (self.home / "sim.log").read_text()

    @property
    def address(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.home / f"run/sim/{self.name}.json").read_text())
        return told

    @property
    def url(self) -> str:
        return str(self.address["url"])

    def faults(self, text: str) -> None:
        """Writes the faults file, at once and whole."""
        new = self.home / f"run/sim/.{self.name}.new"
        new.write_text(text)
        new.rename(self.home / f"run/sim/{self.name}.faults.toml")

    # ---- files

    def source(self, data: bytes | None = None, name: str = "") -> Path:
        """A new file below HOME/demo/castor."""
        path = self.home / "demo/castor" / (name or f"d{next(_NUMBERS)}/f")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(5000) if data is None else data)
        return path

    def target(self) -> Path:
        """A name below HOME/demo/echo where nothing is yet."""
        return self.home / "demo/echo" / f"d{next(_NUMBERS)}" / "f"

    # ---- requests

    def raw(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        """A plain request with the token."""
        headers = {"Authorization": f"Bearer {self.address['token']}"} | options.pop("headers", {})
        return self._session.request(method, self.url + path, json=body, headers=headers, timeout=60, **options)

    def get(self, path: str) -> Any:
        """The JSON of a GET."""
        return self.raw("GET", path).json()

    @property
    def context(self) -> Any:
        """A new context of the unmodified client, with the token."""
        import fts3.rest.client.easy as easy

        address = self.address
        return easy.Context(address["url"], fts_access_token=address["token"])

    def submit(self, *pairs: tuple[Any, Any], checksum: str | None = None, metadata: Any = None, **params: Any) -> str:
        """POSTs a job of (source, destination) pairs; gives its id."""
        files: list[dict[str, Any]] = []
        for source, target in pairs:
            sources = [url(one) for one in (source if isinstance(source, list) else [source])]
            files.append({"sources": sources, "destinations": [url(target)], "metadata": metadata})
            files[-1] |= {"checksum": checksum} if checksum else {}
        answer = self.raw("POST", "/jobs", {"params": params, "files": files})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["job_id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """The job with its files."""
        found: dict[str, Any] = self.get(
            f"/jobs/{job_id}?files=file_id,file_state,reason,retry,finish_time,file_metadata,start_time"
        )
        return found

    def done(self, job_id: str, seconds: float = 60) -> dict[str, Any]:
        """The job, once it is final."""

        def final() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["job_state"] in TERMINAL else None

        found: dict[str, Any] = wait_until(final, seconds, f"job {job_id} is final; it is {self.job(job_id)}")
        return found

    def copy(self, source: Any, target: Any, **options: Any) -> dict[str, Any]:
        """Copies one file to its end; gives the file's record, with the job's state as `job_state`."""
        job = self.done(self.submit((source, target), **options))
        return job["files"][0] | {"job_state": job["job_state"]}

    def wait_file(self, job_id: str, *states: str) -> dict[str, Any]:
        """The job's first file, once it is in one of the states."""

        def there() -> dict[str, Any] | None:
            file: dict[str, Any] = self.job(job_id)["files"][0]
            return file if file["file_state"] in states else None

        found: dict[str, Any] = wait_until(there, 60, f"file of {job_id} in {states}; it is {self.job(job_id)['files'][0]}")
        return found

    def copies(self, **where: str) -> list[dict[str, Any]]:
        """Rows of GET /sim/copies that opened their destination."""
        query = "&".join(f"{key}={value}" for key, value in where.items())
        return [row for row in self.get(f"/sim/copies?{query}") if row["opened_at"]]


def url(path: Any) -> str:
    """A path -> file:// URL; a URL stays."""
    return f"file://{path}" if isinstance(path, Path) else str(path)


def adler(path: Path) -> str:
    """What FTS is given as the checksum of a file."""
    return f"adler32:{zlib.adler32(path.read_bytes()):08x}"


def tool(fts: Fts, name: str, *args: str) -> subprocess.CompletedProcess[str]:
    """One of the client's own command-line tools, with this server and its token."""
    import sys

    program = Path(sys.executable).with_name(name)
    argv = [str(program), "-s", fts.url, "--fts-access-token", fts.address["token"], *args]
    return subprocess.run(argv, capture_output=True, text=True, env=environment(), timeout=60, check=False)


def make_home(place: Path) -> Path:
    """The little of a HOME that a simulator needs; dm-config init makes a whole one, in a second."""
    for name in ("demo/castor", "demo/echo"):
        (place / name).mkdir(parents=True)
    (place / "dmtools.toml").write_text("")
    return place
