"""A copy of the sqlite database while the commands work: sqlite's own backup, checked, under its name only when whole."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from dmtools import durable


class BackupRefused(Exception):
    """The copy was not made; the text says why and what to do."""


def backup(source: Path, target: Path) -> int:
    """Copies the database of one instant to a new file with mode 0600. Gives its bytes. Raises BackupRefused, OSError."""
    if os.path.lexists(target):
        raise BackupRefused(f"{target} is there already; a backup never overwrites: name another file")
    if not target.parent.is_dir():
        raise BackupRefused(f"there is no directory {target.parent}")
    temporary = durable.hidden(target)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        _copy(source, temporary)
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        durable.rename_new(temporary, target)
        durable.fsync_dir(target.parent)
    except FileExistsError:
        raise BackupRefused(f"{target} appeared meanwhile; nothing was overwritten") from None
    finally:
        temporary.unlink(missing_ok=True)
    return target.stat().st_size


def _copy(source: Path, target: Path) -> None:
    from_, to = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True), sqlite3.connect(target)
    try:
        from_.backup(to)
        to.execute("PRAGMA journal_mode=DELETE")  # one file, without companions
        said = to.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise BackupRefused(f"the copy is damaged, and so is the database: {said}; rebuild it with: dm-check --repair")
    except sqlite3.Error as problem:
        raise BackupRefused(f"sqlite could not copy {source}: {problem}") from None
    finally:
        to.close()
        from_.close()
