"""What persons do to a bundle: set it aside, take it out of quarantine, give it up, ask for another try.

Each makes the fence larger: whoever had the bundle meanwhile is refused.
"""

from __future__ import annotations

from typing import Any

from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow
from dmtools.lta.api import Conflict, NotAllowed, Unknown, Wrong
from dmtools.lta.api.bundles import Bundle, Quarantine, Reset, Set
from dmtools.lta.books import claims, rows
from dmtools.lta.books.claiming import room
from dmtools.lta.books.desk import BUNDLES, Desk, known
from dmtools.lta.books.moving import set_aside, write
from dmtools.lta.states import ABORT, JSON_MADE, QUARANTINED, RETRY, STATES

TABLE = tables.lta_bundle


def quarantine(desk: Desk, ask: Quarantine) -> Bundle:
    """By its holder, or by an operator without a fence."""
    row = _row(desk, ask.id)
    if ask.fence is not None:
        claims.check("bundle", row, ask.id, ask.fence, row.state)
    elif desk.who.is_bound:
        raise NotAllowed(f"{desk.who.name} is a {desk.who.role}: it sets aside what it has claimed, and names the fence")
    if not STATES.legal(row.state, QUARANTINED):
        raise Conflict(f"bundle {ask.id} is {row.state}; it can't be quarantined; nothing was changed")
    desk.may(BUNDLES, row.destination, row.state, QUARANTINED)
    return _written(desk, row, QUARANTINED, ask.why, set_aside(desk, row, ask.why, ask.error_class))


def reset(desk: Desk, ask: Reset) -> Bundle:
    """Back to the state it came from; room in the buffer is reserved again for one that is to be under way there."""
    row = _row(desk, ask.id)
    if row.state != QUARANTINED:
        raise Conflict(f"bundle {ask.id} is {row.state}, not {QUARANTINED}; nothing was changed")
    origin = row.origin
    if origin is None or not STATES.legal(QUARANTINED, origin):
        raise Conflict(f"nobody knows where bundle {ask.id} came from; it stays {QUARANTINED}; set it to {RETRY} or {ABORT}")
    values: dict[str, Any] = {"origin": None, "reason": None, "error_class": None, "failures": 0, "job": None}
    if origin == JSON_MADE and row.reserved < row.size:
        _need_room(desk, row)
        values["reserved"] = row.size
    return _written(desk, row, origin, ask.why, values)


def _need_room(desk: Desk, row: AnyRow) -> None:
    found = room(desk, row.destination)
    if found is None:
        raise Conflict(
            f"the quota of {row.destination} is not known now, so bundle {row.id} stays {QUARANTINED}; or set it to {RETRY}"
        )
    quota, reserved = found
    if reserved + row.size - row.reserved > quota:
        free = max(0, quota - reserved)
        raise Conflict(
            f"bundle {row.id} needs {row.size} bytes of the quota of {row.destination} and {free} are free; it stays "
            f"{QUARANTINED}; try again later, or set it to {RETRY}"
        )


def set_state(desk: Desk, ask: Set) -> Bundle:
    """Abort: its name may come again. Retry: it is sent anew from its beginning."""
    known(STATES, ask.to)
    if ask.to not in (ABORT, RETRY):
        raise Wrong(f"a person sets {ABORT} or {RETRY}, not {ask.to}; out of quarantine leads reset; nothing was changed")
    row = _row(desk, ask.id)
    if not STATES.legal(row.state, ask.to):
        raise Conflict(f"{row.state} -> {ask.to} is no legal change of a bundle's state; nothing was changed")
    values: dict[str, Any] = {"origin": None, "reason": ask.why, "error_class": None, "failures": 0, "job": None, "reserved": 0}
    values |= {"live_key": None} if ask.to == ABORT else {"buffer": None, "tape": None, "proved": None, "audited": None}
    return _written(desk, row, ask.to, ask.why, values)


def _row(desk: Desk, number: int) -> AnyRow:
    row = rows.locked(desk.connection, TABLE, Bundle, [number]).get(number)
    if row is None:
        raise Unknown(f"there is no bundle {number}")
    return row


def _written(desk: Desk, row: AnyRow, after: str, why: str, values: dict[str, Any]) -> Bundle:
    anew = {"holder": None, "ready": desk.now, "fence": row.fence + 1}
    return write(desk, [(row, (after, why, {**values, **anew}))])[0]
