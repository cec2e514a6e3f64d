"""Bundles: list, known, add; what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, func, insert, select, update

from dmtools import names
from dmtools.ledger import journal, tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.journal import Move
from dmtools.lta.api import Conflict, Done
from dmtools.lta.api.bundles import (
    AddBundles,
    Added,
    Audited,
    Bundle,
    BundleHistory,
    Bundles,
    GetBundle,
    Glance,
    Glimpse,
    Glimpses,
    History,
    Known,
    ListBundles,
    NewBundle,
    Step,
)  # fmt: skip
from dmtools.lta.api.files import AddFiles, File, Files, FindFiles, ListFiles, NewFile
from dmtools.lta.books import rows
from dmtools.lta.books.desk import Desk, known
from dmtools.lta.states import STATES, UNTOUCHED

TABLE, FILES = tables.lta_bundle, tables.lta_file
_CONTENT = ("size", "sha512", "adler32")


def live_key(destination: str, ideal: str) -> bytes:
    """The key on which a live bundle is unique."""
    return names.key(f"{destination}\n{ideal}")


def listed(desk: Desk, ask: ListBundles) -> Bundles:
    """A page of bundles."""
    known(STATES, *ask.states)
    where: list[ColumnElement[bool]] = []
    if ask.states:
        where.append(TABLE.c.state.in_(ask.states))
    if ask.destination is not None:
        where.append(TABLE.c.destination == ask.destination)
    if ask.name is not None:
        where += [TABLE.c.ideal_key == names.key(ask.name)]
    if ask.like is not None:
        where.append(rows.holds(TABLE.c.ideal, ask.like))
    if ask.directory_id is not None:
        where.append(TABLE.c.directory_id == ask.directory_id)
    found, after = rows.page(desk.connection, TABLE, Bundle, where, ask.after, ask.limit)
    return Bundles(bundles=found, next=after)


def get(desk: Desk, ask: GetBundle) -> Bundle:
    """One bundle."""
    return rows.one(desk.connection, TABLE, Bundle, f"bundle: {ask.id}", TABLE.c.id == ask.id)


def known_names(desk: Desk, ask: Known) -> Bundles:
    """The live bundles with these names."""
    keys = [live_key(ask.destination, name) for name in ask.names]
    return Bundles(bundles=tuple(_by_key(desk, keys).values()))


def glance(desk: Desk, ask: Glance) -> Glimpses:
    """The same in short."""
    names_of = {live_key(ask.destination, name): name for name in ask.names}
    query = select(TABLE.c.live_key, TABLE.c.id, TABLE.c.size)
    rows = (row for part in chunks(list(names_of)) for row in desk.connection.execute(query.where(TABLE.c.live_key.in_(part))))
    return Glimpses(bundles=tuple(Glimpse(id=number, ideal=names_of[key], size=size) for key, number, size in rows))


def _by_key(desk: Desk, keys: Sequence[bytes]) -> dict[bytes, Bundle]:
    found: dict[bytes, Bundle] = {}
    for part in chunks(list(dict.fromkeys(keys))):
        query = select(*rows.columns(TABLE, Bundle)).where(TABLE.c.live_key.in_(part)).order_by(TABLE.c.id)
        for row in desk.connection.execute(query):
            found[live_key(row.destination, row.ideal)] = rows.made(Bundle, row)
    return found


def add(desk: Desk, ask: AddBundles) -> Added:
    """Adds those that are not known. Two who add the same at once: one meets the other's row and begins anew (`direct`)."""
    desk.at_source()
    wanted = {live_key(one.destination, one.ideal): one for one in ask.bundles}
    for one in ask.bundles:
        _same(wanted[live_key(one.destination, one.ideal)], one)
    there = _by_key(desk, list(wanted))
    for key, bundle in list(there.items()):
        _same(bundle, wanted[key])
        there[key] = _completed(desk, bundle, wanted[key])
    new = {key: one for key, one in wanted.items() if key not in there}
    if new:
        desk.connection.execute(insert(TABLE), [_row(desk, key, one) for key, one in new.items()])
        there |= _by_key(desk, list(new))
        _warn_of_twins(desk, [there[key] for key in new])
        moves = [Move(there[key].id, "", UNTOUCHED, size=there[key].size) for key in new]
        journal.record(desk.connection, STATES, moves, by=desk.who.name, at=desk.now, table=TABLE)
        size = sum(one.size for one in new.values())
        journal.count_new(desk.connection, STATES.pipeline, UNTOUCHED, len(new), size, desk.now)
    found = [there[live_key(one.destination, one.ideal)] for one in ask.bundles]
    return Added(bundles=tuple(found), new=len(new))


def _completed(desk: Desk, bundle: Bundle, given: NewBundle) -> Bundle:
    """What the scanner could not know of a zip that it found before its maker had added it."""
    unknown = {name: getattr(given, name) for name in ("files", "directory_id") if getattr(bundle, name) is None}
    values = {name: value for name, value in unknown.items() if value is not None}
    if values:
        desk.connection.execute(update(TABLE).where(TABLE.c.id == bundle.id).values(values))
    return msgspec.structs.replace(bundle, **values)


def _same(one: Any, other: Any) -> None:
    if different := [name for name in _CONTENT if getattr(one, name) != getattr(other, name)]:
        values = f"{getattr(one, different[0])}, not {getattr(other, different[0])}"
        raise Conflict(
            f"{one.ideal} for {one.destination} is there with another {different[0]} ({values}); nothing was added; "
            "give the new one another name, or give the old one up with Abort"
        )


def _row(desk: Desk, key: bytes, one: NewBundle) -> dict[str, Any]:
    given = {name: getattr(one, name) for name in NewBundle.__struct_fields__}
    stands = {"state": UNTOUCHED, "since": desk.now, "ready": desk.now, "fence": 0, "failures": 0, "reserved": 0}
    return {**given, "ideal_key": names.key(one.ideal), "live_key": key, **stands}


def _warn_of_twins(desk: Desk, new: Sequence[Bundle]) -> None:
    """The same content under two names is no error, but told: `twin` is the bundle that had it before."""
    first: dict[tuple[str, str], int] = {}
    for part in chunks(sorted({one.sha512 for one in new})):
        content = (TABLE.c.destination, TABLE.c.sha512)
        query = select(func.min(TABLE.c.id).label("id"), *content).group_by(*content)
        for row in desk.connection.execute(query.where(TABLE.c.sha512.in_(part), TABLE.c.live_key.is_not(None))):
            first[row.destination, row.sha512] = row.id
    for one in new:
        before = first[one.destination, one.sha512]
        if before != one.id:
            desk.connection.execute(update(TABLE).where(TABLE.c.id == one.id).values(twin=before))


def audited(desk: Desk, ask: Audited) -> Bundle:
    """Writes when its copy on tape was found right."""
    desk.at_source()
    desk.connection.execute(update(TABLE).where(TABLE.c.id == ask.id).values(audited=desk.now))
    return get(desk, GetBundle(id=ask.id))


def history(desk: Desk, ask: BundleHistory) -> History:
    """Its entries in the journal."""
    get(desk, GetBundle(id=ask.id))
    entry = tables.journal.c
    query = select(entry.at, entry.from_state, entry.to_state, entry.by, entry.why)
    found = desk.connection.execute(query.where(entry.kind == STATES.kind, entry.item == ask.id).order_by(entry.id))
    return History(steps=tuple(Step(at=r.at, before=r.from_state, to=r.to_state, by=r.by, why=r.why) for r in found))


def add_files(desk: Desk, ask: AddFiles) -> Done:
    """Writes down what is in a bundle; how many were not known."""
    desk.at_source()
    get(desk, GetBundle(id=ask.id))
    wanted = {names.key(one.name): one for one in ask.files}
    for one in ask.files:
        _same_file(wanted[names.key(one.name)], one)
    there = set()
    for part in chunks(list(wanted)):
        query = select(FILES).where(FILES.c.bundle_id == ask.id, FILES.c.name_key.in_(part))
        for row in desk.connection.execute(query):
            there.add(row.name_key)
            _same_file(row, wanted[row.name_key])
    new = [_file_row(ask.id, key, wanted[key]) for key in sorted(wanted) if key not in there]
    if new:
        desk.connection.execute(insert(FILES), new)
    return Done(done=len(new))


def _file_row(bundle: int, key: bytes, one: NewFile) -> dict[str, Any]:
    given = {name: getattr(one, name) for name in NewFile.__struct_fields__}
    return {"bundle_id": bundle, "name_key": key, **given}


def _same_file(one: Any, other: Any) -> None:
    if any(getattr(one, name) != getattr(other, name) for name in _CONTENT):
        raise Conflict(f"{one.name} is in the bundle already, with another content; nothing was added")


def files(desk: Desk, ask: ListFiles) -> Files:
    """A page of what is in a bundle."""
    get(desk, GetBundle(id=ask.id))
    found, after = rows.page(desk.connection, FILES, File, [FILES.c.bundle_id == ask.id], ask.after, ask.limit)
    return Files(files=found, next=after)


def find_files(desk: Desk, ask: FindFiles) -> Files:
    """A page of the files with this name, or with this in their name."""
    where: list[ColumnElement[bool]] = []
    if ask.name is not None:
        where.append(FILES.c.name_key == names.key(ask.name))
    if ask.like is not None:
        where.append(rows.holds(FILES.c.name, ask.like))
    found, after = rows.page(desk.connection, FILES, File, where, ask.after, ask.limit)
    return Files(files=found, next=after)
