"""Arriving disks: claimed, dumped, set aside."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, select, update

from dmtools.ledger import journal, tables
from dmtools.ledger.journal import Move
from dmtools.ledger.types import AnyRow
from dmtools.lta.api import LOCAL, Conflict, Done, Unknown, Wrong
from dmtools.lta.api.dump import (
    AdvanceDisks,
    ClaimDisks,
    Disk,
    DiskMove,
    Disks,
    ExtendDisks,
    ListDisks,
    ListSlots,
    ListTargets,
    SetDisk,
    Slot,
    Slots,
    Target,
    Targets,
)  # fmt: skip
from dmtools.lta.books import claims, rows
from dmtools.lta.books.desk import Desk, known
from dmtools.lta.states import DISK_STATES, DONE, DUMPING, ERROR, INVENTORIED, REMOVED

TABLE, SLOT, SITE = tables.lta_disk, tables.lta_slot, tables.lta_site
_COUNTS = ("target", "files", "bytes", "files_done", "bytes_done")


def listed(desk: Desk, ask: ListDisks) -> Disks:
    """A page of disks."""
    known(DISK_STATES, *ask.states)
    where: list[ColumnElement[bool]] = []
    if ask.states:
        where.append(TABLE.c.state.in_(ask.states))
    if ask.uuid is not None:
        where.append(TABLE.c.uuid == ask.uuid)
    found, after = rows.page(desk.connection, TABLE, Disk, where, ask.after, ask.limit)
    return Disks(disks=found, next=after)


def slots(desk: Desk, _ask: ListSlots) -> Slots:
    """All slots."""
    query = select(*rows.columns(SLOT, Slot)).order_by(SLOT.c.home, SLOT.c.path)
    return Slots(slots=tuple(rows.made(Slot, row) for row in desk.connection.execute(query)))


def targets(desk: Desk, _ask: ListTargets) -> Targets:
    """Where disks were dumped to, and what the source says is free."""
    free = desk.connection.execute(select(SITE.c.free).where(SITE.c.name == LOCAL)).scalar()
    found = desk.connection.execute(select(TABLE.c.target).where(TABLE.c.target.is_not(None)).distinct()).scalars()
    paths = sorted({*found, *([desk.settings.lta.warehouse] if desk.settings.lta.warehouse else [])})
    return Targets(targets=tuple(Target(path=path, free=free) for path in paths))


def claim(desk: Desk, ask: ClaimDisks) -> Disks:
    """Lost ones first, then those that wait longest, while fewer than `at_once` are dumped. Claimers come one by one."""
    desk.at_source()
    query = select(*rows.columns(TABLE, Disk)).where(TABLE.c.home == ask.home, TABLE.c.state.in_((INVENTORIED, DUMPING)))
    found = desk.connection.execute(query.order_by(TABLE.c.id).with_for_update()).all()
    busy = [row for row in found if row.holder is not None and row.ready > desk.now]
    free = [row for row in found if row.ready <= desk.now]
    free.sort(key=lambda row: (row.state != DUMPING, row.ready, row.id))
    mine = free[: max(0, ask.at_once - len(busy))]
    values = claims.take(desk, TABLE, [row.id for row in mine], ask.holder, ask.seconds)
    return Disks(disks=claims.taken(Disk, mine, values))


def extend(desk: Desk, ask: ExtendDisks) -> Done:
    """Keeps claims longer."""
    desk.at_source()
    return Done(done=claims.extend(desk, TABLE, ask.held, ask.seconds))


def advance(desk: Desk, ask: AdvanceDisks) -> Disks:
    """Changes states, or books progress; all or none."""
    desk.at_source()
    for move in ask.moves:
        known(DISK_STATES, move.before, move.to)
    claims.refuse_twice("a disk", [move.id for move in ask.moves])
    found = rows.locked(desk.connection, TABLE, Disk, [move.id for move in ask.moves])
    moves, made = [], []
    for move in ask.moves:
        row = claims.check("disk", found.get(move.id), move.id, move.fence, move.before)
        after, why, values = _checked(desk, row, move)
        if after != row.state:
            moves.append(Move(row.id, row.state, after, why, values=tuple(values.items())))
            made.append(rows.made(Disk, row, state=after, since=desk.now, **values))
        else:
            if values:
                desk.connection.execute(update(TABLE).where(TABLE.c.id == row.id).values(values))
            made.append(rows.made(Disk, row, **values))
    journal.advance(desk.connection, TABLE, DISK_STATES, moves, by=desk.who.name, at=desk.now)
    return Disks(disks=tuple(made))


def _checked(desk: Desk, row: AnyRow, move: DiskMove) -> tuple[str, str | None, dict[str, Any]]:
    same = move.before == move.to
    if not same and not DISK_STATES.legal(move.before, move.to):
        raise Conflict(f"{move.before} -> {move.to} is no legal change of a disk's state; nothing was changed")
    after, why = move.to, move.why
    values: dict[str, Any] = {name: value for name in _COUNTS if (value := getattr(move, name)) is not None}
    if not same or not move.keep:
        values |= {} if move.keep else {"holder": None, "ready": desk.now}
    if move.failed:
        failed = claims.failure(desk, row, move.why)
        why = failed.why
        values |= {"failures": failed.failures, "reason": why}
        if not move.keep:
            values["ready"] = failed.ready
        if failed.last and DISK_STATES.legal(move.before, ERROR):
            after = ERROR
            values |= {"holder": None, "ready": desk.now}
    elif after == ERROR:
        values["reason"] = move.why
    if after == DUMPING and not same:
        values |= {"begun": desk.now, "ended": None}
    if after == DONE:
        values |= {"ended": desk.now, "failures": 0, "reason": None}
    return after, why, values


def set_state(desk: Desk, ask: SetDisk) -> Disk:
    """A person's word: dump it (again), or it is taken out."""
    known(DISK_STATES, ask.to)
    if ask.to not in (INVENTORIED, REMOVED):
        raise Wrong(f"a person sets {INVENTORIED} or {REMOVED}, not {ask.to}; nothing was changed")
    query = select(*rows.columns(TABLE, Disk)).where(TABLE.c.uuid == ask.uuid).with_for_update()
    row = desk.connection.execute(query).one_or_none()
    if row is None:
        raise Unknown(f"there is no disk {ask.uuid}")
    if not DISK_STATES.legal(row.state, ask.to):
        raise Conflict(f"{row.state} -> {ask.to} is no legal change of a disk's state; nothing was changed")
    values = {"holder": None, "ready": desk.now, "fence": row.fence + 1, "failures": 0, "reason": None}
    if ask.to == INVENTORIED:
        values |= {"ended": None, "files_done": 0, "bytes_done": 0}
    move = Move(row.id, row.state, ask.to, ask.why, values=tuple(values.items()))
    journal.advance(desk.connection, TABLE, DISK_STATES, [move], by=desk.who.name, at=desk.now)
    return rows.made(Disk, row, state=ask.to, since=desk.now, **values)
