"""The DAQ's disks: who may be worked on now, by the flags at its root; one that hangs or is away holds up no other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.daq.home import id_of
from dmtools.daq.lfn import FLAGGED, READY
from dmtools.daq.states import DISK_STATES, EMPTYING, FILLING, FREE, RETURNING
from dmtools.ledger import journal, tables
from dmtools.ledger.engine import Stale
from dmtools.ledger.journal import Move
from dmtools.settings import Settings
from dmtools.storage.deadline import Hung, guarded

D = tables.daq_disk.c


@dataclass(frozen=True)
class Look:
    """What a disk's root says now. `trouble`: why it can't be worked with; else empty."""

    root: str = ""
    flagged: bool = False
    ready: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class Disk:
    """A disk of this HOME: its row, and what its root said when the pass began."""

    id: int
    path: bytes
    state: str
    flagged: datetime | None
    scan: int
    scanned: datetime | None
    root: str | None
    look: Look = field(default_factory=Look)

    @property
    def shown(self) -> str:
        """Its path for people."""
        return names.shown(names.encode(self.path))

    @property
    def resource(self) -> str:
        """Who scans it, or hands it back, holds this lease."""
        return f"daq-disk-{self.id}"

    @property
    def works(self) -> bool:
        """May its files be copied and freed?"""
        return not self.look.trouble and self.state == EMPTYING

    def place(self, path: str) -> bytes:
        """Where a file of it is."""
        return self.path + b"/" + names.decode(path)

    def is_there(self, seconds: float) -> bool:
        """Is it still the disk that it was when the pass began? What was seen in between holds only then."""
        return bool(look_at(self.path, seconds).root == self.look.root)


def look_at(path: bytes, seconds: float) -> Look:
    """Looks at the root of a disk; what doesn't answer within `seconds` is in trouble."""

    def ask() -> Look:
        root = os.stat(path)
        flagged, ready = (os.path.lexists(os.path.join(path, name)) for name in (FLAGGED, READY))
        return Look(f"{root.st_dev}:{root.st_ino}", flagged, ready)

    try:
        return guarded(lambda _: ask(), deadline=seconds, stall=seconds)
    except Hung:
        return Look(trouble=f"it did not answer within {seconds:g} s")
    except OSError as problem:
        return Look(trouble=os.strerror(problem.errno or 0))


def look_at_all(this: Pass) -> list[Disk]:
    """The disks of [daq] disks with their rows, each turned by its flags. A dry run gives what it would turn into."""
    seconds = this.settings.daq.disk_seconds
    paths = [os.fsencode(this.settings.path(text)) for text in this.settings.daq.disks]
    home = id_of(this)
    with ThreadPoolExecutor(max(1, len(paths))) as pool:
        looks = dict(zip(paths, pool.map(lambda path: look_at(path, seconds), paths), strict=True))
    rows = _rows(this, home, paths)
    return [_turned(this, replace(disk, look=looks[disk.path])) for disk in rows]


def sites(settings: Settings) -> list[Path]:
    """The directory that daq-transfer fills, when it is one of this machine on another disk than HOME."""
    try:
        path = names.path_of(settings.daq.site)
        return [path] if path.stat().st_dev != settings.home.stat().st_dev else []
    except (names.NameRefused, OSError):
        return []


def _rows(this: Pass, home: str, paths: Sequence[bytes]) -> list[Disk]:
    with this.ledger.read() as connection:
        known = _known(connection, home, paths)
    new = [path for path in paths if path not in known]
    if new and not this.dry_run:
        known = this.ledger.transact(lambda c: _add(c, home, paths))
    unknown = {"state": FILLING, "flagged": None, "scan": 0, "scanned": None, "root": None}
    return [known.get(path) or Disk(id=0, path=path, **unknown) for path in paths]  # type: ignore[arg-type]


def _known(connection: Connection, home: str, paths: Iterable[bytes]) -> dict[bytes, Disk]:
    keys = [names.key(names.encode(path)) for path in paths]
    rows = connection.execute(select(tables.daq_disk).where(D.home == home, D.path_key.in_(keys)))
    return {
        (path := names.decode(row.path)): Disk(row.id, path, row.state, row.flagged, row.scan, row.scanned, row.root)
        for row in rows
    }


def _add(connection: Connection, home: str, paths: Sequence[bytes]) -> dict[bytes, Disk]:
    known, at = _known(connection, home, paths), clock.now()
    for path in paths:
        if path not in known:
            encoded = names.encode(path)
            row = {"home": home, "path": encoded, "path_key": names.key(encoded), "state": FILLING, "since": at, "scan": 0}
            statement = insert(tables.daq_disk).values(row)
            connection.execute(statement.prefix_with("OR IGNORE" if connection.dialect.name == "sqlite" else "IGNORE"))
    return _known(connection, home, paths)


def _turned(this: Pass, disk: Disk) -> Disk:
    """The disk as its flags say: Emptying when it is flagged, in trouble when it should be and isn't."""
    look = disk.look
    if look.trouble:
        return disk
    if disk.state in (FILLING, FREE) and look.flagged:
        values = {"flagged": clock.now(), "root": look.root, "scanned": None}
        return moved(this, disk, EMPTYING, "ReadyToTransfer is there", **values)
    if disk.state == FREE and not look.ready:
        return moved(this, disk, FILLING, "ReadyForData is gone: the DAQ has taken it")
    if disk.state == EMPTYING and not look.flagged:
        why = "ReadyToTransfer is gone from its root: it is not mounted, or somebody took the flag away"
        return replace(disk, look=replace(look, trouble=why))
    if disk.state == RETURNING and look.root != disk.root and not look.flagged:
        return replace(disk, look=replace(look, trouble="another directory stands at its place: it is not mounted"))
    if disk.state in (EMPTYING, RETURNING) and look.root != disk.root:  # mounted again, under another number
        return changed(this, disk, root=look.root, scanned=None)
    return disk


def moved(this: Pass, disk: Disk, after: str, why: str, **values: Any) -> Disk:
    """The disk in another state; as it is now when another pass was quicker."""
    if not this.dry_run:
        move = Move(disk.id, disk.state, after, why, values=tuple(values.items()))
        try:
            this.ledger.transact(lambda c: journal.advance(c, tables.daq_disk, DISK_STATES, [move], by=this.by, at=clock.now()))
        except Stale:
            with this.ledger.read() as connection:
                now = connection.execute(select(tables.daq_disk).where(D.id == disk.id)).one()
            return replace(disk, state=now.state, flagged=now.flagged, scan=now.scan, scanned=now.scanned, root=now.root)
    this.plan(f"{disk.shown}: {disk.state} -> {after}: {why}")
    return replace(disk, state=after, **values)


def changed(this: Pass, disk: Disk, **values: Any) -> Disk:
    """The disk with other values of its row, in the same state."""
    if not this.dry_run:
        this.ledger.transact(lambda c: c.execute(tables.daq_disk.update().where(D.id == disk.id).values(values)))
    return replace(disk, **values)


def tell_troubles(this: Pass, disks: Iterable[Disk]) -> None:
    """Disks that can't be worked with now; those that were given back and are away meanwhile are no trouble of ours."""
    for disk in disks:
        if disk.look.trouble:
            tell_away(this, disk, disk.look.trouble)


def tell_away(this: Pass, disk: Disk, why: str) -> None:
    """A disk that hangs, or is away."""
    this.problem(
        "disk in trouble",
        disk.shown,
        why=why,
        left="its files stay as they are, no attempt is counted; the other disks go on",
        next="mount it, or look at the machine; the next pass looks again",
        failed=False,
    )
