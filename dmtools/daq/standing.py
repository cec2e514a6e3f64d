"""How disks, jobs and zips stand: what monitoring, the check and traces tell alike. Each query is a look into an index."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from dmtools import clock, names
from dmtools.daq.disks import Look, look_at
from dmtools.daq.states import (
    AT_SITE,
    BAD,
    COPIED,
    EMPTYING,
    FILLING,
    FOUND,
    FREE,
    ON_TAPE,
    REFUSED,
    RETURNING,
    SKIPPED,
    TO_TAPE,
    WAITING,
    ZIPPED,
    ZIPPING,
)
from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow
from dmtools.settings import Settings
from dmtools.spool.folders import known_id

D, F, Z = tables.daq_disk.c, tables.daq_file.c, tables.daq_zip.c
WAITS = {
    FOUND: "to be copied",
    COPIED: "not proved at the site",
    AT_SITE: "wait for a zip job",
    ZIPPING: "are zipped",
    ZIPPED: "wait for FTS",
    TO_TAPE: "on their way to tape",
    ON_TAPE: "on tape, to be removed",
}
BEFORE_TAPE = (FOUND, COPIED, AT_SITE, ZIPPING, ZIPPED, TO_TAPE)
MOST = 100_000  # files of one disk and state are not counted further
MOST_ZIPS = 2_000
PATIENCE = 3.0  # seconds for a disk to answer those who only look
SILENT = timedelta(days=1)  # a HOME that didn't ask for its jobs for so long may be gone
LOST = "lost"  # the error class of an attempt whose job its batch system doesn't know


@dataclass
class DiskStands:
    """A disk of the tables. `mine`: of this HOME and in [daq] disks, so that its root could be looked at, too."""

    id: int
    path: str
    state: str
    since: datetime
    flagged: datetime | None
    mine: bool
    look: Look = field(default_factory=Look)
    counts: dict[str, int] = field(default_factory=dict)
    keeper: AnyRow | None = None  # one of the files that keep it, when nothing else does

    @property
    def shown(self) -> str:
        """Its path for people."""
        return names.shown(self.path)

    @property
    def is_free(self) -> bool:
        """May the DAQ write there?"""
        return self.state in (FILLING, FREE) and not self.look.flagged and not self.look.trouble

    @property
    def moving(self) -> dict[str, int]:
        """Its files that go on by themselves, by state."""
        return {state: n for state, n in self.counts.items() if state in WAITS}

    @property
    def is_kept(self) -> bool:
        """Do only files keep it that a person must look at?"""
        return self.state == EMPTYING and not self.moving and any(self.counts.values())

    def said(self, at: datetime) -> str:
        """How it stands."""
        if self.look.trouble:
            return f"it can't be worked with: {self.look.trouble}"
        if self.is_free:
            return "free for the DAQ" if self.state == FREE else "the DAQ fills it, or may"
        if self.state in (FILLING, FREE):
            return "its flag ReadyToTransfer was not seen by a pass yet"
        if self.state == RETURNING:
            return "empty; its flags are changed"
        since = f", flagged {clock.age(max(0.0, (at - self.flagged).total_seconds()))} ago" if self.flagged else ""
        return f"{self._waits()}{since}"

    def _waits(self) -> str:
        moving, kept = self.moving, _kept(self.counts, self.keeper)
        if not moving:
            return kept or "nothing of it is left to move; it is looked through once more and then handed back"
        goal = "waits for tape" if set(moving) - {FOUND, COPIED} else "is copied to the site"
        waits = ", ".join(f"{_many(n)} {WAITS[state]}" for state, n in moving.items())
        return f"{goal}: {waits}" + (f"; then {kept}" if kept else "")

    def step(self) -> str:
        """What a person may do; empty: nothing."""
        if self.look.trouble:
            return "mount it, or look at the machine; the next pass of daq-transfer looks again"
        if self.is_kept and self.keeper is not None:
            place = f"{self.shown}/{names.shown(self.keeper.path)}"
            if self.keeper.state == BAD:
                return f"dm-trace {place}"
            return f"look at {place} and move it away, or let [daq] pattern take it; dm-trace tells of each file"
        return ""


def _kept(counts: dict[str, int], keeper: AnyRow | None) -> str:
    parts = [f"{_many(n)} {state}" for state, n in counts.items() if state not in WAITS and n]
    if not parts:
        return ""
    first = f" ({names.shown(keeper.path)}: {keeper.reason or 'no reason was kept'})" if keeper is not None else ""
    return f"kept by {', '.join(parts)}{first}"


def _many(n: int) -> str:
    return f"{n}" if n < MOST else f"{MOST} or more"


def disks(connection: Connection, settings: Settings, *, look: bool = True) -> list[DiskStands]:
    """Every disk of the tables but those of this HOME that [daq] disks no longer names. `look`: at the roots of ours, too."""
    home = known_id(settings.home)
    ours = {names.encode(os.fsencode(settings.path(text))) for text in settings.daq.disks}
    found = []
    for row in connection.execute(select(tables.daq_disk).order_by(D.home, D.path)):
        mine = row.home == home and row.path in ours
        if mine or row.home != home:
            found.append(DiskStands(row.id, row.path, row.state, row.since, row.flagged, mine))
    seen = looks([one.path for one in found if one.mine]) if look else {}
    for one in found:
        one.look = seen.get(one.path, Look()) if one.mine else Look()
        if one.state == EMPTYING:
            one.counts = _counts(connection, one.id)
            one.keeper = keeper(connection, one.id)
    return found


def looks(paths: Sequence[str]) -> dict[str, Look]:
    """What the roots of these disks say, all asked at once."""
    if not paths:
        return {}
    with ThreadPoolExecutor(len(paths)) as pool:
        return dict(zip(paths, pool.map(lambda path: look_at(names.decode(path), PATIENCE), paths), strict=True))


def _counts(connection: Connection, disk: int) -> dict[str, int]:
    """How many files are still on it, by state."""
    found = {}
    for state in (*WAITS, SKIPPED, BAD):
        few = select(F.disk_id).where(F.disk_id == disk, F.state == state, F.freed.is_(None)).limit(MOST).subquery()
        if n := int(connection.execute(select(func.count()).select_from(few)).scalar_one()):
            found[state] = n
    return found


def keeper(connection: Connection, disk: int) -> AnyRow | None:
    """A file that a person must look at before the disk can be handed back."""
    for state in (SKIPPED, BAD):
        query = select(F.path, F.state, F.reason).where(F.disk_id == disk, F.state == state, F.freed.is_(None)).limit(1)
        if (row := connection.execute(query).first()) is not None:
            return row
    return None


def oldest_before_tape(connection: Connection) -> AnyRow | None:
    """The file that has stood longest where it is, of those that are not on tape."""
    found: list[AnyRow] = []
    for state in BEFORE_TAPE:
        query = select(F.lfn, F.state, F.since).where(F.state == state).order_by(F.since).limit(1)
        found += connection.execute(query).all()
    return min(found, key=lambda row: row.since, default=None)


def jobs(connection: Connection) -> list[AnyRow]:
    """The zips whose attempt is open, the oldest first. `next_try` of these: until then a held one is waited for."""
    query = select(Z.name, Z.since, Z.submitted, Z.next_try, Z.reason, Z.job, Z.job_key, Z.room, Z.polled)
    return list(connection.execute(query.where(Z.state == ZIPPING).order_by(Z.since).limit(MOST_ZIPS)))


def unfollowed(connection: Connection, settings: Settings, at: datetime) -> dict[str, list[AnyRow]]:
    """The zips whose job another HOME submitted and hasn't asked for since long, by that HOME."""
    found: dict[str, list[AnyRow]] = {}
    for row in jobs(connection):
        home = (row.room or "").partition("/")[2]
        if home != known_id(settings.home) and (row.polled or row.since) < at - SILENT:
            found.setdefault(home, []).append(row)
    return found


def lost_jobs(connection: Connection) -> list[AnyRow]:
    """The zips whose last job was lost, so that they are done again."""
    query = select(Z.name, Z.since, Z.reason, Z.next_try).where(Z.state == WAITING, Z.error_class == LOST)
    return list(connection.execute(query.order_by(Z.since).limit(MOST_ZIPS)))


def refused_jobs(connection: Connection) -> list[AnyRow]:
    """The zips whose job the batch system does not take."""
    query = select(Z.name, Z.since, Z.reason, Z.next_try).where(
        Z.state == ZIPPING, Z.error_class == REFUSED, Z.submitted.is_(None)
    )
    return list(connection.execute(query.order_by(Z.since).limit(MOST_ZIPS)))


def unproved(connection: Connection, settings: Settings, at: datetime) -> list[AnyRow]:
    """The zips that should be proved on tape by now."""
    late = at - timedelta(seconds=settings.daq.archive_timeout)
    query = select(Z.name, Z.since, Z.reason).where(Z.state == TO_TAPE, Z.since < late)
    return list(connection.execute(query.order_by(Z.since).limit(MOST_ZIPS)))


def bad(connection: Connection, most: int) -> Iterator[AnyRow]:
    """Some Bad files, the oldest first."""
    query = select(F.id, F.lfn, F.since, F.error_class, F.reason).where(F.state == BAD)
    yield from connection.execute(query.order_by(F.since).limit(most))
