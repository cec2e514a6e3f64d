"""Rows of zips and their files: read by index, and moved together in one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from dmtools import names
from dmtools.daq import states as s
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.journal import Move, advance
from dmtools.ledger.types import AnyRow
from dmtools.settings import Settings

Z, F = tables.daq_zip.c, tables.daq_file.c
MOST_NAME = 255  # bytes of a file's name
# The state of a zip's files, by the state of the zip.
FILES = {s.WAITING: s.AT_SITE, s.ZIPPING: s.ZIPPING, s.ZIPPED: s.ZIPPED, s.TO_TAPE: s.TO_TAPE, s.ON_TAPE: s.ON_TAPE, s.BAD: s.BAD}


@dataclass(frozen=True)
class Zip:
    """One row of `daq_zip` as it was read."""

    id: int
    name: str
    state: str
    since: datetime
    files: int
    bytes: int
    attempt: int
    failures: int
    next_try: datetime | None
    error_class: str | None
    reason: str | None
    room: str | None
    job_key: str | None
    job: str | None
    submitted: datetime | None
    place: str | None
    zip_size: int | None
    zip_checksum: str | None
    list_id: int | None
    proved: datetime | None

    @property
    def resource(self) -> str:
        """The name of its lease."""
        return f"zip/{self.id}"

    @property
    def key(self) -> str:
        """The key of its open or last attempt."""
        return self.job_key or ""

    @property
    def shown(self) -> str:
        """Its name for people."""
        return names.shown(self.name)


COLUMNS = tuple(Z[name] for name in Zip.__dataclass_fields__)


def upload_url(settings: Settings, name: str, key: str) -> str:
    """Where the attempt `key` puts the zip `name`: no two attempts share it."""
    directory, _, base = name.rpartition("/")
    made = f"{base.removesuffix('.zip')}.{key}.zip"
    return f"{settings.daq.zips}{directory}/{made if len(names.decode(made)) <= MOST_NAME else f'{key}.zip'}"


def tape_url(settings: Settings, name: str) -> str:
    """Where the zip is on tape."""
    return settings.daq.tape + name


def in_state(connection: Connection, state: str, *where: ColumnElement[bool], most: int | None = None) -> list[Zip]:
    """The zips in a state, those first that came into it first."""
    query = select(*COLUMNS).where(Z.state == state, *where).order_by(Z.since, Z.id).limit(most)
    return [Zip(*row) for row in connection.execute(query)]


def by_ids(connection: Connection, ids: Sequence[int]) -> dict[int, Zip]:
    """The zips with these ids."""
    found = (row for part in chunks(ids) for row in connection.execute(select(*COLUMNS).where(Z.id.in_(part))))
    return {row.id: Zip(*row) for row in found}


def by_name(connection: Connection, name: str) -> Zip | None:
    """The zip of this name."""
    row = connection.execute(select(*COLUMNS).where(Z.name_key == names.key(name))).first()
    return None if row is None else Zip(*row)


def files_of(connection: Connection, zips: Iterable[Zip]) -> dict[int, list[AnyRow]]:
    """Their files, by the zip's id, in the order in which they go into it."""
    found: dict[int, list[AnyRow]] = defaultdict(list)
    query = select(F.id, F.zip_id, F.lfn, F.size, F.checksum, F.state, F.freed).order_by(F.id)
    for part in chunks([one.id for one in zips]):
        for row in connection.execute(query.where(F.zip_id.in_(part))):
            found[row.zip_id].append(row)
    return found


@dataclass(frozen=True)
class Step:
    """A zip's next state. `values` go into its row, `of_files` into those of its files."""

    zip: Zip
    after: str
    why: str
    values: dict[str, Any] = field(default_factory=dict)
    of_files: dict[str, Any] = field(default_factory=dict)


def book(connection: Connection, steps: Sequence[Step], *, by: str, at: datetime) -> dict[tuple[str, str], int]:
    """Zips and those of their files that stand as they do: all or none. Gives how many files went from where to where.

    Raises Stale when a zip is no longer as it was read.
    """
    moves = [Move(one.zip.id, one.zip.state, one.after, one.why, values=tuple(one.values.items())) for one in steps]
    advance(connection, tables.daq_zip, s.ZIP_STATES, moves, by=by, at=at)
    with_files = [one for one in steps if one.after in FILES]
    rows = files_of(connection, [one.zip for one in with_files])
    of_files: list[Move] = []
    for one in with_files:
        before, after = FILES[one.zip.state], FILES[one.after]
        alike = [row for row in rows[one.zip.id] if row.state == before]
        values = tuple(one.of_files.items())
        of_files += [Move(row.id, before, after, one.why, row.size, values=values) for row in alike]
    if of_files:
        advance(connection, tables.daq_file, s.STATES, of_files, by=by, at=at)
    moved: dict[tuple[str, str], int] = defaultdict(int)
    for move in of_files:
        moved[move.before, move.after] += 1
    return moved
