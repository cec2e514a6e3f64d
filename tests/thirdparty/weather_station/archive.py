"""The work: each reading is copied, booked, and then taken out of the inbox. A kill at any line leaves it to the next pass."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, insert, select

from dmtools import clock, durable
from dmtools.control.passes import Pass
from dmtools.ledger.engine import Stale
from dmtools.ledger.journal import Move, advance, count_moves, record
from dmtools.ledger.types import AnyRow
from weather_station import tables
from weather_station.register import ARCHIVED, BAD, NEW, STATES
from weather_station.tables import reading


def places(home: Path) -> tuple[Path, Path]:
    """(inbox, archive)."""
    return home / "weather/inbox", home / "weather/archive"


def archive(this: Pass) -> None:
    """One pass."""
    inbox, store = places(this.home)
    names = sorted(path.name for path in inbox.glob("*.csv"))
    if this.dry_run:
        for name in names:
            this.plan(f"would archive {name}")
        return
    tables.make(this)
    store.mkdir(parents=True, exist_ok=True)
    this.ledger.transact(lambda connection: notice(connection, names, this.by))
    with this.ledger.read() as connection:
        rows = list(connection.execute(select(reading).where(reading.c.name.in_(names)).order_by(reading.c.id)))
    for row in rows:
        if not this.goes():  # a halt, or a drain: nothing new is begun
            return
        if row.state == ARCHIVED:  # a pass was killed before its last step
            (inbox / row.name).unlink(missing_ok=True)
        elif row.state == NEW and this.leases.claim([f"weather/{row.id}"]):
            one(this, row, inbox / row.name, store / row.name)
            this.leases.release([f"weather/{row.id}"])


def notice(connection: Connection, names: list[str], by: str) -> None:
    """Rows for the readings that have none."""
    at = clock.now()
    known = set(connection.execute(select(reading.c.name).where(reading.c.name.in_(names))).scalars())
    for name in sorted(set(names) - known):
        made = connection.execute(insert(reading).values(name=name, state=NEW, since=at))
        move = Move(made.inserted_primary_key[0], "", NEW, "seen in the inbox")
        record(connection, STATES, [move], by=by, at=at)
        count_moves(connection, STATES.pipeline, [move], at)


def one(this: Pass, row: AnyRow, source: Path, target: Path) -> None:
    """One reading: the copy, durable, then the books, then the inbox."""
    try:
        data = source.read_bytes()
    except FileNotFoundError:
        return  # another pass was quicker
    good = data.startswith(b"time,")
    if good:
        durable.write_file(target, data)
    after = ARCHIVED if good else BAD
    move = Move(row.id, NEW, after, None if good else "its first line is no head", size=len(data), size_before=0)
    try:
        this.ledger.transact(lambda c: advance(c, reading, STATES, [move], by=this.by, at=clock.now()))
    except Stale:
        return
    this.moved(NEW, after)
    if good:
        source.unlink(missing_ok=True)
        return
    this.problem(
        "no reading",
        row.name,
        why="its first line is no head: time,...",
        left="it stays in the inbox",
        next="mend it or take it away",
    )
