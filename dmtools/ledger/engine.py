"""Opens the database and runs transactions: short, never around an outside act, told in a sentence when they can't."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, exc, make_url, text

from dmtools import clock
from dmtools.ledger import late
from dmtools.ledger.tables import SCHEMA
from dmtools.ledger.types import DamagedValue
from dmtools.settings import Settings, SettingsError, database_problem, read_secret

T = TypeVar("T")
_REPEAT = {1205, 1213}  # MariaDB: lock wait time-out, deadlock: the whole transaction again
MARIADB = {"connect_timeout": 10, "read_timeout": 120, "write_timeout": 120, "charset": "utf8mb4"}  # of a connection
_IDLE_SECONDS = 1.0  # after so long a connection is asked whether it still stands
NETWORK_FILE_SYSTEMS = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "afs", "ceph", "beegfs", "glusterfs", "9p",
    "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs",
})  # fmt: skip


class LedgerUnavailable(Exception):
    """The database can't be used now; the text says why and what to do. Nothing was changed."""

    def __init__(self, why: str, next_step: str) -> None:
        super().__init__(why)
        self.next_step = next_step


class Stale(Exception):
    """A compare-and-set found another state than the one that was read: somebody else was quicker."""


class Ledger:
    """One database. `read()` and `write()` give a connection inside one transaction; `transact()` repeats on deadlock."""

    def __init__(self, engine: Engine, url: str) -> None:
        self.engine = engine
        self.url = url
        self.sqlite = engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A reading transaction; on sqlite it sees one state of the tables throughout. Raises LedgerUnavailable."""
        with self._told(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A writing transaction; on sqlite it holds the write lock from its first statement. Raises LedgerUnavailable."""
        with self._told(), self.engine.connect().execution_options(dm_write=True) as connection, connection.begin():
            yield connection

    def transact(self, work: Callable[[Connection], T], tries: int = 5) -> T:
        """Runs `work` in a writing transaction, again from its start after a deadlock (MariaDB 1205, 1213)."""
        for left in range(tries - 1, -1, -1):
            try:
                with self.engine.connect().execution_options(dm_write=True) as connection, connection.begin():
                    return work(connection)
            except exc.OperationalError as problem:
                if not (left and _number(problem) in _REPEAT):
                    raise self._why(problem) from problem
            except exc.DBAPIError as problem:
                if isinstance(problem, exc.IntegrityError):
                    raise
                raise self._why(problem) from problem
            except DamagedValue as problem:
                raise self._damaged(problem) from problem
        raise LedgerUnavailable(f"the database {self.shown} is too busy", "the next pass tries again")

    def now(self, connection: Connection) -> datetime:
        """The database's clock: leases of several hosts are judged by one clock."""
        if self.sqlite:
            return clock.now()
        found: datetime = connection.execute(text("SELECT UTC_TIMESTAMP(6)")).scalar_one()
        return found.replace(tzinfo=clock.now().tzinfo)

    @property
    def shown(self) -> str:
        """The database for messages, without its password."""
        return shown(self.url)

    def close(self) -> None:
        """Gives the connections back."""
        self.engine.dispose()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except exc.IntegrityError:
            raise
        except exc.DBAPIError as problem:
            raise self._why(problem) from problem
        except DamagedValue as problem:
            raise self._damaged(problem) from problem

    def _damaged(self, problem: DamagedValue) -> LedgerUnavailable:
        step = "it was changed by hand or is damaged: put a backup back, or set it aside and rebuild it with: dm-check --repair"
        return LedgerUnavailable(f"the database {self.shown} can't be read: {problem}", step)

    def _why(self, problem: exc.DBAPIError) -> LedgerUnavailable:
        said = str(problem.orig)
        if "disk I/O" in said and self.sqlite and _is_full(Path(make_url(self.url).database or "/")):
            said = f"no space left: {said}"  # sqlite's shared memory file can't say so itself
        known = (
            (
                r"locked|Lock wait|Deadlock",
                "is locked by another command",
                "the next pass tries again; dm-leases shows who works; if it stays: docs/troubles.md, The database is locked",
            ),
            (
                r"full|No space|ENOSPC",
                "has no room on its disk",
                "make room, nothing was lost, the next pass goes on: docs/troubles.md, The disk is full",
            ),
            (
                r"no such table|no such column|doesn't exist|Unknown column",
                "lacks a table or column",
                "make it with: dm-db upgrade, then: dm-check --repair",
            ),
            (r"not a database|malformed", "is damaged", "set it aside, then rebuild it with: dm-check --repair"),
            (r"unable to open", "can't be opened", "check that its directory exists and may be written"),
            (r"readonly|read-only", "may not be written", "check its owner and mode, and those of its directory"),
            (r"disk I/O", "could not be read or written (disk I/O error)", "look at the disk; nothing was booked"),
            (r"Can't connect|Lost connection|gone away|refused", "doesn't answer", "check that it runs; the next pass goes on"),
            (r"Access denied", "refuses our name or password", "check [database] url and password_file"),
        )
        for pattern, why, step in known:
            if re.search(pattern, said, re.IGNORECASE):
                return LedgerUnavailable(f"the database {self.shown} {why} ({_first_line(said)})", step)
        step = "nothing was booked; the next pass tries again"
        return LedgerUnavailable(f"the database {self.shown} failed: {_first_line(said)}", step)


def shown(url: str) -> str:
    """A database URL without its password."""
    return make_url(url).render_as_string(hide_password=True)


def open_ledger(settings: Settings, *, check: bool = True) -> Ledger:
    """Opens the database of the settings; `check` asks for the schema this program knows.

    Raises LedgerUnavailable, and SettingsError when the settings don't fit.
    """
    url = database_url(settings)
    path = sqlite_path(settings)
    if path is None:
        ledger = Ledger(_mariadb(url), url)
    else:
        ledger = Ledger(_sqlite(url, path, settings.database.busy_seconds, check), url)
    if check:
        check_schema(ledger)
    return ledger


def database_url(settings: Settings) -> str:
    """[database] url with the password of its file or $DMTOOLS_DATABASE_PASSWORD; empty: sqlite in HOME."""
    url = settings.database.url or os.environ.get("DMTOOLS_DATABASE_URL", "")
    if not url:
        return f"sqlite:///{settings.home / 'dmtools.db'}"
    if not settings.database.url and (problem := database_problem(url)):
        raise SettingsError(None, [f"$DMTOOLS_DATABASE_URL: {problem}"])
    if url.startswith("sqlite"):
        return url
    password = os.environ.get("DMTOOLS_DATABASE_PASSWORD")
    if settings.database.password_file:
        password = read_secret(settings.path(settings.database.password_file), "database's password file")
    try:
        found = make_url(url)
    except exc.ArgumentError:
        raise SettingsError(settings.file, ["database.url is no URL; write mysql+pymysql://USER@HOST/NAME"]) from None
    return (found.set(password=password) if password else found).render_as_string(hide_password=False)


def sqlite_path(settings: Settings) -> Path | None:
    """The file of a sqlite database; None for MariaDB."""
    url = settings.database.url or os.environ.get("DMTOOLS_DATABASE_URL", "")
    if not url:
        return settings.home / "dmtools.db"
    return Path(make_url(url).database or "") if url.startswith("sqlite") else None


def _sqlite(url: str, path: Path, busy_seconds: int, must_exist: bool) -> Engine:
    if must_exist and not path.is_file():
        what = "is no file, but the database must be there" if path.exists() else "is not there"
        step = "if it was lost, rebuild it with: dm-db upgrade, then: dm-check --repair; a new HOME gets one from: dm-config init"
        raise LedgerUnavailable(f"the database {path} {what}", step)
    if (kind := file_system(path.parent)) in NETWORK_FILE_SYSTEMS:
        raise LedgerUnavailable(
            f"{path} lies on a network file system ({kind}), where sqlite is not safe",
            "put HOME on a local disk or set [database] url to MariaDB",
        )
    engine = create_engine(url, connect_args={"timeout": busy_seconds, "check_same_thread": False})
    begin_ourselves(engine)

    @event.listens_for(engine, "connect")
    def prepare(raw: Any, _record: Any) -> None:
        raw.execute("PRAGMA cache_size=-32000")

    return engine


def begin_ourselves(engine: Engine) -> None:
    """Transactions on sqlite as they ought to be: durable, and with dm_write locked for writing from their first statement."""

    @event.listens_for(engine, "connect")
    def prepare(raw: Any, _record: Any) -> None:
        raw.isolation_level = None  # we say BEGIN ourselves
        raw.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("dm_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _mariadb(url: str) -> Engine:
    try:
        from pymysql.constants.CLIENT import MULTI_STATEMENTS

        engine = create_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_reset_on_return=None,  # each transaction is ended where it began
            connect_args={**MARIADB, "client_flag": MULTI_STATEMENTS},
        )
    except ModuleNotFoundError as problem:
        raise SettingsError(
            None, [f"database.url needs the Python package {problem.name}; install it: pip install 'dmtools[mysql]'"]
        ) from None
    except exc.ArgumentError as problem:
        raise SettingsError(None, [f"database.url can't be used: {problem}"]) from None
    _mind_idle(engine)
    late.listen(engine)
    return engine


def _mind_idle(engine: Engine) -> None:
    """Asks a connection that lay idle whether it still stands, before it is used; one that has just worked is not asked."""

    @event.listens_for(engine, "checkin")
    def leave(_raw: Any, record: Any) -> None:
        record.info["left"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def take(raw: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("left", time.monotonic()) < _IDLE_SECONDS:
            return
        try:
            raw.ping(reconnect=False)
        except Exception:  # noqa: BLE001 - whatever it is: the pool tries another one
            raise exc.DisconnectionError from None


def schema_version(connection: Connection) -> str | None:
    """The schema that the database says it has."""
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def check_schema(ledger: Ledger) -> None:
    """Raises LedgerUnavailable when the database is of another schema than this program's."""
    with ledger.read() as connection:
        found = schema_version(connection)
    if found == SCHEMA:
        return
    if found is None or found < SCHEMA:
        said = f"the database {ledger.shown} has the older schema {found or 'none'}; this program needs {SCHEMA}"
        raise LedgerUnavailable(said, "bring it up with: dm-db upgrade")
    raise newer(ledger, found)


def newer(ledger: Ledger, found: str) -> LedgerUnavailable:
    """What to say of a database that a later release has made."""
    said = f"the database {ledger.shown} has schema {found}, newer than this program knows ({SCHEMA})"
    return LedgerUnavailable(said, "install the newer dmtools here; nothing of it was read or written")


def file_system(directory: Path) -> str:
    """The type of the file system that holds the directory, from /proc; empty when it can't be told."""
    best, kind = "", ""
    real = os.path.realpath(directory)
    try:
        lines = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        _, point, found = line.split(" ", 3)[:3]
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point)  # a blank is \040 there
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind


def _is_full(path: Path) -> bool:
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < 1 << 20


def _number(problem: exc.DBAPIError) -> int:
    args = getattr(problem.orig, "args", ())
    return args[0] if args and isinstance(args[0], int) else 0


def _first_line(said: str) -> str:
    return said.strip().splitlines()[0][:200] if said.strip() else "no reason given"
