"""Windows that are settled -> a file: drafted, proved, copied out under a hidden name, renamed; never over another one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, and_, delete, or_, select, update

from dmtools import __version__, clock, durable
from dmtools.control.passes import Pass
from dmtools.datalogger import drafts, files, gaps, hdf5, windows
from dmtools.datalogger.files import F, File, path_of
from dmtools.datalogger.home import Home
from dmtools.datalogger.kinds import EVENT, SAMPLES
from dmtools.datalogger.states import DONE, DRAFT, EMPTY, FILE_STATES, LOST, OWED, PUBLISHED
from dmtools.datalogger.windows import W, Window
from dmtools.ledger import journal, tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.types import AnyRow
from dmtools.settings.datalogger import Device

BLOCK = 1 << 20


def publish(this: Pass, home: Home, kind: str, devices: dict[str, Device]) -> None:
    """Books the files that are ripe, and makes and copies out all that are booked."""
    now = clock.now()
    with this.ledger.read() as connection:
        ripe = files.ripe(connection, home.id, kind, now, this.settings.datalogger.publish_after_hours)
    for ids in ripe:
        files.intend(this, home, ids, now)
    with this.ledger.read() as connection:
        found = [one for one in files.drafted(connection, home.id, windows.SCHEDULE) if one.kind == kind]
    for file in found:
        if not this.goes(new=False):
            return
        finish(this, home, file, devices)


def finish(this: Pass, home: Home, file: File, devices: dict[str, Device]) -> bool:
    """Brings one file out, from wherever an earlier pass left it; True when it is out."""
    if not this.leases.claim([file.resource]):
        return False
    try:
        with this.ledger.read() as connection:
            row = connection.execute(select(tables.datalogger_file).where(F.id == file.id)).one()
            held = files.held_by(connection, file)
        file = files.of(row)
        if not held and file.state == DRAFT:
            this.ledger.transact(lambda c: c.execute(delete(tables.datalogger_file).where(F.id == file.id)))
            return False
        return file.state == PUBLISHED or _out(this, home, _made(this, home, file, held, devices), held)
    except hdf5.Damaged as problem:
        left = "its windows stay as they are; nothing was published"
        this.problem("draft damaged", file.place.name, why=str(problem), left=left, next="the next pass makes it again")
        file.draft.unlink(missing_ok=True)
        return False
    finally:
        this.leases.release([file.resource])


def _made(this: Pass, home: Home, file: File, held: Sequence[Window], devices: dict[str, Device]) -> File:
    """The draft, whole and with its checksum booked; one that an earlier pass made is taken when it is still that."""
    if file.adler32 is not None and file.draft.exists() and hdf5.adler32(file.draft) == (file.bytes, file.adler32):
        return file
    file.draft.parent.mkdir(exist_ok=True, mode=0o750)
    _refuse_lost_rows(this, held)
    with this.ledger.read() as connection:
        lacks = {one.id: gaps.said(gaps.of(connection, one)) for one in held}
    # Of 256 events most never come: one list of those says it as well as a table of nothing for each.
    none = [one.name for one in held if one.kind == EVENT and one.state == EMPTY]
    made = [_table(one, devices.get(one.name), lacks[one.id]) for one in held if one.name not in none]
    hdf5.write(file.draft, made, _about(this, home, file) | ({"empty": " ".join(none)} if none else {}))
    size, adler32 = hdf5.adler32(file.draft)

    def book(connection: Connection) -> None:
        statement = update(tables.datalogger_file).where(F.id == file.id, F.state == DRAFT)
        connection.execute(statement.values(bytes=size, adler32=adler32))

    this.ledger.transact(book)
    return replace(file, bytes=size, adler32=adler32)


def _refuse_lost_rows(this: Pass, held: Sequence[Window]) -> None:
    """Windows whose drafted rows are gone are owed again, and leave the file. Raises Damaged when there were some."""
    gone = [one for one in held if one.rows and not (one.draft and drafts.cut(path_of(one.draft), one.rows, one.of_kind))]
    got = this.leases.claim([one.resource for one in gone])
    for one in gone:
        values = {**windows.AFRESH, "upto": one.start, "ready": clock.now()}
        if one.state in (DONE, LOST):
            windows.advance(
                this, one, OWED, f"its drafted rows are gone: {one.draft and path_of(one.draft)}", values, clock.now()
            )
        else:
            windows.book(this, one, values)
    this.leases.release(list(got))
    if gone:
        raise hdf5.Damaged(f"the drafted rows of {', '.join(one.name for one in gone)} are gone; they are asked for again")


def _table(window: Window, device: Device | None, lacks: str) -> hdf5.Table:
    path = path_of(window.draft) if window.draft else Path(os.devnull)
    kind = window.of_kind
    known: dict[str, str | int | float] = {kind.name: window.name}
    if kind is SAMPLES:
        units, hertz = (device.units, device.hertz) if device else ("", 0.0)
        known |= {"node": window.node or "", "units": units, "hertz": hertz}
    known |= {
        "start": str(clock.iso(window.start)),
        "end": str(clock.iso(window.end)),
        "state": window.state,
        "why": window.reason or "",
        "complete_to": str(clock.iso(window.upto)),
        "forgotten_before": clock.iso(window.forgotten) or "",
        f"without_{kind.noun}": lacks,
        "stars": window.stars,
        "doubles": window.doubles,
        "asked": clock.iso(window.asked) or "",
    }
    return hdf5.Table(window.called, window.rows, partial(drafts.pieces, path, window.rows, kind), known, kind)


def _about(this: Pass, home: Home, file: File) -> dict[str, str | int | float]:
    found = this.settings.datalogger
    window = {"start": str(clock.iso(file.start)), "end": str(clock.iso(file.end)), "timezone": found.timezone}
    return {**window, "source": found.url, "origin": file.origin, "series": file.series, "made_by": f"dmtools {__version__}"}


def _out(this: Pass, home: Home, file: File, held: Sequence[Window]) -> bool:
    """Copies it to a hidden name beside its place, proves the copy, renames it, and books that."""
    if not file.place.parent.is_dir():
        why = f"the directory {file.place.parent} is not there"
        this.problem("not published", file.place.name, why=why, left=f"its draft is {file.draft}", next="mount it, or make it")
        return False
    copy_out(file)
    if hdf5.adler32(file.place) != (file.bytes, file.adler32):
        why = f"another file of this name is in {file.place.parent}"
        left, step = f"it was not touched; ours is {file.draft}", "look at it and move it away; the next pass goes on"
        this.problem("not published", file.place.name, why=why, left=left, next=step)
        return False
    at = clock.now()
    move = journal.Move(file.id, DRAFT, PUBLISHED, None, file.bytes or 0)
    this.ledger.transact(lambda c: journal.advance(c, tables.datalogger_file, FILE_STATES, [move], by=this.by, at=at))
    this.log(f"published {file.place}: {len(held)} windows, {file.bytes} bytes")
    return True


def copy_out(file: File) -> None:
    """The draft to its place, whole and proved, unless something stands there. Raises Damaged, OSError."""
    if os.path.lexists(file.place):
        return
    hidden = file.place.with_name(f".{file.place.name}.part")
    try:
        _copy(file.draft, hidden)
        if hdf5.adler32(hidden) != (file.bytes, file.adler32):
            raise hdf5.Damaged(f"the copy in {file.place.parent} differs from the draft")
        durable.rename_new(hidden, file.place)
        durable.fsync_dir(file.place.parent)
    except FileExistsError:
        pass  # whoever asks for it judges
    finally:
        hidden.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        while block := read.read(BLOCK):
            write.write(block)
        write.flush()
        os.fsync(write.fileno())


def tidy(this: Pass, home: Home) -> None:
    """What is out leaves the draft directory: rows at once, files when their statistics are made, or after draft_days."""
    limit = clock.now() - timedelta(days=this.settings.datalogger.draft_days)
    rows_of = select(W.id, W.draft).join(tables.datalogger_file, W.file_id == F.id, isouter=True)
    mine = (F.home == home.id, F.state == PUBLISHED)
    over = or_(F.state == PUBLISHED, and_(W.state == LOST, W.rows == 0))
    with this.ledger.read() as connection:
        rows = connection.execute(rows_of.where(W.home == home.id, over, W.draft.is_not(None))).all()
        made = connection.execute(select(tables.datalogger_file).where(*mine, F.dropped.is_(None))).all()
    gone = [one for one in made if one.distilled is not None or one.since <= limit or _is_for_nobody(one)]
    for one in (*rows, *gone):
        path_of(one.draft).unlink(missing_ok=True)
    at = clock.now()

    def book(connection: Connection) -> None:
        for part in chunks([one.id for one in rows]):
            connection.execute(update(tables.datalogger_window).where(W.id.in_(part)).values(draft=None))
        for part in chunks([one.id for one in gone]):
            connection.execute(update(tables.datalogger_file).where(F.id.in_(part)).values(dropped=at))

    if rows or gone:
        this.ledger.transact(book)


def _is_for_nobody(row: AnyRow) -> bool:
    """A file by hand that was not adopted gets no statistics."""
    return bool(row.origin == windows.HAND and not row.adopted)
