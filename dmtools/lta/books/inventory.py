"""What the slots of a HOME hold: disks that are new, back or gone, one set aside that is in two slots at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update

from dmtools import names
from dmtools.ledger import journal, tables
from dmtools.ledger.journal import Move
from dmtools.ledger.types import AnyRow
from dmtools.lta.api import Wrong
from dmtools.lta.api.dump import Disk, Disks, Inventory, SeenSlot
from dmtools.lta.books import rows
from dmtools.lta.books.desk import Desk
from dmtools.lta.states import DISK_STATES, DONE, DUMPING, ERROR, INVENTORIED, NEW, REMOVED

TABLE, SLOT = tables.lta_disk, tables.lta_slot


@dataclass
class _Change:
    """What becomes of a disk: its states, one after the other, why, and other columns."""

    row: AnyRow
    path: tuple[str, ...]
    why: str | None
    values: dict[str, Any]


def take(desk: Desk, ask: Inventory) -> Disks:
    """Books it all, and answers the disks that are in the slots."""
    desk.at_source()
    for slot in ask.slots:
        if (slot.state == "disk") != (slot.uuid is not None):
            raise Wrong(f"the slot {slot.path} is {slot.state!r}: a uuid belongs to a disk, and to nothing else")
    _write_slots(desk, ask)
    where: dict[str, list[SeenSlot]] = {}
    for slot in ask.slots:
        if slot.uuid is not None:
            where.setdefault(slot.uuid, []).append(slot)
    _announce(desk, ask.home, where)
    query = select(*rows.columns(TABLE, Disk)).where((TABLE.c.home == ask.home) | TABLE.c.uuid.in_(sorted(where)))
    found = desk.connection.execute(query.order_by(TABLE.c.id).with_for_update()).all()
    bad = {slot.path for slot in ask.slots if slot.state == "bad"}
    changes = [change for row in found if (change := _change(desk, ask.home, row, where.get(row.uuid, []), bad))]
    for change in changes:
        _write(desk, change)
    again = select(*rows.columns(TABLE, Disk)).where(TABLE.c.uuid.in_(sorted(where))).order_by(TABLE.c.id)
    return Disks(disks=tuple(rows.made(Disk, row) for row in desk.connection.execute(again)))


def _write_slots(desk: Desk, ask: Inventory) -> None:
    desk.connection.execute(SLOT.delete().where(SLOT.c.home == ask.home))
    seen = {slot.path: slot for slot in ask.slots}
    new = [
        {
            "home": ask.home, "path": path, "path_key": names.key(path), "state": slot.state, "disk": slot.uuid,
            "reason": slot.reason, "seen": desk.now,
        }
        for path, slot in sorted(seen.items())
    ]  # fmt: skip
    desk.connection.execute(insert(SLOT), new)


def _announce(desk: Desk, home: str, where: dict[str, list[SeenSlot]]) -> None:
    """Disks that nobody has seen before."""
    there = set(desk.connection.execute(select(TABLE.c.uuid).where(TABLE.c.uuid.in_(sorted(where)))).scalars())
    for uuid, seen in sorted(where.items()):
        if uuid in there:
            continue
        row = {"uuid": uuid, "state": INVENTORIED, "since": desk.now, "ready": desk.now, "home": home, "fence": 0, "failures": 0}
        row |= {"files_done": 0, "bytes_done": 0, "slot": seen[0].path, "at": seen[0].at, "seen": desk.now}
        key = desk.connection.execute(insert(TABLE).values(row)).inserted_primary_key
        assert key is not None
        why = f"seen in the slot {seen[0].path}"
        journal.record(desk.connection, DISK_STATES, [Move(key[0], "", INVENTORIED, why)], by=desk.who.name, at=desk.now)


def _change(desk: Desk, home: str, row: AnyRow, seen: Sequence[SeenSlot], bad: set[str]) -> _Change | None:
    busy = row.state == DUMPING and row.holder is not None and row.ready > desk.now
    if not seen:
        if row.state in (NEW, REMOVED) or row.slot in bad:
            return None  # what is in a slot that can't be read is not known
        return _Change(row, (REMOVED,), "it is in no slot any more", {"holder": None, "fence": row.fence + 1, "at": None})
    if row.home not in (None, home) and busy:
        return None  # the HOME that dumps it knows better
    place = {"home": home, "slot": seen[0].path, "at": seen[0].at, "seen": desk.now}
    if len(seen) > 1:
        why = f"its UUID is in {len(seen)} slots at once: {', '.join(sorted(slot.path for slot in seen))}; take all but one out"
        path = {ERROR: (), NEW: (INVENTORIED, ERROR), REMOVED: (INVENTORIED, ERROR)}.get(row.state, (ERROR,))
        return _Change(row, path, why, {**place, "reason": why, "holder": None, "fence": row.fence + 1})
    if row.state == REMOVED and row.ended is not None:
        return _Change(row, (DONE,), "it is back; it was dumped before", place)
    if row.state in (NEW, REMOVED):
        return _Change(row, (INVENTORIED,), f"seen in the slot {seen[0].path}", {**place, "ready": desk.now, "reason": None})
    return _Change(row, (), None, place)


def _write(desk: Desk, change: _Change) -> None:
    before = change.row.state
    for after in change.path:
        move = Move(change.row.id, before, after, change.why)
        journal.advance(desk.connection, TABLE, DISK_STATES, [move], by=desk.who.name, at=desk.now)
        before = after
    desk.connection.execute(update(TABLE).where(TABLE.c.id == change.row.id).values(change.values))
