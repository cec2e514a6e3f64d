"""Declarations as they are booked: one file at one catalogue, where it stands, what of it is known to be there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from dmtools import __version__, names
from dmtools.control.passes import Pass
from dmtools.datalogger import files, windows
from dmtools.datalogger.catalogues.entry import Entry
from dmtools.datalogger.files import F
from dmtools.datalogger.states import DECLARATION_STATES, DECLARED, PUBLISHED, UNDECLARED
from dmtools.datalogger.windows import W
from dmtools.ledger import journal, tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.ledger.types import AnyRow

D = tables.datalogger_declaration.c
ORDER = DECLARATION_STATES.names()
# What is declared: files that are out, of the schedule's or adopted.
WANTED = (F.state == PUBLISHED, or_(F.origin == windows.SCHEDULE, F.adopted == 1))


@dataclass(frozen=True)
class Declaration:
    """One row of `datalogger_declaration`; `id` 0: it is not in the table yet, which a dry run leaves so."""

    id: int
    file_id: int
    catalogue: str
    state: str
    since: datetime
    ready: datetime
    failures: int
    reason: str | None
    steps: str
    name: str
    made: datetime  # when its file was out

    @property
    def resource(self) -> str:
        """What is leased."""
        return f"datalogger-declaration/{self.id}"

    @property
    def shown(self) -> str:
        """For people."""
        return f"{self.name} at {self.catalogue}"


def of(row: AnyRow) -> Declaration:
    """A row of the table, with its file's `name` and since when that is out, `made`."""
    plain = {key: getattr(row, key) for key in Declaration.__dataclass_fields__ if key != "name"}
    return Declaration(**plain, name=names.shown(row.name))


def read(connection: Connection, *which: Any) -> list[Declaration]:
    """Those of these, the oldest files first."""
    query = select(tables.datalogger_declaration, F.name, F.since.label("made")).join(tables.datalogger_file, D.file_id == F.id)
    return [of(row) for row in connection.execute(query.where(*which).order_by(F.start, F.id, D.id))]


def lacking(connection: Connection, home: str, catalogue: str, at: datetime) -> list[Declaration]:
    """Files that are to be declared there and have no row yet."""
    there = select(D.file_id).where(D.catalogue == catalogue)
    query = select(F.id, F.name, F.since).where(F.home == home, *WANTED, F.id.not_in(there)).order_by(F.start, F.id)
    rows = connection.execute(query)
    return [Declaration(0, row.id, catalogue, UNDECLARED, at, at, 0, None, "", names.shown(row.name), row.since) for row in rows]


def make(this: Pass, home: str, catalogues: Collection[str], at: datetime) -> None:
    """Books what is to be declared where, before anything is declared."""

    def work(connection: Connection) -> None:
        made = []
        for one in (one for catalogue in catalogues for one in lacking(connection, home, catalogue, at)):
            row = {"home": home, "file_id": one.file_id, "catalogue": one.catalogue, "state": UNDECLARED, "since": at}
            statement = insert(tables.datalogger_declaration).values({**row, "ready": at, "failures": 0, "steps": ""})
            # On sqlite nobody else writes now; on MariaDB another pass may be quicker.
            done = connection.execute(statement if connection.dialect.name == "sqlite" else statement.prefix_with("IGNORE"))
            if done.rowcount and done.inserted_primary_key:
                made.append(journal.Move(int(done.inserted_primary_key[0]), "", UNDECLARED))
        if made:
            journal.record(connection, DECLARATION_STATES, made, by=this.by, at=at)

    with this.ledger.read() as connection:
        new = any(lacking(connection, home, catalogue, at) for catalogue in catalogues)
    if new:
        this.ledger.transact(work)


def advance(this: Pass, one: Declaration, after: str, why: str | None, values: dict[str, Any], at: datetime) -> bool:
    """Moves a declaration that is ours to another state, or books columns of it; False when somebody else has it."""

    def work(connection: Connection) -> bool:
        if not this.leases.still_held(connection, [one.resource]):
            return False
        if after == one.state:
            connection.execute(update(tables.datalogger_declaration).where(D.id == one.id).values(values))
        else:
            move = journal.Move(one.id, one.state, after, why, values=tuple(values.items()))
            journal.advance(connection, tables.datalogger_declaration, DECLARATION_STATES, [move], by=this.by, at=at)
        open_ = select(D.id).where(D.file_id == one.file_id, D.state != DECLARED)
        if after == DECLARED and connection.execute(open_).first() is None:
            connection.execute(
                update(tables.datalogger_file).where(F.id == one.file_id, F.declared.is_(None)).values(declared=at)
            )
        return True

    try:
        done = this.ledger.transact(work)
    except Stale as problem:
        this.log(f"{one.shown}: {problem}; left to it")
        return False
    if done and after != one.state:
        this.moved(one.state, after)
    return done


def entries(connection: Connection, ids: Iterable[int], timezone: str, source: str) -> Iterator[tuple[int, Entry]]:
    """What is told of these files, by id; all of it from the tables, for a file may lie on tape."""
    for part in chunks(list(ids)):
        held: dict[int, list[str]] = {}
        for row in connection.execute(select(W.file_id, W.name).where(W.file_id.in_(part)).order_by(W.name)):
            held.setdefault(row.file_id, []).append(row.name)
        for row in connection.execute(select(tables.datalogger_file).where(F.id.in_(part))):
            yield row.id, _entry(row, tuple(held.get(row.id, ())), timezone, source)


def _entry(row: AnyRow, held: tuple[str, ...], timezone: str, source: str) -> Entry:
    file = files.of(row)
    return Entry(
        name=file.place.name,
        path=str(file.place),
        bytes=file.bytes or 0,
        adler32=file.adler32 or "",
        kind=file.place.name.partition("-")[0],
        start=file.start,
        end=file.end,
        series=file.series,
        origin=file.origin,
        rows=row.rows or 0,
        names=held,
        timezone=timezone,
        source=source,
        version=__version__,
    )
