"""dm-check of the statistics: their database is there and whole, where files say that they are in it. Reads only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from sqlalchemy import func, make_url, select

from dmtools.control.checking import Finding
from dmtools.control.passes import Pass
from dmtools.datalogger.check import finding
from dmtools.datalogger.files import F, File

AGAIN = "datalogger-distill --again makes them anew: from drafts, and from files whose drafts are gone, which reads them"


def check(this: Pass, known: Mapping[str, File]) -> Iterator[Finding]:
    """A server's database is looked after there."""
    url = make_url(this.settings.datalogger.stats_url)
    if url.get_backend_name() != "sqlite" or not url.database or not known:
        return
    path = Path(url.database)
    with this.ledger.read() as connection:
        number = connection.execute(select(func.count()).where(F.distilled.is_not(None))).scalar() or 0
    if not path.exists():
        if number:
            says = f"{number} files have their statistics in it, and it is not there"
            yield finding("statistics-gone", str(path), says, next=f"put it back from a backup; or {AGAIN}")
    elif why := _broken(path):
        yield finding("statistics-broken", str(path), why, next=f"move it away; then {AGAIN}")


def _broken(path: Path) -> str:
    """What is wrong with it; empty: nothing, or it can't be told now."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as database:
            said = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
            return "" if said == "ok" else f"it is damaged: {said}"
    except sqlite3.OperationalError:
        return ""  # locked, or may not be read: whoever uses it says so
    except sqlite3.DatabaseError as problem:
        return f"it is damaged: {problem}"
