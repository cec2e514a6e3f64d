"""An empty disk goes back to the DAQ: a last whole scan, rmdir, ReadyToTransfer goes, then ReadyForData comes."""

from __future__ import annotations

import grp
import os

from sqlalchemy import func, select

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.daq.disks import Disk, moved
from dmtools.daq.files import F
from dmtools.daq.lfn import FLAGGED, NEW_READY, READY
from dmtools.daq.scan import ON_DISK, scan
from dmtools.daq.states import BAD, EMPTYING, FREE, RETURNING, SKIPPED
from dmtools.storage.deadline import Hung, guarded
from dmtools.storage.publish import fsync_directory

NAMED = 3  # files that a message names


def hand_back(this: Pass, disk: Disk) -> None:
    """Hands the disk back when nothing is left on it; else says what only a person can clear."""
    if disk.state not in (EMPTYING, RETURNING) or disk.look.trouble or not this.goes(new=False):
        return
    left = _left(this, disk)
    if left:
        _tell(this, disk, left)
        return
    if disk.state == EMPTYING or disk.look.flagged:
        disk = _checked(this, disk)
    if disk.state == RETURNING:
        try:
            seconds = this.settings.daq.disk_seconds
            guarded(lambda _: _change_flags(this, disk), deadline=seconds, stall=seconds)
        except (Hung, OSError, LookupError) as problem:
            why = str(problem.strerror or problem) if isinstance(problem, OSError) else str(problem) or "it does not answer"
            _not_returned(this, disk, why)
            return
        moved(this, disk, FREE, "empty: ReadyForData is there")
        this.moved(EMPTYING, FREE)


def _left(this: Pass, disk: Disk) -> dict[str, int]:
    with this.ledger.read() as connection:
        query = select(F.state, func.count()).where(F.disk_id == disk.id, F.state.in_(ON_DISK), F.freed.is_(None))
        return {row[0]: row[1] for row in connection.execute(query.group_by(F.state))}


def _checked(this: Pass, disk: Disk) -> Disk:
    """The disk as Returning when a whole scan finds no file on it; its empty directories go."""
    found = scan(this, disk, whole=True)
    if found is None:
        return disk
    if found.empty and disk.is_there(this.settings.daq.disk_seconds):
        for path in reversed(found.directories):
            try:
                os.rmdir(os.path.join(disk.path, path))
            except OSError as problem:
                _not_returned(this, disk, f"{os.fsdecode(path)}: {problem.strerror}")
                return disk
        return disk if disk.state == RETURNING else moved(this, disk, RETURNING, "all that was on it is safe and gone")
    for why in found.unreadable[:3]:
        _not_returned(this, disk, why)
    if found.aside and not found.files:
        _not_returned(this, disk, f"{found.aside} files .dm-del-* of deletes that were cut short are left on it")
    if disk.state == RETURNING:
        return moved(this, disk, EMPTYING, f"{found.files} files are on it")
    return disk


def _change_flags(this: Pass, disk: Disk) -> None:
    """The new flag is made under a hidden name first: its group and mode are right from its first moment."""
    daq = this.settings.daq
    hidden, flag = os.path.join(disk.path, NEW_READY), os.path.join(disk.path, READY)
    handle = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if daq.ready_group:
            os.fchown(handle, -1, grp.getgrnam(daq.ready_group).gr_gid)
        os.fchmod(handle, int(daq.ready_mode, 8))
    finally:
        os.close(handle)
    try:
        os.unlink(os.path.join(disk.path, FLAGGED))
        fsync_directory(disk.path)
    except FileNotFoundError:
        pass
    os.rename(hidden, flag)
    fsync_directory(disk.path)


def _not_returned(this: Pass, disk: Disk, why: str) -> None:
    this.problem(
        "disk not handed back",
        disk.shown,
        why=why,
        left="it stays ours",
        next="put it right, or move them away; the next pass looks again",
        failed=False,
    )


def _tell(this: Pass, disk: Disk, left: dict[str, int]) -> None:
    """What waits for the site or the tape goes by itself; a disk that only a person can free is told each time."""
    if set(left) <= {SKIPPED, BAD}:
        counts = ", ".join(f"{n} {state}" for state, n in sorted(left.items()))
        with this.ledger.read() as connection:
            query = select(F.path, F.reason).where(F.disk_id == disk.id, F.state.in_((SKIPPED, BAD)), F.freed.is_(None))
            first = [f"{names.shown(row.path)} ({row.reason})" for row in connection.execute(query.limit(NAMED))]
        _not_returned(this, disk, f"{counts} are left on it: {', '.join(first)}")
    else:
        this.log(f"{disk.shown} keeps {sum(left.values())} files since {clock.local(disk.flagged) if disk.flagged else 'now'}")
