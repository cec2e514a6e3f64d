"""What attempts leave: the directories of jobs that ended, and what losing attempts have uploaded."""

from __future__ import annotations

import contextlib
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from dmtools import durable
from dmtools.batch import BatchAway, Room, Status
from dmtools.control.passes import Pass
from dmtools.daq.claiming import claimed
from dmtools.daq.home import JOB, Home
from dmtools.daq.jobfile import Job, JobRefused, read_job
from dmtools.daq.states import CLEANED, ON_TAPE, TO_TAPE, ZIPPED, ZIPPING
from dmtools.daq.zips import Z, Zip, by_name
from dmtools.storage import StorageError, client_for

MOST = 1000  # directories a pass
YOUNG_SECONDS = 3600  # a directory without a job in it may be one that is just made
KEPT = (ZIPPED, TO_TAPE, ON_TAPE, CLEANED)


@dataclass(frozen=True)
class Left:
    """A directory whose key no open attempt has: the zip as it is now, and the job that was in it."""

    place: Path
    job: Job
    zip: Zip

    @property
    def counts(self) -> bool:
        """Is what it has uploaded the zip that counts?"""
        return self.zip.job_key == self.job.key and (self.zip.state in KEPT or self.zip.zip_checksum is not None)


def sweep(this: Pass, home: Home, room: Room) -> None:
    """Removes at most MOST directories of ended jobs; of losing attempts also what they have uploaded."""
    with this.ledger.read() as connection:
        is_open = set(connection.execute(select(Z.job_key).where(Z.state == ZIPPING)).scalars())
    with os.scandir(home.jobs) as entries:
        over = [entry.name for entry in entries if entry.name not in is_open]
    found = [left for name in random.sample(over, min(MOST, len(over))) if (left := _look(this, home.job(name))) is not None]
    if not found:
        return
    try:
        stands = room.statuses([one.job.key for one in found])
        running = [one.job.key for one in found if stands[one.job.key].how in ("queued", "running", "held")]
        room.cancel(running)
    except BatchAway:
        return  # told already
    for one in found:
        if one.job.key not in running and this.goes(new=False):
            _remove(this, room, one, stands[one.job.key])


def _look(this: Pass, place: Path) -> Left | None:
    try:
        job = read_job(place / JOB)
    except JobRefused:
        with contextlib.suppress(OSError):
            if time.time() - place.stat().st_mtime > YOUNG_SECONDS:
                empty(place)
        return None
    with this.ledger.read() as connection:
        one = by_name(connection, job.name)
    if one is None or job.key != place.name or (one.state == ZIPPING and one.job_key == job.key):
        return None  # of lost tables, put there by hand, or begun a moment ago: no guess
    return Left(place, job, one)


def _remove(this: Pass, room: Room, left: Left, status: Status) -> None:
    """Under the zip's lease, for nobody may begin or book an attempt of it meanwhile."""
    if status.how == "unknown":
        return
    with claimed(this, [left.zip]) as ours:
        if not ours:
            return
        if not left.counts:
            if not _delete(this, left.job.upload):
                return
            if status.how == "gone" and time.time() - (left.place / JOB).stat().st_mtime < left.job.seconds:
                return  # a node that lost its network may upload yet: looked at again
        try:
            room.forget([left.job.key])
        except BatchAway:
            return  # told by who needs it; the directory stays, so that it is asked again
        empty(left.place)
    this.log(f"{left.job.key}: {'done with' if left.counts else 'does not count; removed what it left'} ({left.zip.shown})")


def _delete(this: Pass, url: str) -> bool:
    store = client_for(url, this.settings)
    try:
        if store is not None:
            store.delete(url)
    except StorageError as problem:
        what = "a losing attempt's zip could not be removed"
        this.problem(what, url, why=problem.reason, left="it stays; nobody uses it", next="the next pass", failed=False)
        return False
    return True


def empty(place: Path) -> None:
    """Removes a job's directory: its files, never a tree; with something else in it, it stays."""
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name == JOB):  # job.json goes last: it says whose all is
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
    with contextlib.suppress(OSError):
        place.rmdir()
        durable.fsync_dir(place.parent)
