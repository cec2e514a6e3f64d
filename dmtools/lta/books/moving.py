"""Changes of state of bundles by those who hold them: legal ones, with evidence, all of an ask or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dmtools.ledger import journal, tables
from dmtools.ledger.journal import Move
from dmtools.ledger.types import AnyRow
from dmtools.lta.api import Conflict, Wrong
from dmtools.lta.api.bundles import Advance, Bundle, BundleMove, Bundles
from dmtools.lta.books import claims, rows
from dmtools.lta.books.claiming import give_back
from dmtools.lta.books.desk import BUNDLES, Desk, known
from dmtools.lta.states import (
    JSON_MADE,
    LOCAL_DELETED,
    LOCAL_FILES_DELETED,
    NERSC_CLEAN,
    NERSC_DONE,
    NERSC_PROBLEM,
    NERSC_RUNNING,
    PUSH_DONE,
    PUSH_PROBLEM,
    QUARANTINED,
    STATES,
    UNTOUCHED,
    is_a_persons,
)  # fmt: skip

TABLE = tables.lta_bundle
Change = tuple[AnyRow, tuple[str, str | None, dict[str, Any]]]  # a row that is kept: its new state, why, other columns
# Their end is a success of a step, so the attempts of the next one count anew. What is only begun is none.
_SUCCESSES = frozenset({(JSON_MADE, PUSH_DONE)})
_ENDS = (UNTOUCHED, NERSC_DONE, NERSC_CLEAN, LOCAL_DELETED, LOCAL_FILES_DELETED)
_PROBLEMS = (PUSH_PROBLEM, NERSC_PROBLEM)
NOTHING_SENT = (UNTOUCHED, JSON_MADE, PUSH_PROBLEM)  # nothing of it lies whole in the buffer


def advance(desk: Desk, ask: Advance) -> Bundles:
    """All changes or none."""
    for move in ask.moves:
        known(STATES, move.before, move.to)
    claims.refuse_twice("a bundle", [move.id for move in ask.moves])
    found = rows.locked(desk.connection, TABLE, Bundle, [move.id for move in ask.moves])
    changes = []
    for move in ask.moves:
        row = claims.check("bundle", found.get(move.id), move.id, move.fence, move.before)
        changes.append((row, _checked(desk, row, move)))
    return Bundles(bundles=tuple(write(desk, changes)))


def write(desk: Desk, changes: Sequence[Change]) -> list[Bundle]:
    """Makes the changes of rows that are kept: (state, why, other columns) each. The counts, which all share, come last."""
    moves = [Move(row.id, row.state, after, why, row.size, values=tuple(values.items())) for row, (after, why, values) in changes]
    back: dict[str, int] = {}
    for row, (_, _, values) in changes:
        if "reserved" in values and row.reserved != values["reserved"]:
            back[row.destination] = back.get(row.destination, 0) + row.reserved - values["reserved"]
    for destination, n in sorted(back.items()):
        give_back(desk, destination, n)
    journal.advance(desk.connection, TABLE, STATES, moves, by=desk.who.name, at=desk.now, kept=True)
    shown = [{name: value for name, value in change[2].items() if name in Bundle.__struct_fields__} for _, change in changes]
    pairs = zip(changes, shown, strict=True)
    return [rows.made(Bundle, row, state=change[0], since=desk.now, **values) for (row, change), values in pairs]


def _checked(desk: Desk, row: AnyRow, move: BundleMove) -> tuple[str, str | None, dict[str, Any]]:
    if not STATES.legal(move.before, move.to) or move.before == QUARANTINED:
        raise Conflict(f"{move.before} -> {move.to} is no legal change of a bundle's state; nothing was changed")
    if is_a_persons(move.before, move.to):
        raise Conflict(f"{move.before} -> {move.to} is a person's: ask with set or reset; nothing was changed")
    desk.may(BUNDLES, row.destination, move.before, move.to)
    _prove(row, move)
    if move.to == QUARANTINED:
        return QUARANTINED, move.why, set_aside(desk, row, move.why or "no reason given", move.error_class)
    after, why, values = _outcome(desk, row, move)
    values |= {name: value for name in ("buffer", "tape", "job") if (value := getattr(move, name)) is not None}
    if not move.keep or after == QUARANTINED:
        values |= {"holder": None}
        values.setdefault("ready", desk.after(move.wait) if move.wait else desk.now)
    else:
        values.pop("ready", None)
    return after, why, values


def _outcome(desk: Desk, row: AnyRow, move: BundleMove) -> tuple[str, str | None, dict[str, Any]]:
    """Where it leads: a failed attempt too many leads to quarantine."""
    if move.failed:
        failed = claims.failure(desk, row, move.why, move.wait)
        counted = {"failures": failed.failures}
        if failed.last:
            return QUARANTINED, failed.why, {**set_aside(desk, row, failed.why, move.error_class), **counted}
        told = {"error_class": move.error_class, "reason": failed.why, "ready": failed.ready}
        return move.to, failed.why, {**counted, **told}
    if (move.before, move.to) in _SUCCESSES or move.to in _ENDS:
        values: dict[str, Any] = {"failures": 0, "error_class": None, "reason": None}
        if move.to == NERSC_DONE:
            values["proved"] = desk.now
        if move.to == NERSC_CLEAN:
            values["reserved"] = 0
        return move.to, move.why, values
    if move.to in _PROBLEMS or move.error_class:
        return move.to, move.why, {"error_class": move.error_class, "reason": move.why}
    return move.to, move.why, {}


def set_aside(desk: Desk, row: AnyRow, why: str, error_class: str | None) -> dict[str, Any]:
    """What quarantine writes: the state it came from, the reason; room for what never arrived is given back."""
    values = {"origin": row.state, "reason": why, "error_class": error_class, "holder": None, "ready": desk.now}
    return {**values, "reserved": 0 if row.state in NOTHING_SENT else row.reserved}


def _prove(row: AnyRow, move: BundleMove) -> None:
    """Raises unless the evidence is the bundle's own: success is what was read back, never what is missing or exists."""
    given = {name: getattr(move, name) for name in ("size", "sha512", "adler32") if getattr(move, name) is not None}
    if move.failed or move.to == QUARANTINED:
        return
    for name, value in given.items():
        if value != getattr(row, name):
            what = f"{name} {value} is not the bundle's {getattr(row, name)}"
            raise Conflict(f"bundle {row.id} is not proved: the {what}; it stays {row.state}")
    wanted = {(JSON_MADE, PUSH_DONE): ("adler32", "sha512"), (NERSC_RUNNING, NERSC_DONE): ("sha512",)}
    checksums = wanted.get((move.before, move.to))
    if checksums and ("size" not in given or not any(name in given for name in checksums)):
        need = " or ".join(checksums)
        raise Wrong(
            f"{move.before} -> {move.to} needs evidence: the size and {need} that were read back there; nothing was changed"
        )
