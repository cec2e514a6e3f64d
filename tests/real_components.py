"""Real components for tests, each private to them: MariaDB, XRootD, a small disk. Servers run under users of their own."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import TEST_MARK, environment, free_port, wait_until

SBIN = {"PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"}


def as_user(*names: str) -> tuple[str, ...]:
    """As root: the words that start a program as the first of these users that there is; else none."""
    if os.geteuid() != 0:
        return ()
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = next(name for name in names if name in known)
    return ("setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups", "--inh-caps=-all", "--")


@dataclass
class MariaDb:
    """A private MariaDB: `url` for SQLAlchemy, as root of the database by its socket."""

    place: Path
    start_as: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.place / "s"

    @property
    def url(self) -> str:
        return self.url_of("test")

    def url_of(self, database: str) -> str:
        return f"mysql+pymysql://root@localhost/{database}?unix_socket={self.socket}"

    def connect(self) -> Any:
        import pymysql

        return pymysql.connect(user="root", unix_socket=str(self.socket), autocommit=True)

    def say(self, statement: str) -> None:
        connection = self.connect()
        try:
            connection.cursor().execute(statement)
        finally:
            connection.close()

    def start(self, *options: str) -> MariaDb:
        """Starts it and waits until it answers."""
        argv = [
            *(*self.start_as, "mariadbd", "--no-defaults", f"--datadir={self.place}/data", f"--socket={self.socket}"),
            *("--skip-networking", "--skip-name-resolve", f"--pid-file={self.place}/pid", f"--log-error={self.place}/log"),
            *("--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M", *options),
        ]
        self.process = subprocess.Popen(argv, env=environment(extra=SBIN))
        wait_until(self._answers, 60, f"MariaDB answers; its log is {self.place}/log")
        return self

    def _answers(self) -> bool:
        import pymysql

        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"mariadbd ended: {(self.place / 'log').read_text(errors='replace')[-2000:]}")
        try:
            self.say("CREATE DATABASE IF NOT EXISTS test")
        except pymysql.err.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stops it and waits for its end; SIGKILL is a crash."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)


def _own(place: Path, start_as: tuple[str, ...]) -> None:
    if start_as:
        subprocess.run(["chown", "-R", start_as[1].partition("=")[2], str(place)], check=True)


@pytest.fixture(scope="session")
def mariadb_template() -> Iterator[tuple[Path, tuple[str, ...]]]:
    """A data directory as mariadb-install-db makes it, to be copied; and how its server is started."""
    place = Path(tempfile.mkdtemp(prefix="dmm-", dir="/tmp"))
    place.chmod(0o755)
    start_as = as_user("mysql", "nobody")
    _own(place, start_as)
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={place}/data", "--auth-root-authentication-method=normal"]
    install += ["--skip-test-db", "--innodb-log-file-size=8M"]
    with Path(__file__).open("rb") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two at once disturb each other
        done = subprocess.run([*start_as, *install], capture_output=True, text=True, env=environment(extra=SBIN))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    yield place, start_as
    shutil.rmtree(place)


def _copy(template: tuple[Path, tuple[str, ...]], place: Path) -> MariaDb:
    source, start_as = template
    subprocess.run(["cp", "-a", f"{source}/data", f"{place}/data"], check=True)
    _own(place, start_as)
    return MariaDb(place, start_as)


@pytest.fixture(scope="session")
def _mariadb_shared(mariadb_template: tuple[Path, tuple[str, ...]]) -> Iterator[MariaDb]:
    place = Path(tempfile.mkdtemp(prefix="dmm-", dir="/tmp"))
    place.chmod(0o755)
    mark = os.environ.pop(TEST_MARK, None)
    server = _copy(mariadb_template, place).start()
    if mark:
        os.environ[TEST_MARK] = mark
    yield server
    server.stop()
    shutil.rmtree(place)


@pytest.fixture
def mariadb(_mariadb_shared: MariaDb) -> Iterator[str]:
    """The URL of an empty database of its own on a MariaDB that this worker's tests share."""
    name = f"t{uuid.uuid4().hex}"
    _mariadb_shared.say(f"CREATE DATABASE {name}")
    yield _mariadb_shared.url_of(name)
    _mariadb_shared.say(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def mariadb_server(mariadb_template: tuple[Path, tuple[str, ...]]) -> Iterator[MariaDb]:
    """A MariaDB of the test's own, running: it may be stopped, killed and started again."""
    place = Path(tempfile.mkdtemp(prefix="dmm-", dir="/tmp"))
    place.chmod(0o755)
    server = _copy(mariadb_template, place).start()
    yield server
    server.stop()
    shutil.rmtree(place)


# ---- XRootD ----------------------------------------------------------------------------------------------------------


@dataclass
class XRootD:
    """A private XRootD without authentication: `url` ends in `//`, `data` is the directory that it serves."""

    place: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"root://127.0.0.1:{self.port}//"

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def log(self) -> Path:
        return self.place / "log"

    def start(self) -> XRootD:
        """Starts it and waits until it answers."""
        with self.log.open("ab") as out:
            argv = [*as_user("xrootd", "nobody"), "xrootd", "-c", str(self.place / "cfg"), "-n", "t"]
            self.process = subprocess.Popen(argv, cwd=self.place, stdout=out, stderr=out, env=environment(extra=SBIN))
        wait_until(self._answers, 60, f"XRootD answers; its log is {self.log}")
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"xrootd ended: {self.log.read_text(errors='replace')[-2000:]}")
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stops it and waits for its end."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)


_XROOTD = """\
all.export /
oss.localroot {place}/data
all.adminpath {place}/adm
all.pidpath {place}/adm
xrd.port {port}
xrootd.chksum max 2 chkcgi adler32 crc32c md5
ofs.tpc autorm pgm /usr/bin/xrdcp --server
{more}
"""


@pytest.fixture
def xrootd_server() -> Iterator[Callable[..., XRootD]]:
    """`xrootd_server()` starts one more private XRootD (with third-party copy) and gives it; all end with the test."""
    servers: list[XRootD] = []

    def start(more: str = "") -> XRootD:
        place = Path(tempfile.mkdtemp(prefix="dmx-", dir="/tmp"))
        place.chmod(0o755)
        server = XRootD(place, free_port())
        for name in ("data", "adm"):
            (place / name).mkdir()
        (place / "cfg").write_text(_XROOTD.format(place=place, port=server.port, more=more))
        _own(place, as_user("xrootd", "nobody"))
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.stop()
        shutil.rmtree(server.place)


# ---- disks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(short_tmp: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    place = short_tmp / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "small", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)
