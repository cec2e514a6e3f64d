"""Windows as they are booked: one device x [start, end), where it stands, what of it is in the draft."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, insert, select, update

from dmtools.control.passes import Pass
from dmtools.datalogger import kinds, wall
from dmtools.datalogger.kinds import KINDS, Kind
from dmtools.datalogger.states import OPEN, OWED, STATES
from dmtools.ledger import journal, tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.ledger.types import AnyRow

W = tables.datalogger_window.c
DEVICE, EVENT = kinds.DEVICE, kinds.EVENT
SCHEDULE, HAND = "schedule", "hand"


@dataclass(frozen=True)
class Window:
    """One row of `datalogger_window`; times are UTC, [start, end)."""

    id: int
    kind: str
    name: str
    node: str
    start: datetime
    end: datetime
    origin: str
    state: str
    since: datetime
    failures: int
    reason: str | None
    upto: datetime
    forgotten: datetime | None
    rows: int
    first: datetime | None
    last: datetime | None
    stars: int
    doubles: int
    asked: datetime | None
    draft: str | None
    file_id: int | None

    @property
    def resource(self) -> str:
        """What is leased."""
        return resource(self.id)

    @property
    def of_kind(self) -> Kind:
        """Device or event: how it is asked for, how its rows look."""
        return KINDS[self.kind]

    @property
    def called(self) -> str:
        """The name of its table, and what people call it: `B:VIMIN`, `Event0c`."""
        return kinds.table(self.kind, self.name)

    @property
    def shown(self) -> str:
        """For people."""
        return f"{self.called} {wall.text(self.start)} to {wall.text(self.end)}"


def resource(number: int) -> str:
    """What is leased of the window with this id."""
    return f"datalogger-window/{number}"


def of(row: AnyRow) -> Window:
    """A row as a Window."""
    return Window(**{name: getattr(row, name) for name in Window.__dataclass_fields__})


def read(connection: Connection, query: Select[Any]) -> list[Window]:
    """The windows that a query of all columns gives."""
    return [of(row) for row in connection.execute(query)]


def by_ids(connection: Connection, ids: Sequence[int]) -> dict[int, Window]:
    """Those of these that are there, by id."""
    found: dict[int, Window] = {}
    for part in chunks(list(ids)):
        found |= {one.id: one for one in read(connection, select(tables.datalogger_window).where(W.id.in_(part)))}
    return found


def due(connection: Connection, home: str, kind: str, now: datetime) -> list[Window]:
    """The scheduled windows that may be asked for now; those first that the logger forgets first."""
    mine = (W.home == home, W.kind == kind, W.origin == SCHEDULE, W.state.in_(OPEN), W.ready <= now)
    return read(connection, select(tables.datalogger_window).where(*mine).order_by(W.start, W.id))


def make(connection: Connection, home: str, new: Iterable[dict[str, Any]], *, by: str, at: datetime) -> list[int]:
    """New windows, each with kind, name, node, start, end and origin; those that are there already stay. Gives the new ids."""
    made: list[int] = []
    for one in new:
        keys = {key: one[key] for key in ("kind", "name", "start", "end", "origin")}
        row = {"home": home, **one, "state": OWED, "since": at, "ready": at, "upto": one["start"], "failures": 0}
        row |= {"rows": 0, "stars": 0, "doubles": 0}
        there = select(W.id).where(W.home == home, *(W[key] == value for key, value in keys.items()))
        if connection.execute(there).first() is not None:
            continue
        statement = insert(tables.datalogger_window).values(row)
        # On sqlite nobody else writes now; on MariaDB another pass may be quicker.
        done = connection.execute(statement if connection.dialect.name == "sqlite" else statement.prefix_with("IGNORE"))
        if done.rowcount and done.inserted_primary_key:
            made.append(int(done.inserted_primary_key[0]))
    if made:
        moves = [journal.Move(number, "", OWED) for number in made]
        journal.record(connection, STATES, moves, by=by, at=at)
        journal.count_new(connection, STATES.pipeline, OWED, len(made), 0, at)
    return made


AFRESH = {"rows": 0, "first": None, "last": None, "stars": 0, "doubles": 0, "file_id": None, "draft": None}


def book(this: Pass, window: Window, values: dict[str, Any]) -> bool:
    """Writes columns of a window that is ours; False when it is not any more."""

    def work(connection: Connection) -> bool:
        if not this.leases.still_held(connection, [window.resource]):
            return False
        connection.execute(update(tables.datalogger_window).where(W.id == window.id).values(values))
        return True

    return this.ledger.transact(work)


def advance(this: Pass, window: Window, after: str, why: str | None, values: dict[str, Any], at: datetime) -> bool:
    """Moves a window that is ours to another state; False when somebody else has moved it. Bytes are counted at its end."""
    size, size_before = (window.rows * window.of_kind.row_bytes if state not in OPEN else 0 for state in (after, window.state))
    move = journal.Move(window.id, window.state, after, why, size, size_before, tuple(values.items()))

    def work(connection: Connection) -> bool:
        if not this.leases.still_held(connection, [window.resource]):
            return False
        journal.advance(connection, tables.datalogger_window, STATES, [move], by=this.by, at=at)
        return True

    try:
        if not this.ledger.transact(work):
            return False
    except Stale as problem:
        this.log(f"{window.shown}: {problem}; left to it")
        return False
    this.moved(window.state, after)
    return True
