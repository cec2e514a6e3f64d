"""Full directories on their way into bundles, what they must hold, and the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, insert, select

from dmtools import names
from dmtools.ledger import journal, tables, upsert
from dmtools.ledger.chunks import chunks
from dmtools.ledger.journal import Move
from dmtools.ledger.types import AnyRow
from dmtools.lta.api import Conflict, Done, Unknown, Wrong
from dmtools.lta.api.directories import (
    AdvanceDirectories,
    Catalogue,
    CatalogueFile,
    ClaimDirectories,
    Directories,
    Directory,
    DirectoryMove,
    Expect,
    ExtendDirectories,
    Full,
    ListDirectories,
    LoadCatalogue,
    LookUp,
    Seen,
    SetDirectory,
    Verdict,
    Verdicts,
)  # fmt: skip
from dmtools.lta.books import claims, rows
from dmtools.lta.books.desk import Desk, known
from dmtools.lta.states import DEPRECATED, DIRECTORY_STATES, LTA_REQUEST, NEVER_DELETE, PROBLEM, UNCLAIMED

TABLE, EXPECTED, CATALOGUE = tables.lta_directory, tables.lta_expected, tables.lta_catalogue
_COLUMNS = tuple(rows.columns(TABLE, Directory))


def listed(desk: Desk, ask: ListDirectories) -> Directories:
    """A page of directories."""
    known(DIRECTORY_STATES, *ask.states)
    where: list[ColumnElement[bool]] = []
    if ask.states:
        where.append(TABLE.c.state.in_(ask.states))
    if ask.name is not None:
        where.append(TABLE.c.ideal_key == names.key(ask.name))
    if ask.like is not None:
        where.append(rows.holds(TABLE.c.ideal, ask.like))
    found, after = rows.page(desk.connection, TABLE, Directory, where, ask.after, ask.limit)
    return Directories(directories=found, next=after)


def expect(desk: Desk, ask: Expect) -> Done:
    """How many files directories have when they are full; the last word counts."""
    desk.at_source()
    _refuse_nested(desk, {one.ideal for one in ask.expected})
    for one in sorted(ask.expected, key=lambda one: one.ideal):
        values = {"ideal": one.ideal, "files": one.files, "at": desk.now}
        upsert.put(desk.connection, EXPECTED, {"ideal_key": names.key(one.ideal)}, values)
    return Done(done=len(ask.expected))


def _refuse_nested(desk: Desk, new: set[str]) -> None:
    """One directory within another that is expected, too: the files of the inner one would be bundled twice."""
    within = {above: ideal for ideal in new for above in _above(ideal)}
    outer = [above for above in within if above in new]
    for part in chunks(sorted(names.key(above) for above in within)):
        outer += desk.connection.execute(select(EXPECTED.c.ideal).where(EXPECTED.c.ideal_key.in_(part))).scalars()
    pairs = [(above, within[above]) for above in outer]
    if not pairs:
        there = desk.connection.execute(select(EXPECTED.c.ideal)).scalars()
        pairs = [(above, ideal) for ideal in there for above in _above(ideal) if above in new]
    if pairs:
        above, ideal = pairs[0]
        raise Conflict(f"{ideal} lies within {above}: its files would be bundled twice; nothing was added; expect one of the two")


def _above(ideal: str) -> Iterator[str]:
    """The directories that it lies in, up to the root."""
    while (ideal := ideal.rpartition("/")[0]) != "":
        yield ideal


def full(desk: Desk, ask: Full) -> Verdicts:
    """Books those that have just what is expected. Nobody knows how many: never full. More: a problem."""
    desk.at_source()
    keys = {one.ideal: names.key(one.ideal) for one in ask.seen}
    expected: dict[bytes, int] = {}
    there: dict[bytes, str] = {}
    for part in chunks(sorted(keys.values())):
        query = select(EXPECTED.c.ideal_key, EXPECTED.c.files).where(EXPECTED.c.ideal_key.in_(part))
        expected |= {row.ideal_key: row.files for row in desk.connection.execute(query)}
        query = select(TABLE.c.ideal_key, TABLE.c.state).where(TABLE.c.ideal_key.in_(part))
        there |= {row.ideal_key: row.state for row in desk.connection.execute(query)}
    verdicts = []
    for one in ask.seen:
        key = keys[one.ideal]
        if key not in there and (number := expected.get(key)) is not None and one.files >= number:
            there[key] = _book(desk, ask.home, one, number)
        verdicts.append(Verdict(ideal=one.ideal, expected=expected.get(key), state=there.get(key)))
    return Verdicts(verdicts=tuple(verdicts))


def _book(desk: Desk, home: str, one: Seen, number: int) -> str:
    state, why = UNCLAIMED, None
    if one.files > number:
        state, why = PROBLEM, f"it holds {one.files} files, {number} are expected"
    row = {"ideal": one.ideal, "ideal_key": names.key(one.ideal), "home": home, "path": one.path, "files": one.files}
    row |= {"bytes": one.bytes, "state": state, "since": desk.now, "ready": desk.now, "reason": why, "fence": 0, "failures": 0}
    key = desk.connection.execute(insert(TABLE).values(row)).inserted_primary_key
    assert key is not None
    journal.record(desk.connection, DIRECTORY_STATES, [Move(key[0], "", state, why)], by=desk.who.name, at=desk.now)
    return state


def claim(desk: Desk, ask: ClaimDirectories) -> Directories:
    """Claims the longest ready directories of a HOME."""
    known(DIRECTORY_STATES, *ask.states)
    desk.at_source()
    found = claims.ready(desk, TABLE, _COLUMNS, ask.states, {"home": ask.home}, ask.most, ask.ids)
    values = claims.take(desk, TABLE, [row.id for row in found], ask.holder, ask.seconds)
    return Directories(directories=claims.taken(Directory, found, values))


def extend(desk: Desk, ask: ExtendDirectories) -> Done:
    """Keeps claims longer."""
    desk.at_source()
    return Done(done=claims.extend(desk, TABLE, ask.held, ask.seconds))


def advance(desk: Desk, ask: AdvanceDirectories) -> Directories:
    """All changes or none."""
    desk.at_source()
    for move in ask.moves:
        known(DIRECTORY_STATES, move.before, move.to)
    claims.refuse_twice("a directory", [move.id for move in ask.moves])
    found = rows.locked(desk.connection, TABLE, Directory, [move.id for move in ask.moves])
    moves = [
        _checked(desk, claims.check("directory", found.get(move.id), move.id, move.fence, move.before), move)
        for move in ask.moves
    ]
    journal.advance(desk.connection, TABLE, DIRECTORY_STATES, moves, by=desk.who.name, at=desk.now)
    made = (rows.made(Directory, found[m.item], state=m.after, since=desk.now, **dict(m.values)) for m in moves)
    return Directories(directories=tuple(made))


def _checked(desk: Desk, row: AnyRow, move: DirectoryMove) -> Move:
    if not DIRECTORY_STATES.legal(move.before, move.to):
        raise Conflict(f"{move.before} -> {move.to} is no legal change of a directory's state; nothing was changed")
    persons = move.to in (DEPRECATED, NEVER_DELETE) or move.before in (PROBLEM, DEPRECATED, NEVER_DELETE)
    if persons and desk.who.is_bound:
        raise Conflict(f"{move.before} -> {move.to} is a person's: ask with set; nothing was changed")
    after, why = move.to, move.why
    values: dict[str, Any] = {"holder": None, "ready": desk.after(move.wait) if move.wait else desk.now}
    if move.failed:
        failed = claims.failure(desk, row, move.why, move.wait)
        why = failed.why
        values |= {"failures": failed.failures, "reason": why, "ready": failed.ready}
        if failed.last and DIRECTORY_STATES.legal(move.before, PROBLEM):
            after = PROBLEM
    elif after == PROBLEM:
        values["reason"] = move.why
    elif after == LTA_REQUEST:
        values |= {"failures": 0, "reason": None}
    if move.keep and after == move.to:
        values = {name: value for name, value in values.items() if name not in ("holder", "ready")}
    if move.request is not None:
        values["request"] = move.request
    return Move(row.id, row.state, after, why, values=tuple(values.items()))


def set_state(desk: Desk, ask: SetDirectory) -> Directory:
    """A person's word."""
    known(DIRECTORY_STATES, ask.to)
    if ask.to not in (UNCLAIMED, DEPRECATED, NEVER_DELETE, LTA_REQUEST):
        raise Wrong(
            f"a person sets {UNCLAIMED}, {DEPRECATED}, {NEVER_DELETE} or {LTA_REQUEST}, not {ask.to}; nothing was changed"
        )
    row = rows.locked(desk.connection, TABLE, Directory, [ask.id]).get(ask.id)
    if row is None:
        raise Unknown(f"there is no directory {ask.id}")
    if not DIRECTORY_STATES.legal(row.state, ask.to) or (ask.to == LTA_REQUEST and row.state != NEVER_DELETE):
        raise Conflict(f"{row.state} -> {ask.to} is no change of a directory's state for a person; nothing was changed")
    values = {"holder": None, "ready": desk.now, "fence": row.fence + 1, "failures": 0, "reason": None}
    if ask.to != UNCLAIMED:
        values["reason"] = ask.why
    move = Move(row.id, row.state, ask.to, ask.why, values=tuple(values.items()))
    journal.advance(desk.connection, TABLE, DIRECTORY_STATES, [move], by=desk.who.name, at=desk.now)
    return rows.made(Directory, row, state=ask.to, since=desk.now, **values)


def load(desk: Desk, ask: LoadCatalogue) -> Done:
    """Adds to the catalogue; how many were not known."""
    desk.at_source()
    wanted = {names.key(one.lfn): one for one in ask.files}
    there = set()
    for one in ask.files:
        _same(wanted[names.key(one.lfn)], one)
    for part in chunks(sorted(wanted)):
        for row in desk.connection.execute(select(CATALOGUE).where(CATALOGUE.c.lfn_key.in_(part))):
            there.add(row.lfn_key)
            _same(row, wanted[row.lfn_key])
    new = [
        {"lfn_key": key, "lfn": one.lfn, "size": one.size, "sha512": one.sha512}
        for key, one in sorted(wanted.items())
        if key not in there
    ]
    if new:
        desk.connection.execute(insert(CATALOGUE), new)
    return Done(done=len(new))


def _same(one: Any, other: Any) -> None:
    if one.size != other.size or one.sha512 != other.sha512:
        raise Conflict(f"{one.lfn} is in the catalogue with another size or sha512; nothing of this was added")


def look_up(desk: Desk, ask: LookUp) -> Catalogue:
    """What the catalogue has of them."""
    found: list[AnyRow] = []
    for part in chunks(sorted({names.key(lfn) for lfn in ask.lfns})):
        found += desk.connection.execute(select(CATALOGUE).where(CATALOGUE.c.lfn_key.in_(part))).all()
    return Catalogue(files=tuple(CatalogueFile(lfn=row.lfn, size=row.size, sha512=row.sha512) for row in found))
