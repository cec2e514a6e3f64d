"""Bundles are claimed, kept, handed back; room of the destination's quota is reserved in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, select, update

from dmtools.ledger import journal, tables
from dmtools.ledger.journal import Move
from dmtools.ledger.types import AnyRow
from dmtools.lta.api import Done, Wrong
from dmtools.lta.api.bundles import Bundle, Bundles, Claim, Extend, Release
from dmtools.lta.books import claims, rows
from dmtools.lta.books.desk import BUNDLES, Desk, known
from dmtools.lta.states import ABORT, QUARANTINED, STATES, UNTOUCHED

TABLE, SITE = tables.lta_bundle, tables.lta_site


def claim(desk: Desk, ask: Claim) -> Bundles:
    """Claims the longest ready bundles, and reserves room for them when that is asked."""
    known(STATES, *ask.states)
    if set(ask.states) & {ABORT, QUARANTINED}:
        raise Wrong(f"what is {ABORT} or {QUARANTINED} can't be claimed: it waits for a person")
    desk.may_claim(BUNDLES, ask.destination, ask.states)
    found_room = room(desk, ask.destination) if ask.reserve else None
    if ask.reserve and found_room is None:
        return Bundles(bundles=())
    fixed = {"destination": ask.destination, **({} if ask.home is None else {"home": ask.home})}
    columns = rows.asked(desk.connection, TABLE, Bundle)
    found = claims.ready(desk, TABLE, columns, ask.states, fixed, ask.most, ask.ids, Bundle)
    if found_room is None:
        return Bundles(
            bundles=claims.taken(Bundle, found, claims.take(desk, TABLE, [r.id for r in found], ask.holder, ask.seconds))
        )
    return _with_room(desk, ask, found, *found_room)


def room(desk: Desk, destination: str) -> tuple[int, int] | None:
    """(quota, reserved) of the site, kept from others until the transaction ends; None while the quota isn't known."""
    query = select(SITE.c.quota, SITE.c.reserved).where(SITE.c.name == destination)
    row = desk.connection.execute(query.with_for_update()).one_or_none()
    return None if row is None or row.quota is None else (row.quota, row.reserved)


def _with_room(desk: Desk, ask: Claim, found: Sequence[AnyRow], quota: int, reserved: int) -> Bundles:
    fit: list[AnyRow] = []
    need, too_large = 0, []
    for row in found:
        wanted = row.size - row.reserved
        if row.size > quota:
            too_large.append(row)
        elif reserved + need + wanted > quota:
            break
        else:
            need += wanted
            fit.append(row)
    _set_aside(desk, too_large, quota)
    values = claims.take(desk, TABLE, [row.id for row in fit], ask.holder, ask.seconds)
    if need:
        wanting = [row.id for row in fit if row.reserved != row.size]
        desk.connection.execute(update(TABLE).where(TABLE.c.id.in_(wanting)).values(reserved=TABLE.c.size))
        give_back(desk, ask.destination, -need)
    made = claims.taken(Bundle, fit, values)
    return Bundles(bundles=tuple(_reserved(one) for one in made))


def _reserved(one: Bundle) -> Bundle:
    return msgspec.structs.replace(one, reserved=one.size)


def give_back(desk: Desk, destination: str, n: int) -> None:
    """So many bytes of a site's quota are free again; fewer when negative."""
    if n:
        statement = update(SITE).where(SITE.c.name == destination)
        desk.connection.execute(statement.values(reserved=SITE.c.reserved - n))


def _set_aside(desk: Desk, found: Sequence[AnyRow], quota: int) -> None:
    """What is larger than the whole quota would never go, and hold up all that is behind it."""
    for row in found:
        why = f"its {row.size} bytes are more than the whole quota of {row.destination}, {quota} bytes"
        values = {"origin": row.state, "reason": why, "error_class": "quota", "holder": None, "ready": desk.now, "reserved": 0}
        move = Move(row.id, row.state, QUARANTINED, why, row.size, values=(*values.items(), ("fence", row.fence + 1)))
        give_back(desk, row.destination, row.reserved)
        journal.advance(desk.connection, TABLE, STATES, [move], by=desk.who.name, at=desk.now)


def extend(desk: Desk, ask: Extend) -> Done:
    """Keeps claims longer."""
    return Done(done=claims.extend(desk, TABLE, ask.held, ask.seconds, *_in_reach(desk)))


def release(desk: Desk, ask: Release) -> Done:
    """Hands claims back, with the room of those that were not sent."""
    query = select(TABLE.c.id, TABLE.c.destination, TABLE.c.reserved)
    unsent = [*claims.ours(TABLE, ask.held), *_in_reach(desk), TABLE.c.state == UNTOUCHED, TABLE.c.reserved > 0]
    found = desk.connection.execute(query.where(*unsent).order_by(TABLE.c.id).with_for_update()).all()
    if found:
        desk.connection.execute(update(TABLE).where(TABLE.c.id.in_([row.id for row in found])).values(reserved=0))
    done = claims.release(desk, TABLE, ask.held, *_in_reach(desk))
    for row in found:
        give_back(desk, row.destination, row.reserved)
    return Done(done=done)


def _in_reach(desk: Desk) -> list[ColumnElement[bool]]:
    """A worker touches the claims of its own end alone."""
    if not desk.who.is_bound:
        return []
    states = sorted({before for before, _ in BUNDLES[desk.who.is_here]})
    return [TABLE.c.state.in_(states), *([] if desk.who.is_here else [TABLE.c.destination == desk.who.site])]
