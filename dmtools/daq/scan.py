"""The scan: files of a flagged disk -> rows, durable in batches; what is known already is only compared.

A disk that has no rows yet is written without a question; one that has, is asked for by place, and only in directories that
changed since its last whole scan. The last scan before a disk is handed back reads all of it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from dmtools import clock
from dmtools.control.passes import Pass
from dmtools.daq.disks import Disk, changed
from dmtools.daq.lfn import NO_FILES, Naming
from dmtools.daq.rows import OF_SKIPPED, Maker, Row, add, firsts
from dmtools.daq.states import AT_SITE, FOUND, FREED, SKIPPED, STATES
from dmtools.ledger import journal, tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.journal import Move
from dmtools.ledger.types import AnyRow
from dmtools.storage.answers import StorageError
from dmtools.storage.walking import Walk

F = tables.daq_file.c
BATCH = 20_000  # rows a transaction
MARGIN = timedelta(seconds=5)  # a directory's time of change is coarse
ON_DISK = tuple(name for name in STATES.names() if name != FREED)


@dataclass
class Scanned:
    """What one scan found. `empty`: nothing is left on the disk but directories."""

    files: int = 0
    size: int = 0
    new: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    directories: list[bytes] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    aside: int = 0

    @property
    def empty(self) -> bool:
        """Was all of it read, and no file there?"""
        return not (self.files or self.unreadable or self.aside)


def scan(this: Pass, disk: Disk, *, whole: bool = False) -> Scanned | None:
    """Records what is new on the disk. None: another pass scans it, or it is in trouble, which is told."""
    if not this.leases.claim([disk.resource]):
        return None
    try:
        return Scan(this, disk, whole).run()
    except StorageError as problem:
        tell_stop(this, disk, problem)
        return None
    finally:
        this.leases.release([disk.resource])


def tell_stop(this: Pass, disk: Disk, problem: StorageError) -> None:
    """A disk that could not be read to its end."""
    this.problem(
        "disk in trouble",
        disk.shown,
        why=problem.reason,
        left="what was found is recorded; its files stay as they are",
        next="mount it, or look at the machine; the next pass scans it again",
        failed=False,
    )


class Scan:
    """One scan of one disk."""

    def __init__(self, this: Pass, disk: Disk, whole: bool) -> None:
        self.this, self.disk = this, disk
        self.begun = clock.now()
        self.number = disk.scan + 1
        self.again: list[str] = []  # states from which files of a batch went back to Found
        maker = Maker(disk.id, Naming(this.settings.daq))
        self.found = Scanned()
        since = disk.scanned if not whole and disk.scanned and disk.flagged and disk.scanned >= disk.flagged else None
        since_ns = int((since - MARGIN).timestamp() * 1e9) if since else 0
        self.walk = Walk(disk.path, this.settings.daq.disk_seconds, maker.rows, since_ns, skip=NO_FILES)

    def run(self) -> Scanned:
        """Walks, records in batches, writes down that the whole disk was read. Raises StorageError."""
        with self.this.ledger.read() as connection:
            on_disk = select(F.id).where(F.disk_id == self.disk.id, F.state.in_(ON_DISK), F.freed.is_(None)).limit(1)
            fresh = connection.execute(on_disk).first() is None
        waiting: list[Row] = []
        for made in self.walk.rows():
            waiting += made  # type: ignore[arg-type]
            if len(waiting) >= BATCH:
                self._record(waiting, fresh)
                waiting = []
        self._record(waiting, fresh)
        self.found.directories, self.found.unreadable = self.walk.directories, self.walk.unreadable
        self.found.aside = len(self.walk.aside)
        if not self.this.dry_run and self.disk.is_there(self.this.settings.daq.disk_seconds):
            self._conclude()
        return self.found

    def _conclude(self) -> None:
        """The scan was whole: its number and its time go into the disk's row, and what it found into the journal."""
        values: dict[str, Any] = {} if self.found.unreadable else {"scan": self.number, "scanned": self.begun}
        if values:
            self.disk = changed(self.this, self.disk, **values)
        found = self.found
        if found.new or found.skipped:
            said = f"scan {self.number}: {found.new} new files, {len(found.skipped)} that can't be taken"
            note = {"by": self.this.by, "at": clock.now(), "why": said}
            self.this.ledger.transact(lambda c: journal.note(c, "daq", "daq-disk", self.disk.id, **note))  # type: ignore[arg-type]

    # ---- a batch

    def _record(self, rows: list[Row], fresh: bool) -> None:
        """Writes those that are new, all or none."""
        self.found.files += len(rows)
        self.found.size += sum(row[4] for row in rows)
        if not rows:
            return
        added = self._write(rows, fresh, clock.now())
        for before in self.again:
            self.this.moved(before, FOUND)
        self.again = []
        skipped = [(row[0], row[7]) for row in added if row[7] is not None]
        self.found.skipped += [(path, why) for path, why in skipped if why]
        self.found.new += len(added) - len(skipped)
        self.this.moved("", FOUND, len(added) - len(skipped))
        self.this.moved("", SKIPPED, len(skipped))

    def _write(self, rows: list[Row], fresh: bool, at: datetime) -> list[Row]:
        if self.this.dry_run:
            with self.this.ledger.read() as connection:
                known = _known(connection, rows)
            return [row for row in rows if row[1] not in known]
        if fresh:
            try:
                self.this.ledger.transact(lambda c: add(c, self.disk.id, self.number, rows, at))
            except IntegrityError:  # some of their LFNs are known
                fresh = False
        return rows if fresh else self.this.ledger.transact(lambda c: self._compare(c, rows, at))

    def _compare(self, connection: Connection, plain: list[Row], at: datetime) -> list[Row]:
        """Adds those that are not there yet; those that are get what was seen of them when it changes what is to be done."""
        self.again = []
        rows = [Row(*row) for row in plain]
        known = _known(connection, rows)
        seen = [(row, known[row.place_key]) for row in rows if row.place_key in known]
        self._see_again(connection, [pair for pair in seen if _differs(*pair)], at)
        new = [row for row in rows if row.place_key not in known]
        holders = firsts(connection, [row.lfn_key for row in new])
        taken = set(holders)
        ones: list[Row] = []
        twins: list[Row] = []
        for row in new:
            if row.lfn_key in holders and self._was_freed(row, holders[row.lfn_key]):
                continue
            (twins if row.lfn_key in taken else ones).append(row)
            taken |= {row.lfn_key} if row.lfn_key else set()
        add(connection, self.disk.id, self.number, ones, at)
        holders = firsts(connection, [row.lfn_key for row in twins])
        twins = [row._replace(lfn_key=None, twin_id=holders[row.lfn_key].id) for row in twins if row.lfn_key is not None]
        add(connection, self.disk.id, self.number, twins, at)
        return ones + twins

    def _see_again(self, connection: Connection, pairs: Sequence[tuple[Row, AnyRow]], at: datetime) -> None:
        """What changed since it was recorded: not copied yet, it is copied as it is now; copied, it is copied again."""
        moves = []
        for row, known in pairs:
            facts: dict[str, Any] = {"size": row.size, "mtime_ns": row.mtime_ns, "inode": row.inode}
            if known.state == FOUND:
                connection.execute(tables.daq_file.update().where(F.id == known.id, F.state == FOUND).values(facts))
                journal.add_tally(connection, STATES.pipeline, {FOUND: (0, row.size - known.size)})
                continue
            why = "it changed after its copy: it is copied again"
            if known.state == SKIPPED:
                holder = firsts(connection, [row.lfn_key]).get(row.lfn_key or b"")
                why, names = "it can be taken now", {"lfn": row.lfn, "lfn_key": None if holder else row.lfn_key}
                facts |= {**names, "twin_id": holder.id if holder else None, "error_class": None, "reason": None}
            moves.append(Move(known.id, known.state, FOUND, why, row.size, known.size, tuple(facts.items())))
        journal.advance(connection, tables.daq_file, STATES, moves, by=self.this.by, at=at)
        self.again += [move.before for move in moves]

    def _was_freed(self, row: Row, holder: AnyRow) -> bool:
        """Did another pass remove this very file behind our look at its directory?"""
        same = (holder.disk_id, *row[4:7], row.path) == (self.disk.id, holder.size, holder.mtime_ns, holder.inode, holder.path)
        return same and holder.freed is not None and holder.freed >= self.begun - MARGIN


def _known(connection: Connection, rows: Sequence[Row]) -> dict[bytes, AnyRow]:
    """The rows of these places, by place."""
    columns = select(F.id, F.place_key, F.state, F.lfn, F.size, F.mtime_ns, F.inode, F.error_class, F.zip_id, F.freed)
    found: dict[bytes, AnyRow] = {}
    for part in chunks([row[1] for row in rows]):
        found |= {row.place_key: row for row in connection.execute(columns.where(F.place_key.in_(part)))}
    return found


def _differs(row: Row, known: AnyRow) -> bool:
    if known.state == SKIPPED and known.error_class == OF_SKIPPED:
        return row.reason is None
    copied = known.state == AT_SITE and known.zip_id is None and known.freed is None
    same = (known.size, known.mtime_ns, known.inode) == (row.size, row.mtime_ns, row.inode)
    return (copied or known.state == FOUND) and not same
