"""datalogger-distill: each file that has no statistics yet is read once; they are written, then it is booked that they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, select, update

from dmtools import clock
from dmtools.command.run import Refused
from dmtools.control.passes import Pass
from dmtools.datalogger import files
from dmtools.datalogger.files import F, File
from dmtools.datalogger.hdf5 import Damaged
from dmtools.datalogger.home import Home
from dmtools.datalogger.stats import connecting, store, summing
from dmtools.datalogger.stats.watching import OURS, WAITS, WHOLE
from dmtools.ledger import tables


def distill(this: Pass, again: Sequence[str] | None = None) -> None:
    """One pass; `again`: these files anew, or all when it names none. Raises Refused, Unavailable."""
    home = Home.of(this)
    if again is not None:
        _forget(this, home, again)
    url = connecting.url_of(this.settings)
    due = _due(this, home, again)
    if this.dry_run:
        for file in due:
            this.plan(f"would distil {file.place.name}")
        return
    if not due and connecting.is_there(url):
        return
    with store.opened(url) as engine:
        store.create(engine)
        for file in due:
            if not this.goes(new=False):
                return
            _distil(this, home, engine, file)


def _due(this: Pass, home: Home, again: Sequence[str] | None) -> list[File]:
    """The files to read: those first whose drafts go first, then those that can be read from their place alone, newest first."""
    named: list[ColumnElement[bool]] = [F.name.in_(list(again))] if again else []
    which = WAITS if again is None or not this.dry_run else and_(OURS, WHOLE)
    with this.ledger.read() as connection:
        query = select(tables.datalogger_file).where(F.home == home.id, which, *named).order_by(F.start, F.id)
        found = [files.of(row) for row in connection.execute(query)]
    drafted = [file for file in found if file.draft.exists()]
    return [*drafted, *(file for file in reversed(found) if file not in drafted)]


def _forget(this: Pass, home: Home, again: Sequence[str]) -> None:
    """These files, or all, are to be distilled anew. Raises Refused for a name that is none of ours."""
    ours = (F.home == home.id, OURS)
    with this.ledger.read() as connection:
        known = set(connection.execute(select(F.name).where(*ours)).scalars())
    if unknown := [name for name in again if name not in known]:
        step = "give its name alone, params-...h5; one by hand gets some only when it was adopted; --file shows any file's"
        raise Refused(f"{unknown[0]} is no file that gets statistics here; {step}")
    if this.dry_run:
        return
    which = [*ours, F.name.in_(list(again))] if again else ours

    def work(connection: Connection) -> None:
        connection.execute(update(tables.datalogger_file).where(*which).values(distilled=None, reason=None))

    this.ledger.transact(work)


def _distil(this: Pass, home: Home, engine: Engine, file: File) -> None:
    """One file; what is wrong with it is told, and holds up no other."""
    lease = f"datalogger-distill/{file.id}"
    if not this.leases.claim([lease]):
        return
    try:
        found = read(this, home, file)
        if found is None:
            return
        store.upsert(engine, found)
        at = clock.now()

        def book(connection: Connection) -> bool:
            statement = update(tables.datalogger_file).where(F.id == file.id, F.distilled.is_(None))
            return connection.execute(statement.values(distilled=at, reason=None)).rowcount > 0

        if this.ledger.transact(book):
            this.moved(file.state, "distilled")
            this.log(f"distilled {file.place.name}: {len(found)} tables, {sum(one.count for one in found)} rows")
    finally:
        this.leases.release([lease])


def read(this: Pass, home: Home, file: File) -> list[store.Statistics] | None:
    """What the draft says, else the file in its place; None when neither can be read whole, which is told."""
    troubles = []
    for path in (file.draft, file.place):
        try:
            if path == file.place:
                path.stat()
                this.log(f"{file.place.name}: its draft can't be read; read from {path.parent}, which may lie on tape")
            return _whole(this, home, file, path)
        except FileNotFoundError:
            troubles.append(f"{path} is not there")
        except Damaged as problem:
            troubles.append(str(problem))
    why = "; ".join(troubles)
    left, step = "it has no statistics; others have theirs", "put the file back whole: the next pass reads it"
    if _is_new(this, file, why):
        this.problem("not distilled", file.place.name, why=why, left=left, next=step)
    else:
        this.log(f"not distilled, as before: {file.place.name}: {why}")
    return None


def _whole(this: Pass, home: Home, file: File, path: Path) -> list[store.Statistics]:
    """All tables of it, under the names by which the file is known. Raises Damaged, OSError."""
    size = path.stat().st_size
    if size != file.bytes:
        raise Damaged(f"{path} has {size} bytes where {file.bytes} are booked: it was cut short or changed")
    at = clock.now().timestamp()
    found = [replace(one, file=file.place.name, series=file.series) for one in summing.of_file(path, home.draft, at)]
    with this.ledger.read() as connection:
        booked = connection.execute(select(F.rows).where(F.id == file.id)).scalar()
    rows = sum(one.count for one in found)
    if booked is not None and rows != booked:
        raise Damaged(f"{path} has {rows} rows where {booked} are booked")
    return found


def _is_new(this: Pass, file: File, why: str) -> bool:
    """Is it the first time that this is wrong with it? Cron would mail it each hour."""
    text = f"not distilled: {why}"[:1000]

    def work(connection: Connection) -> bool:
        known: Any = connection.execute(select(F.reason).where(F.id == file.id)).scalar()
        connection.execute(update(tables.datalogger_file).where(F.id == file.id).values(reason=text))
        return bool(known != text)

    return this.ledger.transact(work)
