"""Rows of daq's files: read, claimed in blocks, and what is written to them beside a change of state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, or_, select

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.daq.lfn import lfn_key
from dmtools.daq.states import BAD, COPIED, FOUND, STATES
from dmtools.ledger import journal, tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.ledger.journal import Move
from dmtools.storage.answers import ErrorClass

F = tables.daq_file.c
BLOCK = 256  # files whose ids stand together are claimed as one
LONGEST_WAIT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class File:
    """A file as its row had it."""

    id: int
    disk_id: int
    path: str
    lfn: str
    size: int
    mtime_ns: int
    inode: int
    checksum: str | None
    state: str
    failures: int
    error_class: str | None
    twin_id: int | None
    zip_id: int | None

    @property
    def resource(self) -> str:
        """The lease of its block."""
        return f"daq-files-{self.id // BLOCK}"

    @property
    def shown(self) -> str:
        """Its LFN for people."""
        return names.shown(self.lfn)


COLUMNS = tuple(F[name] for name in File.__dataclass_fields__)


def read(connection: Connection, query: Select[Any]) -> list[File]:
    """The files of a query over `COLUMNS`."""
    return [File(*row) for row in connection.execute(query)]


def by_ids(connection: Connection, ids: Sequence[int]) -> dict[int, File]:
    """Files by id."""
    query = select(*COLUMNS)
    return {one.id: one for part in chunks(ids) for one in read(connection, query.where(F.id.in_(part)))}


def on_disk(disk_id: int, states: Sequence[str]) -> Select[Any]:
    """A disk's files in these states that are still on it, in the order of their ids."""
    return select(*COLUMNS).where(F.disk_id == disk_id, F.state.in_(states), F.freed.is_(None)).order_by(F.id)


def due(disk_id: int, after: int, most: int, at: datetime) -> Select[Any]:
    """The next files of a disk that are to be copied now."""
    ready = or_(F.next_try.is_(None), F.next_try <= at)
    return on_disk(disk_id, (FOUND,)).where(F.id > after, ready).limit(most)


@contextmanager
def claimed(this: Pass, files: Sequence[File]) -> Iterator[list[File]]:
    """Those of the files that nobody else works on and that are still in the state they were read in, as they are now."""
    granted = set(this.leases.claim(sorted({one.resource for one in files})))
    try:
        mine = [one for one in files if one.resource in granted]
        with this.ledger.read() as connection:
            now = by_ids(connection, [one.id for one in mine])
        yield [now[one.id] for one in mine if one.id in now and now[one.id].state == one.state]
    finally:
        this.leases.release(sorted(granted))


def advance(this: Pass, moves: Sequence[Move], files: Sequence[File]) -> set[int]:
    """Makes the moves of files whose lease we hold; gives the ids of those that were made. Others were quicker with the rest."""
    if not moves:
        return set()
    resources = {one.id: one.resource for one in files}

    def book(connection: Connection, wanted: Sequence[Move]) -> list[Move]:
        held = this.leases.still_held(connection, sorted({resources[move.item] for move in wanted}))
        ours = [move for move in wanted if resources[move.item] in held]
        journal.advance(connection, tables.daq_file, STATES, ours, by=this.by, at=clock.now())
        return ours

    try:
        made = this.ledger.transact(lambda c: book(c, moves))
    except Stale:
        made = []
        for move in moves:  # one of them was moved meanwhile, by whatever command
            try:
                made += this.ledger.transact(lambda c, one=move: book(c, [one]))  # type: ignore[misc]
            except Stale as problem:
                this.log(f"{problem}; left to it")
    for move in made:
        this.moved(move.before, move.after)
    return {move.item for move in made}


def failed(this: Pass, file: File, cls: ErrorClass, why: str, *, bad: bool = False) -> bool:
    """Books a failed attempt; True: the file is Bad now. `bad`: it can't get better by itself."""
    failures = file.failures + 1
    words: dict[str, Any] = {"failures": failures, "error_class": cls, "reason": why}
    if file.state == COPIED:
        words["checksum"] = None  # nothing of it is at the site
    if bad or failures >= this.settings.daq.max_attempts:
        move = Move(file.id, file.state, BAD, why, file.size, values=tuple(words.items()))
        return bool(advance(this, [move], [file]))
    until = clock.now() + min(LONGEST_WAIT, timedelta(seconds=this.settings.daq.retry_seconds) * 2 ** min(failures - 1, 20))
    if file.state == FOUND:
        put_off(this, file, until, why, **words)
    else:
        values = tuple({**words, "next_try": until}.items())
        advance(this, [Move(file.id, file.state, FOUND, why, file.size, values=values)], [file])
    return False


def put_off(this: Pass, file: File, until: datetime, why: str, **values: Any) -> None:
    """A Found file waits; its new `size`, if one is given, is counted."""
    at, size = clock.now(), values.get("size", file.size)

    def book(connection: Connection) -> None:
        row = tables.daq_file.update().where(F.id == file.id, F.state == FOUND)
        if connection.execute(row.values({"next_try": until, "reason": why, **values})).rowcount:
            journal.add_tally(connection, STATES.pipeline, {FOUND: (0, size - file.size)})
            journal.note(connection, STATES.pipeline, STATES.kind, file.id, by=this.by, at=at, why=why)

    this.ledger.transact(book)


def again(this: Pass, files: Sequence[File], why: str) -> None:
    """Copied files of which nothing stands at the site: they are copied again, no attempt is counted."""
    moves = [Move(one.id, COPIED, FOUND, why, one.size, values=(("checksum", None), ("reason", why))) for one in files]
    advance(this, moves, files)


def take_over(this: Pass, file: File) -> None:
    """The first file of this LFN is no more in the books: this one has the LFN now, if nobody was quicker."""

    def book(connection: Connection) -> None:
        key = lfn_key(file.lfn)
        other = connection.execute(select(F.id).where(F.lfn_key == key)).scalar()
        values = {"twin_id": other} if other is not None else {"twin_id": None, "lfn_key": key}
        connection.execute(tables.daq_file.update().where(F.id == file.id, F.state == FOUND).values(values))

    this.ledger.transact(book)


def places(connection: Connection, files: Sequence[File]) -> dict[int, str]:
    """Where files are or were, for people, by id: DISK/PATH."""
    disks = tables.daq_disk.c
    query = select(disks.id, disks.path).where(disks.id.in_({one.disk_id for one in files}))
    paths = {row.id: row.path for row in connection.execute(query)}
    return {one.id: names.shown(f"{paths.get(one.disk_id, '?')}/{one.path}") for one in files}
