"""The scan: files of a flagged disk -> rows, durable in batches; what is known already is only compared.

A disk that has no rows yet is written without a question; one that has, is asked for by place, and only in directories that
changed since its last whole scan. The last scan before a disk is handed back reads all of it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.daq.disks import Disk, changed
from dmtools.daq.lfn import Naming, half
from dmtools.daq.states import AT_SITE, FOUND, FREED, SKIPPED, STATES
from dmtools.daq.walking import File, Walk, kind
from dmtools.ledger import journal, tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.journal import Move
from dmtools.ledger.types import AnyRow
from dmtools.storage.answers import StorageError

F = tables.daq_file.c
BATCH = 20_000  # rows a transaction
MARGIN = timedelta(seconds=5)  # a directory's time of change is coarse
OF_SKIPPED = "invalid"  # the error class of what can't be taken
COLUMNS = (
    *("disk_id", "path", "place_key", "lfn", "lfn_key", "size", "mtime_ns", "inode"),
    *("state", "since", "scan", "failures", "error_class", "reason", "twin_id"),
)
PATH, PLACE_KEY, LFN, LFN_KEY, SIZE, MTIME, INODE, STATE = (
    COLUMNS.index(n) for n in ("path", "place_key", "lfn", "lfn_key", "size", "mtime_ns", "inode", "state")
)
REASON, TWIN = COLUMNS.index("reason"), COLUMNS.index("twin_id")
ON_DISK = tuple(name for name in STATES.names() if name != FREED)
Row = tuple[Any, ...]


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
        self.naming = Naming(this.settings.daq)
        self.found = Scanned()
        since = disk.scanned if not whole and disk.scanned and disk.flagged and disk.scanned >= disk.flagged else None
        since_ns = int((since - MARGIN).timestamp() * 1e9) if since else 0
        self.walk = Walk(disk.path, this.settings.daq.disk_seconds, since_ns)
        self._halves: dict[str, bytes] = {}

    def run(self) -> Scanned:
        """Walks, records in batches, writes down that the whole disk was read. Raises StorageError."""
        with self.this.ledger.read() as connection:
            on_disk = select(F.id).where(F.disk_id == self.disk.id, F.state.in_(ON_DISK), F.freed.is_(None)).limit(1)
            fresh = connection.execute(on_disk).first() is None
        waiting: list[File] = []
        for batch in self.walk.files():
            waiting += batch
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

    def _record(self, batch: Sequence[File], fresh: bool) -> None:
        self.found.files += len(batch)
        self.found.size += sum(file[1] for file in batch)
        if not batch:
            return
        at = clock.now()
        rows = [self._row(file, at) for file in batch]
        added = self._write(batch, rows, fresh, at)
        for row in added:
            self.found.new += row[STATE] == FOUND
            if row[STATE] == SKIPPED:
                self.found.skipped.append((row[PATH], row[REASON]))
        self.this.moved("", FOUND, sum(row[STATE] == FOUND for row in added))
        self.this.moved("", SKIPPED, sum(row[STATE] == SKIPPED for row in added))

    def _row(self, file: File, at: datetime) -> Row:
        path, size, mtime_ns, inode, mode = file
        encoded = names.encode(path)
        directory, _, name = encoded.rpartition("/")
        name_half = half(name.encode("ascii"))
        place = self._half(f"{self.disk.id}:{directory}") + name_half
        why = kind(mode) or self.naming.refusal(path)
        facts = (self.disk.id, encoded, place)
        if why is not None:
            return (*facts, "/" + encoded, None, size, mtime_ns, inode, SKIPPED, at, self.number, 0, OF_SKIPPED, why, None)
        lfn = self.naming.lfn(path)
        over, _, last = lfn.rpartition("/")
        key = self._half(over) + (name_half if last == name else half(last.encode("ascii")))
        return (*facts, lfn, key, size, mtime_ns, inode, FOUND, at, self.number, 0, None, None, None)

    def _half(self, text: str) -> bytes:
        """Half a key; those of directories are wanted for each of their files."""
        found = self._halves.get(text)
        if found is None:
            if len(self._halves) > 10_000:
                self._halves.clear()
            found = self._halves[text] = half(text.encode("ascii"))
        return found

    def _write(self, batch: Sequence[File], rows: list[Row], fresh: bool, at: datetime) -> list[Row]:
        """Writes the rows that are new; gives them."""
        if self.this.dry_run:
            with self.this.ledger.read() as connection:
                known = _known(connection, rows)
            return [row for row in rows if row[PLACE_KEY] not in known]
        if fresh:
            try:
                return self.this.ledger.transact(lambda c: _add(c, rows, at))
            except IntegrityError:  # some of their LFNs are known
                pass
        return self.this.ledger.transact(lambda c: self._compare(c, rows, at))

    def _compare(self, connection: Connection, rows: list[Row], at: datetime) -> list[Row]:
        """Adds those that are not there yet; those that are get what was seen of them when it changes what is to be done."""
        known = _known(connection, rows)
        seen = [(row, known[row[PLACE_KEY]]) for row in rows if row[PLACE_KEY] in known]
        _see_again(connection, [pair for pair in seen if _differs(*pair)], by=self.this.by, at=at)
        new = [row for row in rows if row[PLACE_KEY] not in known]
        firsts = _firsts(connection, [row[LFN_KEY] for row in new])
        ones: list[Row] = []
        twins: list[Row] = []
        for row in new:
            taken = row[LFN_KEY] is not None and row[LFN_KEY] in firsts
            (twins if taken else ones).append(row)
            if row[LFN_KEY] is not None:
                firsts.setdefault(row[LFN_KEY], 0)
        _add(connection, ones, at)
        if twins:
            firsts = _firsts(connection, [row[LFN_KEY] for row in twins])
            twins = [(*row[:LFN_KEY], None, *row[LFN_KEY + 1 : TWIN], firsts[row[LFN_KEY]]) for row in twins]
            _add(connection, twins, at)
        return ones + twins


def _known(connection: Connection, rows: Sequence[Row]) -> dict[bytes, AnyRow]:
    """The rows of these places, by place."""
    columns = select(F.id, F.place_key, F.state, F.lfn, F.size, F.mtime_ns, F.inode, F.error_class, F.zip_id, F.freed)
    found: dict[bytes, AnyRow] = {}
    for part in chunks([row[PLACE_KEY] for row in rows]):
        found |= {row.place_key: row for row in connection.execute(columns.where(F.place_key.in_(part)))}
    return found


def _firsts(connection: Connection, keys: Sequence[bytes | None]) -> dict[bytes, int]:
    """Who has these LFNs, by key."""
    found: dict[bytes, int] = {}
    for part in chunks([key for key in keys if key is not None]):
        found |= {row.lfn_key: row.id for row in connection.execute(select(F.id, F.lfn_key).where(F.lfn_key.in_(part)))}
    return found


def _add(connection: Connection, rows: Sequence[Row], at: datetime) -> list[Row]:
    """Inserts rows and counts them. Raises IntegrityError; then none of them is in."""
    if not rows:
        return []
    dialect = connection.dialect
    statement = insert(tables.daq_file).compile(dialect=dialect, column_keys=list(COLUMNS))
    since = tables.daq_file.c.since.type.dialect_impl(dialect).bind_processor(dialect)
    instant, place = since(at) if since else at, COLUMNS.index("since")
    values = [(*row[:place], instant, *row[place + 1 :]) for row in rows]  # by the driver: a million rows pay for each detour
    connection.exec_driver_sql(str(statement), values)
    for state in (FOUND, SKIPPED):
        sizes = [row[SIZE] for row in rows if row[STATE] == state]
        journal.count_new(connection, STATES.pipeline, state, len(sizes), sum(sizes), at)
    return list(rows)


def _differs(row: Row, known: AnyRow) -> bool:
    if known.state == SKIPPED and known.error_class == OF_SKIPPED:
        return bool(row[STATE] == FOUND)
    copied = known.state == AT_SITE and known.zip_id is None and known.freed is None
    same = (known.size, known.mtime_ns, known.inode) == (row[SIZE], row[MTIME], row[INODE])
    return (copied or known.state == FOUND) and not same


def _see_again(connection: Connection, pairs: Sequence[tuple[Row, AnyRow]], *, by: str, at: datetime) -> None:
    """What changed since it was recorded: not copied yet, it is copied as it is now; copied, it is copied again."""
    moves = []
    for row, known in pairs:
        facts: dict[str, Any] = {"size": row[SIZE], "mtime_ns": row[MTIME], "inode": row[INODE]}
        if known.state == FOUND:
            connection.execute(tables.daq_file.update().where(F.id == known.id, F.state == FOUND).values(facts))
            journal.add_tally(connection, STATES.pipeline, {FOUND: (0, row[SIZE] - known.size)})
            continue
        why = "it changed after its copy: it is copied again"
        if known.state == SKIPPED:
            first = _firsts(connection, [row[LFN_KEY]]).get(row[LFN_KEY])
            why, key = "it can be taken now", None if first else row[LFN_KEY]
            facts |= {"lfn": row[LFN], "lfn_key": key, "twin_id": first, "error_class": None, "reason": None}
        values = tuple(facts.items())
        moves.append(Move(known.id, known.state, FOUND, why, row[SIZE], known.size, values))
    journal.advance(connection, tables.daq_file, STATES, moves, by=by, at=at)
