"""A database that is gone, empty or damaged: told apart, set aside (never deleted), made anew for a rebuild."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from dmtools import clock, durable
from dmtools.command import Unavailable
from dmtools.ledger import schema, tables
from dmtools.ledger.engine import Ledger, open_ledger, sqlite_path
from dmtools.settings import Settings

COMPANIONS = ("", "-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Lost:
    """What is wrong with the database; `path` is its file, None for MariaDB."""

    why: str
    path: Path | None = None


def look(settings: Settings) -> Lost | None:
    """Is the database lost? None: it is as it should be, or only of an older schema. Raises LedgerUnavailable."""
    path = sqlite_path(settings)
    if path is None:
        return _look_at_server(settings)
    if not os.path.lexists(path):
        return Lost(f"the database {path} is not there", path)
    if path.is_dir():
        return Lost(f"the database {path} is a directory", path)
    if path.stat().st_size == 0:
        return Lost(f"the database {path} is empty", path)
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=settings.database.busy_seconds)
        try:
            said = connection.execute("PRAGMA quick_check(3)").fetchone()[0]
            there = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            version = (
                connection.execute("SELECT version_num FROM alembic_version").fetchone() if "alembic_version" in there else None
            )
        finally:
            connection.close()
    except sqlite3.OperationalError as problem:
        if "locked" in str(problem) or "unable to open" in str(problem):
            return None  # whoever opens it says so
        return Lost(f"the database {path} is damaged ({problem})", path)
    except sqlite3.DatabaseError as problem:
        return Lost(f"the database {path} is damaged ({problem})", path)
    if said != "ok":
        return Lost(f"the database {path} is damaged ({said})", path)
    return _lacks(str(path), there, version[0] if version else None, path)


def _lacks(shown: str, there: set[str], version: str | None, path: Path | None) -> Lost | None:
    gone = sorted(set(tables.metadata.tables) - there)
    if version is not None and version != tables.SCHEMA:
        return None  # an upgrade's work, or a newer release's
    if gone or version is None:
        few = ", ".join(gone[:3]) + (" ..." if len(gone) > 3 else "")
        return Lost(
            f"the database {shown} has lost tables ({few})" if gone else f"the database {shown} does not say its schema", path
        )
    return None


def _look_at_server(settings: Settings) -> Lost | None:
    from sqlalchemy import inspect

    ledger = open_ledger(settings, check=False)
    try:
        with ledger.read() as connection:
            there = set(inspect(connection).get_table_names())
            version = None
            if "alembic_version" in there:
                version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    finally:
        ledger.close()
    return _lacks(ledger.shown, there, version, None)


def holders(path: Path) -> list[int]:
    """The processes that have the file open, though it may have no name any more."""
    names = {str(path) + tail for tail in COMPANIONS}
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or entry.name == str(os.getpid()):
            continue
        try:
            open_files = [os.readlink(one) for one in (entry / "fd").iterdir()]
        except OSError:
            continue
        if names & {name.removesuffix(" (deleted)") for name in open_files}:
            found.add(int(entry.name))
    return sorted(found)


def renew(settings: Settings, lost: Lost) -> list[Path]:
    """Sets the old file aside and makes the tables anew. Gives where the old one is now.

    Raises Unavailable while somebody works with it; LedgerUnavailable, OSError.
    """
    if lost.path is not None and (pids := holders(lost.path)):
        why = f"the processes {', '.join(map(str, pids))} still work with it"
        raise Unavailable("still in use", str(lost.path), why, "let them end, then again")
    aside = _set_aside(settings.home, lost.path) if lost.path is not None else []
    ledger: Ledger = open_ledger(settings, check=False)
    try:
        schema.upgrade(ledger)
    finally:
        ledger.close()
    if lost.path is not None:
        lost.path.chmod(0o640)
    return aside


def _set_aside(home: Path, path: Path) -> list[Path]:
    place = home / "run" / "set-aside" if path.parent == home else path.parent  # a rename must stay on its disk
    place.mkdir(parents=True, exist_ok=True, mode=0o750)
    stamp = clock.stamp(clock.now())
    moved = []
    for tail in reversed(COMPANIONS):  # the file itself last: until then a second try finds the same
        old = path.with_name(path.name + tail)
        if os.path.lexists(old):
            new = place / f"{path.name}.{stamp}{tail}"
            durable.move(old, new)
            moved.append(new)
    return moved
