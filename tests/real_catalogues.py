"""A real Rucio for tests: its server from PyPI in a venv of its own below .venv, on sqlite, one for all tests of a worker."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT, TEST_MARK, environment, free_port, wait_until

PASSWORD = "rucio-test-pass-7f3a"
_CFG = """\
[common]
logdir = {place}
loglevel = ERROR
[database]
default = sqlite:///{place}/rucio.db
[policy]
permission = generic
schema = generic
[bootstrap]
userpass_identity = dm
userpass_pwd = {password}
userpass_email = dm@example.org
[client]
rucio_host = {url}
auth_host = {url}
auth_type = userpass
username = dm
password = {password}
account = root
[alembic]
cfg = {place}/alembic.ini
"""
_ALEMBIC = """\
[alembic]
script_location = {packages}/rucio/db/sqla/migrate_repo
sqlalchemy.url = sqlite:///{place}/rucio.db
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = plain
[logger_root]
level = ERROR
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = plain
[formatter_plain]
format = %(message)s
"""
_MAKE = "from rucio.db.sqla.util import *; build_database(); create_base_vo(); create_root_account()"
_SERVE = """\
import sys
from werkzeug.serving import run_simple
from rucio.web.rest.flaskapi.v1.main import application
run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=True)
"""


def _environment(place: Path) -> dict[str, str]:
    found = environment(extra={"RUCIO_CONFIG": f"{place}/rucio.cfg", "RUCIO_HOME": str(place)})
    found.pop(TEST_MARK, None)  # it outlives the test
    return found


def _write(place: Path, tree: Path, url: str) -> None:
    packages = next((tree / "lib").glob("python3*/site-packages"))
    (place / "rucio.cfg").write_text(_CFG.format(place=place, url=url, password=PASSWORD))
    (place / "rucio.cfg").chmod(0o600)
    (place / "alembic.ini").write_text(_ALEMBIC.format(place=place, packages=packages))


def _tree() -> Path:
    """A venv with Rucio's server, and an empty database of it, below .venv, made once: a quarter of a minute, 135 MB."""
    tree = ROOT / ".venv/rucio-server"  # .venv/rucio is of rucio-clients
    with (ROOT / ".venv/.rucio-server.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if (tree / "empty.db").exists():
            return tree
        shutil.rmtree(tree, ignore_errors=True)
        uv = shutil.which("uv", path=f"{ROOT}/.venv/bin:{os.environ.get('PATH', os.defpath)}")
        made = [
            [sys.executable, "-m", "venv", *(["--without-pip"] if uv else []), str(tree)],
            [uv, "pip", "install", "--python", f"{tree}/bin/python", "rucio"] if uv else [f"{tree}/bin/pip", "install", "rucio"],
        ]
        for argv in made:
            done = subprocess.run(argv, capture_output=True, text=True)
            assert done.returncode == 0, f"no Rucio from PyPI: {done.stderr[-2000:]}"
        _write(tree, tree, "http://127.0.0.1")
        done = subprocess.run([tree / "bin/python", "-c", _MAKE], capture_output=True, text=True, env=_environment(tree))
        assert done.returncode == 0, f"no database for Rucio: {done.stderr[-2000:]}"
        (tree / "rucio.db").rename(tree / "empty.db")
        return tree


@dataclass
class Rucio:
    """The server, and a client of the test's own: `client` is of Rucio's client alone."""

    place: Path
    tree: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    client: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        return self.place / "rucio.cfg"

    def start(self) -> Rucio:
        """Starts it and waits until it answers."""
        with (self.place / "log").open("ab") as out:
            argv = [self.tree / "bin/python", self.place / "serve.py", str(self.port)]
            self.process = subprocess.Popen(argv, cwd=self.place, stdout=out, stderr=out, env=_environment(self.place))
        wait_until(self._answers, 120, f"Rucio answers; its log is {self.place}/log")
        return self

    def _answers(self) -> bool:
        from urllib.request import urlopen

        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"Rucio's server ended: {(self.place / 'log').read_text(errors='replace')[-2000:]}")
        try:
            with urlopen(f"{self.url}/ping", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def connect(self) -> None:
        """The test's own client."""
        os.environ["RUCIO_CONFIG"] = str(self.config)
        try:
            from rucio.client import Client
            from rucio.client.baseclient import BaseClient

            BaseClient.TOKEN_PATH_PREFIX = f"{self.place}/tokens-"
            self.client = Client(timeout=60)
        finally:
            del os.environ["RUCIO_CONFIG"]

    def storage(self) -> tuple[str, str]:
        """A scope and a storage element that nobody else has; files have their places below root://se.example//data."""
        mark = uuid.uuid4().hex[:8]
        scope, rse = f"s{mark}", f"R{mark.upper()}"
        self.client.add_scope("root", scope)
        self.client.add_rse(rse, deterministic=False)
        domain = {"read": 1, "write": 1, "delete": 1}
        found = {"scheme": "root", "hostname": "se.example", "port": 1094, "prefix": "//data/", "domains": {"wan": domain}}
        self.client.add_protocol(rse, {**found, "impl": "rucio.rse.protocols.gfal.Default"})
        self.client.set_local_account_limit("root", rse, 10**15)
        return scope, rse

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)


@pytest.fixture(scope="session")
def rucio() -> Iterator[Rucio]:
    """A real Rucio that this worker's tests share; each takes a scope and a storage element of its own."""
    tree = _tree()
    place = Path(tempfile.mkdtemp(prefix="dmr-", dir="/tmp"))
    server = Rucio(place, tree, free_port())
    shutil.copy(tree / "empty.db", place / "rucio.db")
    (place / "serve.py").write_text(_SERVE)
    _write(place, tree, server.url)
    try:
        server.start().connect()
        yield server
    finally:
        server.stop()
        shutil.rmtree(place)
