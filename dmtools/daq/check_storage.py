"""dm-check --storage for daq: what the tables have at the site and on tape is there, equal; ZIPS holds no others. Reads only."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from sqlalchemy import Column, Table, select
from sqlalchemy.sql import ColumnElement

from dmtools import names
from dmtools.control.checking import Finding
from dmtools.control.passes import Pass
from dmtools.daq import states as s
from dmtools.daq.check import finding, note
from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow
from dmtools.storage import Absent, Look, Present, StorageError, client_for

F, Z = tables.daq_file.c, tables.daq_zip.c
SAMPLE, PRIME, CHUNK, SECONDS, LIST_SECONDS = 100, 1_000_003, 500, 3600.0, 300.0
AT_SITE = (s.AT_SITE, s.ZIPPING, s.ZIPPED, s.TO_TAPE)
KEPT = (s.ON_TAPE, s.FREED)
ON_TAPE = (s.ON_TAPE, s.CLEANED)


def check(this: Pass, how: str, seed: int) -> Iterator[Finding]:
    """A random sample of what is done, or all of it."""
    daq = this.settings.daq
    states = (*AT_SITE, *(KEPT if daq.keep_site else ()))
    unknown: list[str] = []
    columns = (F.id, F.lfn, F.state, F.size, F.checksum, F.zip_id, F.freed)
    for part in _parts(this, tables.daq_file, columns, (F.state.in_(states), F.lfn_key.is_not(None)), how, seed):
        for row, look in zip(part, _looks(this, [f"{daq.site}{row.lfn}" for row in part]), strict=True):
            yield from _copy(row, look, unknown)
    of_zips = (Z.id, Z.name, Z.state, Z.zip_size, Z.zip_checksum)
    for part in _parts(this, tables.daq_zip, of_zips, (Z.state.in_(ON_TAPE),), how, seed):
        for row, look in zip(part, _looks(this, [f"{daq.tape}{row.name}" for row in part]), strict=True):
            yield from _zip(row, look, unknown)
    if unknown:
        yield note("storage-unknown", f"{len(unknown)} files", f"they can't be asked for now, such as {unknown[0]}")
    yield from _left(this)


def _parts(
    this: Pass, table: Table, columns: Sequence[Column[object]], where: Sequence[ColumnElement[bool]], how: str, seed: int
) -> Iterator[Sequence[AnyRow]]:
    query = select(*columns).where(*where)
    if how == "sample":
        order = (table.c.id * seed) % PRIME  # a random order that is the same at the second look
        with this.ledger.read() as connection:
            yield list(connection.execute(query.order_by(order).limit(SAMPLE)))
        return
    last = 0
    while True:
        with this.ledger.read() as connection:
            part = list(connection.execute(query.where(table.c.id > last).order_by(table.c.id).limit(CHUNK)))
        if not part:
            return
        last = part[-1].id
        yield part


def _looks(this: Pass, urls: Sequence[str]) -> list[Look | None]:
    """Size and checksum of each; None: no client here."""
    store = client_for(urls[0], this.settings) if urls else None
    return list(store.look_many(urls, checksum=True, deadline=SECONDS)) if store is not None else [None] * len(urls)


def _copy(row: AnyRow, look: Look | None, unknown: list[str]) -> Iterator[Finding]:
    """The site's copy of a file: told, and never written over."""
    shown = names.shown(row.lfn)
    if isinstance(look, Absent):
        step = f"daq-restore {shown} brings it back from tape" if row.state in KEPT else "look at the site storage"
        step = f"{step}; while its source is on its disk nothing is lost" if row.freed is None and row.state != s.FREED else step
        yield finding("site-gone", shown, f"it is {row.state}, and its copy is not at the site", next=step, item=row.id)
    elif isinstance(look, Present):
        if look.size != row.size or (look.checksum is not None and row.checksum is not None and look.checksum != row.checksum):
            says = f"its copy at the site is {look.size} bytes, {look.checksum}; recorded is {row.size} bytes, {row.checksum}"
            yield finding("site-differs", shown, says, next="look at the site storage; it is never written over", item=row.id)
    else:
        unknown.append(shown)


def _zip(row: AnyRow, look: Look | None, unknown: list[str]) -> Iterator[Finding]:
    """A zip on tape: one that is gone or other bytes is Bad, never made right by a guess."""
    shown, mend = names.shown(row.name), "it and its files become Bad"
    if isinstance(look, Absent):
        says = f"it is {row.state}, and it is not on tape"
        yield finding("tape-gone", shown, says, f"{mend}, class lost; then: daq-archive --retry lost", item=row.id)
    elif isinstance(look, Present):
        if look.size != row.zip_size or (look.checksum is not None and look.checksum != row.zip_checksum):
            says = f"on tape are {look.size} bytes, {look.checksum}; the zip that was proved is {row.zip_size} bytes, "
            says += f"{row.zip_checksum}"
            yield finding("tape-differs", shown, says, f"{mend}, class checksum; look at the tape", item=row.id)
    else:
        unknown.append(shown)


def _left(this: Pass) -> Iterator[Finding]:
    """What lies where zips wait, and belongs to no zip on its way."""
    found, stopped = _waiting(this)
    if stopped:
        yield note("storage-unknown", "[daq] zips", f"it was not looked through to its end: {stopped}")
    query = select(Z.place).where(
        Z.state.in_((s.WAITING, s.ZIPPING, s.ZIPPED, s.TO_TAPE, s.ON_TAPE, s.BAD)), Z.place.is_not(None)
    )
    with this.ledger.read() as connection:
        known = {_path_of(url) for url in connection.execute(query).scalars() if url is not None}
    left = sorted(url for path, url in found.items() if path not in known)
    if left:
        says = f"{len(left)} zips that no row has, such as {names.shown(left[0])}"
        yield note(
            "zips-left", "[daq] zips", says, "daq-archive removes those of its jobs that ended; others stay until a person looks"
        )


def _waiting(this: Pass) -> tuple[dict[bytes, str], str]:
    """The files where zips wait, by path, hidden ones not; and why these may not be all."""
    store, end = client_for(this.settings.daq.zips, this.settings), time.monotonic() + LIST_SECONDS
    if store is None:
        return {}, "no client for it is installed here"
    found: dict[bytes, str] = {}
    try:
        for entry in store.list(this.settings.daq.zips):
            if entry.kind == "file":
                found[_path_of(entry.url)] = entry.url
            if time.monotonic() > end:
                return found, f"that takes longer than {LIST_SECONDS:g} s"
    except StorageError as problem:
        return found, "" if problem.cls == "missing" else problem.reason
    return found, ""


def _path_of(url: str) -> bytes:
    """The path of a URL; a server may be named with one slash behind it or with two."""
    return names.decode(url.partition("://")[2].partition("/")[2]).lstrip(b"/")
