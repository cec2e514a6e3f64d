"""Files as they are booked: which windows each holds, where it is drafted, where it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from dmtools import names
from dmtools.control.passes import Pass
from dmtools.datalogger import wall, windows
from dmtools.datalogger.home import Home
from dmtools.datalogger.kinds import KINDS
from dmtools.datalogger.states import ASKED, DONE, DRAFT, EMPTY, FILE_STATES, INCOMPLETE, LOST, OWED
from dmtools.datalogger.windows import W, Window
from dmtools.ledger import journal, tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.ledger.types import AnyRow

F = tables.datalogger_file.c
L = tables.lease.c
WAITS = (OWED, ASKED, INCOMPLETE)  # may still come into the file of its day


@dataclass(frozen=True)
class File:
    """One row of `datalogger_file`."""

    id: int
    kind: str
    start: datetime
    end: datetime
    origin: str
    series: int
    state: str
    since: datetime
    draft: Path
    place: Path
    bytes: int | None
    adler32: str | None

    @property
    def resource(self) -> str:
        """What is leased."""
        return f"datalogger-file/{self.id}"


def of(row: AnyRow) -> File:
    """A row as a File."""
    plain = {name: getattr(row, name) for name in File.__dataclass_fields__ if name not in ("draft", "place")}
    return File(**plain, draft=path_of(row.draft), place=path_of(row.place))


def path_of(text: str) -> Path:
    """A path of the tables."""
    return Path(names.decode(text).decode("utf-8", "surrogateescape"))


def text_of(path: Path) -> str:
    """A path for the tables."""
    return names.encode(str(path).encode("utf-8", "surrogateescape"))


def name(kind: str, start: datetime, end: datetime, series: int) -> str:
    """`params-20261125T060000Z-20261126T060000Z.h5`; what came later: `..._s01.h5`."""
    later = f"_s{series:02d}" if series else ""
    return f"{KINDS[kind].component}-{wall.stamp(start)}-{wall.stamp(end)}{later}.h5"


def ripe(connection: Connection, home: str, kind: str, now: datetime, hours: float) -> list[list[int]]:
    """The ids of windows that can go into a file now, a list a day: all of the day are settled, or it waited long enough."""
    mine = (W.home == home, W.kind == kind, W.origin == windows.SCHEDULE)
    ready = and_(W.file_id.is_(None), or_(W.state.in_((DONE, EMPTY)), and_(W.state == LOST, W.rows > 0)))
    query = select(W.id, W.start, W.end, W.since).where(*mine, ready).order_by(W.start, W.id)
    groups: dict[tuple[datetime, datetime], list[AnyRow]] = {}
    for row in connection.execute(query):
        groups.setdefault((row.start, row.end), []).append(row)
    patience = timedelta(hours=hours)
    found = []
    for (start, end), rows in groups.items():
        day = (*mine, W.start == start, W.end == end)
        own = (F.home == home, F.kind == kind, F.start == start, F.end == end, F.origin == windows.SCHEDULE)
        out = connection.execute(select(func.count()).where(*own)).scalar()
        since = min(row.since for row in rows) if out else end
        waits = connection.execute(select(func.count()).where(*day, W.state.in_(WAITS))).scalar()
        if not waits or (now >= since + patience and not _is_worked_on(connection, day)):
            # Asked again: on MariaDB others may have become ready since the first look.
            found.append(list(connection.execute(select(W.id).where(*day, ready).order_by(W.id)).scalars()))
    return found


def _is_worked_on(connection: Connection, day: Sequence[Any]) -> bool:
    """Does another pass ask for a window of the day just now? Then it is had in a moment."""
    asked = connection.execute(select(W.id).where(*day, W.state.in_(WAITS))).scalars()
    held = [windows.resource(number) for number in asked]
    return bool(held) and connection.execute(select(L.id).where(L.resource.in_(held)).limit(1)).first() is not None


def intend(this: Pass, home: Home, ids: Sequence[int], at: datetime) -> File | None:
    """Books that these windows make a file, before anything is written; None when another pass has booked one of them."""

    def work(connection: Connection) -> File | None:
        chosen = [one for one in windows.by_ids(connection, ids).values() if one.file_id is None]
        if len(chosen) != len(ids):
            return None
        first = chosen[0]
        keys: dict[str, Any] = {"home": home.id, "kind": first.kind, "start": first.start, "end": first.end}
        keys["origin"] = first.origin
        series = connection.execute(select(func.max(F.series)).where(*(F[key] == value for key, value in keys.items()))).scalar()
        number = 0 if series is None else int(series) + 1
        called = name(first.kind, first.start, first.end, number)
        # Its own name: both directories may be one.
        draft, place = home.draft / f"draft-{home.id[:8]}-{first.origin}-{called}", home.out / called
        row = {**keys, "series": number, "name": called, "state": DRAFT, "since": at, "adopted": 0}
        row |= {"draft": text_of(draft), "place": text_of(place), "rows": sum(one.rows for one in chosen)}
        done = connection.execute(insert(tables.datalogger_file).values(row))
        made = int((done.inserted_primary_key or (0,))[0])
        for part in chunks(list(ids)):
            taken = update(tables.datalogger_window).where(W.id.in_(part), W.file_id.is_(None)).values(file_id=made)
            if connection.execute(taken).rowcount != len(part):
                raise Stale("another pass has put one of them into a file")
        journal.record(connection, FILE_STATES, [journal.Move(made, "", DRAFT)], by=this.by, at=at)
        return _one(connection, made)

    try:
        return this.ledger.transact(work)
    except (Stale, IntegrityError) as problem:
        this.log(f"{len(ids)} windows are left to another pass: {problem}")
        return None


def _one(connection: Connection, number: int) -> File:
    return of(connection.execute(select(tables.datalogger_file).where(F.id == number)).one())


def drafted(connection: Connection, home: str, origin: str) -> list[File]:
    """Files that are to be made or copied out, the oldest first."""
    query = select(tables.datalogger_file).where(F.home == home, F.origin == origin, F.state == DRAFT).order_by(F.start, F.id)
    return [of(row) for row in connection.execute(query)]


def held_by(connection: Connection, file: File) -> list[Window]:
    """The windows of a file, by name."""
    return windows.read(connection, select(tables.datalogger_window).where(W.file_id == file.id).order_by(W.name))
