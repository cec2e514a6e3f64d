"""Files that a person took away from a disk: those that were never taken leave the books; nothing else is forgotten."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sqlalchemy import Connection, and_, delete, or_, select

from dmtools import clock, names
from dmtools.command import Refused
from dmtools.control.passes import Pass
from dmtools.daq import files
from dmtools.daq.disks import Disk
from dmtools.daq.files import COLUMNS, F, File
from dmtools.daq.lfn import lfn_key
from dmtools.daq.states import BAD, CLEANED, FOUND, ON_TAPE, SKIPPED, STATES
from dmtools.ledger import journal, tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.journal import Move
from dmtools.storage.deadline import Hung, Pulse, guarded

MOST = 5000  # looked at in one pass
MISSING = "missing"


def forget_taken(this: Pass, disk: Disk) -> None:
    """Skipped and Bad files that are not on the disk any more, and of which nothing is at the site or on tape."""
    never_copied = and_(
        F.checksum.is_(None),
        F.zip_id.is_(None),
        or_(F.error_class.is_(None), F.error_class != MISSING),
        or_(F.state == BAD, F.twin_id.is_(None)),  # a twin of equal bytes is removed, and booked, by `freeing`
    )
    with this.ledger.read() as connection:
        found = files.read(connection, files.on_disk(disk.id, (SKIPPED, BAD)).where(never_copied).limit(MOST))
    if not found:
        return
    seconds = this.settings.daq.disk_seconds
    try:
        gone = guarded(lambda pulse: [one for one in found if _is_gone(disk, one, pulse)], deadline=3600.0, stall=seconds)
    except (Hung, OSError):
        return
    if gone and disk.is_there(seconds):
        for batch in chunks(gone):
            with files.claimed(this, batch) as ours:
                this.ledger.transact(lambda c, ours=ours: _forget(c, ours, this.by, "it was taken away from its disk"))  # type: ignore[misc]
        for one in gone:
            this.log(f"{disk.shown}/{names.shown(one.path)} was taken away: it keeps its disk no longer")


def _is_gone(disk: Disk, one: File, pulse: Pulse) -> bool:
    pulse.beat()
    return not os.path.lexists(disk.place(one.path))


def _forget(connection: Connection, gone: Sequence[File], by: str, why: str) -> None:
    at = clock.now()
    for one in gone:
        row = delete(tables.daq_file).where(F.id == one.id, F.state == one.state)
        if connection.execute(row).rowcount:
            journal.note(connection, STATES.pipeline, STATES.kind, one.id, by=by, at=at, why=f"{one.shown}: {why}")
            journal.add_tally(connection, STATES.pipeline, {one.state: (-1, -one.size)})


def forget(this: Pass, wanted: Sequence[str]) -> None:
    """A person says that files which are gone from their disk are lost. Raises Refused."""
    for text in wanted:
        found = [one for one in _bad(this, text) if one.error_class == MISSING and one.checksum is None]
        if not found:
            raise Refused(f"no Bad file of class {MISSING} has the LFN {text}; dm-trace {text} tells what is known of it")
        this.plan(f"forget {text}: it is gone from its disk and was never copied")
        if not this.dry_run:
            this.ledger.transact(lambda c, found=found: _forget(c, found, this.by, "a person says that it is lost"))  # type: ignore[misc]


def retry(this: Pass, wanted: Sequence[str]) -> None:
    """Bad files are taken up again: by LFN or by error class. What is on tape goes on there. Raises Refused."""
    for text in wanted:
        found = _bad(this, text)
        if not found:
            raise Refused(f"no file that is Bad on its disk has the LFN or the error class {text}")
        this.plan(f"try again {text}: {len(found)} files")
        if not this.dry_run:
            for batch in chunks(found):
                with files.claimed(this, batch) as ours:
                    _again(this, ours)


def _again(this: Pass, ours: Sequence[File]) -> None:
    zips = tables.daq_zip.c
    with this.ledger.read() as connection:
        ids = [one.zip_id for one in ours if one.zip_id is not None]
        query = select(zips.id).where(zips.id.in_(ids), zips.state.in_((ON_TAPE, CLEANED)))
        taped = set(connection.execute(query).scalars()) if ids else set()
    clean = (("failures", 0), ("next_try", None), ("error_class", None), ("reason", None))
    moves = []
    for one in ours:
        if one.zip_id is None or one.zip_id in taped:
            after = FOUND if one.zip_id is None else ON_TAPE
            moves.append(Move(one.id, BAD, after, "a person tries it again", one.size, values=clean))
            continue
        this.problem(
            "not tried again",
            one.shown,
            why="its zip is under way: it is daq-archive's",
            left="it stays Bad",
            next=f"daq-archive --retry {one.shown}",
        )
    files.advance(this, moves, ours)


def _bad(this: Pass, text: str) -> list[File]:
    """The Bad files that are on a disk and have this LFN or this error class."""
    query = select(*COLUMNS).where(F.state == BAD, F.freed.is_(None))
    with this.ledger.read() as connection:
        if text.startswith("/"):
            lfns = names.spellings(text)
            found = files.read(connection, query.where(or_(F.lfn_key.in_(map(lfn_key, lfns)), F.lfn.in_(lfns))))
        else:
            found = files.read(connection, query.where(F.error_class == text))
    return found
