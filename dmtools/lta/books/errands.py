"""Errands of remote sites: asked for, claimed, carried out with evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, insert, select, update

from dmtools import names
from dmtools.ledger import journal, tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.journal import Move
from dmtools.ledger.types import AnyRow
from dmtools.lta.api import Conflict, Done, Unknown, Wrong
from dmtools.lta.api.bundles import Bundle
from dmtools.lta.api.errands import (
    AddErrands,
    AdvanceErrands,
    ClaimErrands,
    Errand,
    ErrandMove,
    Errands,
    ExtendErrands,
    ListErrands,
    ReleaseErrands,
)  # fmt: skip
from dmtools.lta.books import claims, moving, rows
from dmtools.lta.books.desk import ERRANDS, Desk, known
from dmtools.lta.states import (
    ERRAND_STATES,
    EXPORT_READY,
    FIXITY_DONE,
    FIXITY_PROBLEM,
    FIXITY_REQUEST,
    PROVED,
    QUARANTINED,
    REMOTE_CLEANED,
    RETRIEVE_PROBLEM,
    RETRIEVE_REQUEST,
    STATES,
)  # fmt: skip

TABLE, BUNDLE = tables.lta_errand, tables.lta_bundle
FIRST = {"recall": RETRIEVE_REQUEST, "fixity": FIXITY_REQUEST}
_PROBLEM = {"recall": RETRIEVE_PROBLEM, "fixity": FIXITY_PROBLEM}
_ENDS = (REMOTE_CLEANED, FIXITY_DONE)
_OWN = [TABLE.c[name] for name in Errand.__struct_fields__ if name != "bundle"] + [TABLE.c.bundle_id]


def listed(desk: Desk, ask: ListErrands) -> Errands:
    """A page of errands."""
    known(ERRAND_STATES, *ask.states)
    where: list[ColumnElement[bool]] = [TABLE.c.id > ask.after]
    if ask.kind is not None:
        where.append(TABLE.c.kind == ask.kind)
    if ask.states:
        where.append(TABLE.c.state.in_(ask.states))
    if ask.bundle_id is not None:
        where.append(TABLE.c.bundle_id == ask.bundle_id)
    found = desk.connection.execute(select(*_OWN).where(*where).order_by(TABLE.c.id).limit(ask.limit + 1)).all()
    after = found[ask.limit - 1].id if len(found) > ask.limit else None
    return Errands(errands=_made(desk, found[: ask.limit]), next=after)


def _made(desk: Desk, found: Sequence[AnyRow], **changed: Any) -> tuple[Errand, ...]:
    bundles: dict[int, Bundle] = {}
    for part in chunks(sorted({row.bundle_id for row in found})):
        query = select(*rows.columns(BUNDLE, Bundle)).where(BUNDLE.c.id.in_(part))
        bundles |= {row.id: rows.made(Bundle, row) for row in desk.connection.execute(query)}
    own = [{name: value for name, value in row._mapping.items() if name != "bundle_id"} for row in found]
    return tuple(Errand(**{**values, **changed}, bundle=bundles[row.bundle_id]) for row, values in zip(found, own, strict=True))


def _read(desk: Desk, ids: Sequence[int]) -> tuple[Errand, ...]:
    found = {row.id: row for part in chunks(ids) for row in desk.connection.execute(select(*_OWN).where(TABLE.c.id.in_(part)))}
    return _made(desk, [found[one] for one in ids])


def add(desk: Desk, ask: AddErrands) -> Errands:
    """An errand a bundle; one that is open is kept, one that had a problem begins anew."""
    desk.at_source()
    wanted = list(dict.fromkeys(ask.bundles))
    bundles = rows.locked(desk.connection, BUNDLE, Bundle, wanted)
    for number in wanted:
        if number not in bundles:
            raise Unknown(f"there is no bundle {number}; nothing was asked for")
        if (state := bundles[number].state) not in PROVED:
            raise Conflict(f"bundle {number} is {state}: it is not proved on tape; nothing was asked for")
    keys = {number: names.key(f"{ask.kind}\n{number}") for number in wanted}
    there = _by_key(desk, list(keys.values()))
    if new := [number for number in wanted if keys[number] not in there]:
        stands = {"kind": ask.kind, "state": FIRST[ask.kind], "since": desk.now, "ready": desk.now, "fence": 0, "failures": 0}
        stands |= {"asked_by": desk.who.name}
        made = [{**stands, "bundle_id": n, "live_key": keys[n], "destination": bundles[n].destination} for n in new]
        desk.connection.execute(insert(TABLE), made)
        there |= _by_key(desk, [keys[number] for number in new])
        moves = [Move(there[keys[number]].id, "", FIRST[ask.kind]) for number in new]
        journal.record(desk.connection, ERRAND_STATES, moves, by=desk.who.name, at=desk.now)
    _again(desk, ask.kind, [there[key] for key in keys.values()])
    return Errands(errands=_read(desk, [there[keys[number]].id for number in wanted]))


def _by_key(desk: Desk, keys: Sequence[bytes]) -> dict[bytes, AnyRow]:
    query = select(TABLE.c.id, TABLE.c.live_key, TABLE.c.state, TABLE.c.fence)
    found = (desk.connection.execute(query.where(TABLE.c.live_key.in_(part)).with_for_update()) for part in chunks(keys))
    return {row.live_key: row for some in found for row in some}


def _again(desk: Desk, kind: str, found: Sequence[AnyRow]) -> None:
    values = {"failures": 0, "reason": None, "holder": None, "ready": desk.now, "job": None, "place": None}
    moves = [
        Move(row.id, row.state, FIRST[kind], "asked for again", values=(*values.items(), ("fence", row.fence + 1)))
        for row in found
        if row.state == _PROBLEM[kind]
    ]
    if moves:
        journal.advance(desk.connection, TABLE, ERRAND_STATES, moves, by=desk.who.name, at=desk.now)


def claim(desk: Desk, ask: ClaimErrands) -> Errands:
    """Claims the longest ready errands."""
    known(ERRAND_STATES, *ask.states)
    desk.may_claim(ERRANDS, ask.destination, ask.states)
    found = claims.ready(desk, TABLE, tuple(_OWN), ask.states, {"destination": ask.destination}, ask.most, ask.ids)
    values = claims.take(desk, TABLE, [row.id for row in found], ask.holder, ask.seconds)
    made = _made(desk, found, **values)
    return Errands(errands=tuple(msgspec.structs.replace(one, fence=one.fence + 1) for one in made))


def extend(desk: Desk, ask: ExtendErrands) -> Done:
    """Keeps claims longer."""
    return Done(done=claims.extend(desk, TABLE, ask.held, ask.seconds, *_in_reach(desk)))


def release(desk: Desk, ask: ReleaseErrands) -> Done:
    """Hands claims back."""
    return Done(done=claims.release(desk, TABLE, ask.held, *_in_reach(desk)))


def _in_reach(desk: Desk) -> list[ColumnElement[bool]]:
    if not desk.who.is_bound:
        return []
    states = sorted({before for before, _ in ERRANDS[desk.who.is_here]})
    return [TABLE.c.state.in_(states), *([] if desk.who.is_here else [TABLE.c.destination == desk.who.site])]


def advance(desk: Desk, ask: AdvanceErrands) -> Errands:
    """All changes or none."""
    for move in ask.moves:
        known(ERRAND_STATES, move.before, move.to)
    ids = [move.id for move in ask.moves]
    claims.refuse_twice("an errand", ids)
    query = select(*_OWN).where(TABLE.c.id.in_(sorted(ids))).order_by(TABLE.c.id)
    found = {row.id: row for row in desk.connection.execute(query.with_for_update())}
    bundles = rows.locked(desk.connection, BUNDLE, Bundle, [row.bundle_id for row in found.values()])
    moves = []
    for move in ask.moves:
        row = claims.check("errand", found.get(move.id), move.id, move.fence, move.before)
        moves.append(_checked(desk, row, bundles[row.bundle_id], move))
    journal.advance(desk.connection, TABLE, ERRAND_STATES, moves, by=desk.who.name, at=desk.now)
    _consequences(desk, [(move, bundles[found[move.id].bundle_id]) for move in ask.moves], moves)
    return Errands(errands=_read(desk, ids))


def _checked(desk: Desk, row: AnyRow, bundle: AnyRow, move: ErrandMove) -> Move:
    if not ERRAND_STATES.legal(move.before, move.to):
        raise Conflict(f"{move.before} -> {move.to} is no legal change of an errand's state; nothing was changed")
    desk.may(ERRANDS, row.destination, move.before, move.to)
    if move.to in (EXPORT_READY, FIXITY_DONE) and not move.failed:
        if move.sha512 is None:
            raise Wrong(f"{move.before} -> {move.to} needs evidence: the sha512 that was read; nothing was changed")
        if move.sha512 != bundle.sha512:
            raise Conflict(f"errand {row.id} is not proved: sha512 {move.sha512} is not the bundle's; it stays {row.state}")
    after, why = move.to, move.why
    values: dict[str, Any] = {"holder": None, "ready": desk.after(move.wait) if move.wait else desk.now}
    if move.failed:
        failed = claims.failure(desk, row, move.why, move.wait)
        why = failed.why
        values |= {"failures": failed.failures, "reason": why, "ready": failed.ready}
        after = _PROBLEM[row.kind] if failed.last else move.to
    elif after in _PROBLEM.values():
        values["reason"] = move.why
    elif after in (EXPORT_READY, FIXITY_DONE):
        values |= {"failures": 0, "reason": None}
    if move.keep and after == move.to:
        values = {name: value for name, value in values.items() if name not in ("holder", "ready")}
    if after in _ENDS:
        values["live_key"] = None
    values |= {name: value for name in ("place", "job") if (value := getattr(move, name)) is not None}
    return Move(row.id, row.state, after, why, values=tuple(values.items()))


def _consequences(desk: Desk, asked: Sequence[tuple[ErrandMove, AnyRow]], moves: Sequence[Move]) -> None:
    """For the bundles: read again and right, or set aside because the tape has something else."""
    right = [bundle.id for (_, bundle), move in zip(asked, moves, strict=True) if move.after == FIXITY_DONE]
    if right:
        desk.connection.execute(update(BUNDLE).where(BUNDLE.c.id.in_(right)).values(audited=desk.now))
    changes: list[moving.Change] = []
    for (ask, bundle), move in zip(asked, moves, strict=True):
        if move.after == FIXITY_PROBLEM and ask.differs and STATES.legal(bundle.state, QUARANTINED):
            why = ask.why or "the tape has other bytes"
            values = {**moving.set_aside(desk, bundle, why, "fixity"), "fence": bundle.fence + 1}
            changes.append((bundle, (QUARANTINED, why, values)))
    if changes:
        moving.write(desk, changes)
