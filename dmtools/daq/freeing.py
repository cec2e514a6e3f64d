"""What is safe leaves its disk, file by file: proved again, journalled, still the file that was read; then it is unlinked.

Safe is what [daq] safety says: OnTape, or, with site-verified, AtSite and all that follows. A file that is on tape and gone is
Freed; one that is gone before that says so in `freed`, and is Freed when it comes to tape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.sql import ColumnElement

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.daq import files
from dmtools.daq.disks import Disk
from dmtools.daq.files import COLUMNS, F, File
from dmtools.daq.scan import tell_stop
from dmtools.daq.states import AT_SITE, BAD, FOUND, FREED, ON_TAPE, SKIPPED, STATES, TO_TAPE, ZIPPED, ZIPPING
from dmtools.ledger import journal, tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.journal import Move
from dmtools.storage.answers import Absent, Look, Mark, Present, StorageError, Store, Unknown
from dmtools.storage.deadline import Hung, guarded
from dmtools.storage.local import LocalStore

BATCH = 1024
LOOK_SECONDS = 600.0
BEFORE_TAPE = (AT_SITE, ZIPPING, ZIPPED, TO_TAPE)


def safe_states(safety: str) -> tuple[str, ...]:
    """The states in which a file may leave its disk."""
    return (*BEFORE_TAPE, ON_TAPE) if safety == "site-verified" else (ON_TAPE,)


def free(this: Pass, disk: Disk, store: Store) -> None:
    """Removes what is safe from one disk."""
    for batch in _batches(this, disk):
        if not this.goes(new=False):
            return
        with files.claimed(this, batch) as ours:
            if not _free(this, disk, ours, store):
                return


def _batches(this: Pass, disk: Disk) -> Iterator[list[File]]:
    safe = safe_states(this.settings.daq.safety)
    first = tables.daq_file.alias("first")
    twins = select(*COLUMNS).join_from(tables.daq_file, first, F.twin_id == first.c.id)
    twins = twins.where(F.disk_id == disk.id, F.state == SKIPPED, F.freed.is_(None), first.c.state.in_((*safe, FREED)))
    for query in (files.on_disk(disk.id, safe), twins.order_by(F.id)):
        last = 0
        while True:
            with this.ledger.read() as connection:
                batch = files.read(connection, query.where(F.id > last).limit(BATCH))
            if not batch:
                break
            last = batch[-1].id
            yield batch


def _free(this: Pass, disk: Disk, ours: Sequence[File], store: Store) -> bool:
    """One batch. False: the disk or the site is in trouble, nothing more of it is removed now."""
    proved, goes_on = _proved_again(this, ours, store)
    if not proved:
        return goes_on
    seconds = this.settings.daq.disk_seconds
    if not disk.is_there(seconds):
        tell_stop(this, disk, StorageError("unreachable", "another directory stands at its place: it is not mounted any more"))
        return False
    mine = _intend(this, proved)
    marked = [(names.file_url(disk.place(file.path)), Mark(file.inode, file.size, file.mtime_ns)) for file in mine]
    try:
        ends: list[StorageError | None] = guarded(
            lambda pulse: LocalStore().delete_many(marked, pulse), deadline=86400.0, stall=seconds
        )
        if not disk.is_there(seconds):  # what was absent may only have been away
            raise StorageError("unreachable", "it went away while its files were removed")
    except Hung:
        tell_stop(this, disk, StorageError("timeout", f"it did not answer within {seconds} s while its files were removed"))
        return False
    except StorageError as problem:
        tell_stop(this, disk, problem)
        return False
    gone = [file for file, end in zip(mine, ends, strict=True) if end is None]
    _book(this, gone)
    for file, end in zip(mine, ends, strict=True):
        if end is not None:
            _kept(this, disk, file, end)
    return goes_on


def _proved_again(this: Pass, ours: Sequence[File], store: Store) -> tuple[list[File], bool]:
    """Those whose copy stands at the site with its size, now; where the site's copy doesn't stay, the tape is the proof."""
    if this.settings.daq.safety == "tape-verified" and not this.settings.daq.keep_site:
        return list(ours), True
    site = this.settings.daq.site.rstrip("/")
    looks = store.look_many([site + file.lfn for file in ours], checksum=False, deadline=LOOK_SECONDS)
    proved: list[File] = []
    unproved: list[tuple[File, Look]] = []
    for file, look in zip(ours, looks, strict=True):
        if isinstance(look, Present) and look.size == file.size:
            proved.append(file)
        else:
            unproved.append((file, look))
    wide = [look for _, look in unproved if isinstance(look, Unknown) and look.wide]
    if wide:
        this.problem(
            "site storage in trouble",
            this.settings.daq.site,
            why=wide[0].reason,
            left="no file is removed that could not be proved again",
            next="look at the storage; the next pass asks again",
            failed=False,
        )
    for file, look in unproved:
        if not (isinstance(look, Unknown) and look.wide):
            _not_proved(this, file, look)
    return proved, not wide


def _not_proved(this: Pass, file: File, look: Look) -> None:
    if isinstance(look, Unknown):
        why = f"the site can't tell of its copy now: {look.reason}"
    elif isinstance(look, Absent):
        why = "its copy is not at the site any more"
    else:
        why = f"its copy at the site has {look.size} bytes, not {file.size}"
    left, advice = "its source stays on its disk", "the next pass asks again"
    known_lost = not isinstance(look, Unknown)
    if known_lost and file.state == AT_SITE and file.zip_id is None:
        values: tuple[tuple[str, Any], ...] = (("reason", why),)
        values += (("checksum", None),) if isinstance(look, Absent) else ()
        files.advance(this, [Move(file.id, AT_SITE, FOUND, why, file.size, values=values)], [file])
        advice = "it is copied again"
    elif known_lost and file.state in (AT_SITE, ON_TAPE):
        cls = "missing" if isinstance(look, Absent) else "changed"
        values = (("error_class", cls), ("reason", why))
        files.advance(this, [Move(file.id, file.state, BAD, why, file.size, values=values)], [file])
        advice = f"find out who took it; then: daq-transfer --retry {cls}"
    this.problem("not removed", file.shown, why=why, left=left, next=advice, failed=known_lost)


def _intend(this: Pass, proved: Sequence[File]) -> list[File]:
    """The journal says it before it is done; gives those that are ours still."""

    def book(connection: Connection) -> list[File]:
        held = this.leases.still_held(connection, sorted({file.resource for file in proved}))
        mine = [file for file in proved if file.resource in held]
        at = clock.now()
        for state in dict.fromkeys(file.state for file in mine):
            why = f"its source is removed: it is {state}" if state != SKIPPED else "its source is removed: its twin is safe"
            ids = [file.id for file in mine if file.state == state]
            journal.note_many(connection, STATES.pipeline, STATES.kind, ids, by=this.by, at=at, why=why)
        return mine

    return this.ledger.transact(book)


def _book(this: Pass, gone: Sequence[File]) -> None:
    """What is on tape, or the second file of an LFN that is safe, is Freed; the others say that they left their disk."""
    at = clock.now()
    values = (("freed", at), ("place_key", None), ("reason", None))
    ends = [file for file in gone if file.state in (ON_TAPE, SKIPPED)]
    files.advance(this, [Move(file.id, file.state, FREED, size=file.size, values=values) for file in ends], ends)
    on = [file for file in gone if file.state not in (ON_TAPE, SKIPPED)]
    if not on:
        return

    def book(connection: Connection) -> None:
        left: dict[str, Any] = {"freed": at, "place_key": None}
        ids = [file.id for file in on]
        for part in chunks(ids):
            before: ColumnElement[bool] = F.state.in_(BEFORE_TAPE)
            connection.execute(tables.daq_file.update().where(F.id.in_(part), before).values(left))
        came = [file for file in files.by_ids(connection, ids).values() if file.state == ON_TAPE]  # to tape meanwhile
        moves = [Move(file.id, ON_TAPE, FREED, size=file.size, values=values) for file in came]
        journal.advance(connection, tables.daq_file, STATES, moves, by=this.by, at=at)

    this.ledger.transact(book)
    for file in on:
        this.moved(file.state, "removed")


def _kept(this: Pass, disk: Disk, file: File, problem: StorageError) -> None:
    """A source that was left: it is not the file that was proved, or it could not be removed."""
    left = "it was left on its disk"
    if problem.cls == "changed" and file.state == AT_SITE and file.zip_id is None:
        _copy_again(this, disk, file)
        this.problem("changed after its copy", file.shown, why=problem.reason, left=left, next="it is copied again", failed=False)
        return
    if problem.cls == "changed" and file.state in (AT_SITE, ON_TAPE):
        why = "it changed on its disk after it was copied; the site and the tape have it as it was"
        values = (("error_class", "changed"), ("reason", why))
        files.advance(this, [Move(file.id, file.state, BAD, why, file.size, values=values)], [file])
        advice = "give what stands there another name; then: daq-transfer --retry changed"
        this.problem(BAD, file.shown, why=why, left=left, next=advice)
        return
    this.problem("not removed", file.shown, why=problem.reason, left=left, next="the next pass tries again")


def _copy_again(this: Pass, disk: Disk, file: File) -> None:
    try:
        mark = LocalStore().mark(names.file_url(disk.place(file.path)))
    except StorageError:
        return
    if mark is not None:
        facts = (("size", mark.size), ("mtime_ns", mark.mtime), ("inode", mark.inode))
        move = Move(file.id, AT_SITE, FOUND, "it changed after its copy: it is copied again", mark.size, file.size, facts)
        files.advance(this, [move], [file])
