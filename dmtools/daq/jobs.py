"""Waiting zips -> batch jobs.

Order: the attempt with its key and files in one transaction -> job.json, durable -> the lease is looked at again -> the batch
system -> what it said. A kill in between leaves a key without a word of the batch system: the same key goes there again
(`resend`), and the room runs no key twice.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
from sqlalchemy import Connection, bindparam, func, or_, select, update

from dmtools import clock, durable
from dmtools.batch import Job, Room, Status
from dmtools.control.passes import Pass
from dmtools.daq import jobfile, told
from dmtools.daq.claiming import each, take
from dmtools.daq.home import JOB, RESULT, Home
from dmtools.daq.states import AT_SITE, REFUSED, WAITING, ZIP_STATES, ZIPPING
from dmtools.daq.zips import F, Step, Z, Zip, by_ids, files_of, in_state, upload_url
from dmtools.ledger import journal, tables
from dmtools.ledger.schema import installation_id
from dmtools.ledger.types import AnyRow
from dmtools.settings import Settings
from dmtools.storage import StorageError, client_for, scheme_of

BATCH = 50  # jobs that are booked and submitted together
CLOCKS_DIFFER = timedelta(minutes=1)


def room_name(home: Home, room: Room) -> str:
    """What stands in `daq_zip.room`: a job's directory is below the HOME that submitted it, so only that one follows it."""
    return f"{room.name}/{home.id}"


def job_key(installation: str, name: str, attempt: int) -> str:
    """The key of one attempt of a zip."""
    return "dm-" + hashlib.sha256(f"{installation}\0{name}\0{attempt}".encode("ascii")).hexdigest()[:20]


def count(connection: Connection, home: Home, room: Room) -> int:
    """How many jobs of this HOME are open."""
    query = select(func.count()).where(Z.state == ZIPPING, Z.room == room_name(home, room))
    return int(connection.execute(query).scalar_one())


def due(connection: Connection, most: int) -> list[Zip]:
    """Waiting zips whose time has come."""
    now = clock.now()
    ready = or_(Z.next_try.is_(None), Z.next_try <= now, Z.since > now + CLOCKS_DIFFER)
    return in_state(connection, WAITING, ready, most=most)


def refused(settings: Settings) -> str | None:
    """Why no job may begin: its proxy or token would not last, or can't be used. Directories and open storages need none."""
    if {scheme_of(settings.daq.site), scheme_of(settings.daq.zips)} == {"file"}:
        return None
    from dmtools.transfers import credentials

    return credentials.refusal(settings)


def submit(this: Pass, home: Home, room: Room, zips: Sequence[Zip]) -> None:
    """A new attempt for each of these Waiting zips. Raises BatchAway; what was booked by then is sent by the next pass."""
    with this.ledger.read() as connection:
        installation = installation_id(connection)
    for ours in each(this, zips, BATCH, new=True):
        _send(this, home, room, _begin(this, home, room, installation, ours))


def resend(this: Pass, home: Home, room: Room) -> None:
    """Attempts that were booked and of which the batch system may know nothing. Raises BatchAway."""
    with this.ledger.read() as connection:
        found = in_state(connection, ZIPPING, Z.room == room_name(home, room), Z.submitted.is_(None))
    for ours in each(this, found, BATCH):
        _send(this, home, room, ours)


def _begin(this: Pass, home: Home, room: Room, installation: str, zips: Sequence[Zip]) -> list[Zip]:
    """The attempts, booked. What an earlier attempt has uploaded goes first: its name is forgotten here."""
    whole = _whole(this, zips)
    steps = []
    for one in whole:
        if not _forget_upload(this, one):
            continue
        key = job_key(installation, one.name, one.attempt + 1)
        values = {"job_key": key, "attempt": one.attempt + 1, "room": room_name(home, room), "job": None, "submitted": None}
        values |= {"next_try": None, "place": upload_url(this.settings, one.name, key), "zip_size": None, "zip_checksum": None}
        steps.append(Step(one, ZIPPING, f"attempt {one.attempt + 1}, job {key}", values))
    booked = take(this, steps)
    with this.ledger.read() as connection:
        return list(by_ids(connection, [step.zip.id for step in booked]).values())


def _whole(this: Pass, zips: Sequence[Zip]) -> list[Zip]:
    """Those whose files are all at the site. A file that isn't leaves its group; one that is alone is waited for."""
    with this.ledger.read() as connection:
        files = files_of(connection, zips)
    found = {one.id: [row for row in files[one.id] if row.state == AT_SITE] for one in zips}
    _postpone(this, [one for one in zips if not found[one.id]])
    whole = []
    for one in zips:
        if found[one.id] and len(found[one.id]) < one.files:
            this.ledger.transact(lambda c, one=one: _shrink(this, c, one, found[one.id]))  # type: ignore[misc]
        if found[one.id]:
            whole.append(one)
    return whole


def _shrink(this: Pass, connection: Connection, one: Zip, kept: Sequence[AnyRow]) -> None:
    put = update(tables.daq_file).where(F.zip_id == one.id, F.state != AT_SITE)
    connection.execute(put.values(zip_id=None))
    size = sum(row.size for row in kept)
    connection.execute(update(tables.daq_zip).where(Z.id == one.id).values(files=len(kept), bytes=size))
    why = f"{one.files - len(kept)} of its files are not at the site any more: they go without it"
    journal.note(connection, "daq", ZIP_STATES.kind, one.id, by=this.by, at=clock.now(), why=why)


def _forget_upload(this: Pass, one: Zip) -> bool:
    """Removes what an attempt that doesn't count left at the site; False: that can't be done now."""
    if one.place is None:
        return True
    store = client_for(one.place, this.settings)
    try:
        if store is not None:
            store.delete(one.place)
    except StorageError as problem:
        left = "it waits; no attempt is counted"
        this.problem("site storage in trouble", one.shown, why=problem.reason, left=left, next="the next pass", failed=False)
        return False
    return True


def _postpone(this: Pass, zips: Sequence[Zip]) -> None:
    """A zip whose file isn't at the site (it is just copied again) waits for it."""
    if not zips:
        return
    until = clock.now() + timedelta(seconds=this.settings.daq.retry_seconds)
    why = "its file is not at the site now"
    put = update(tables.daq_zip).where(Z.id.in_([one.id for one in zips]), Z.state == WAITING)
    this.ledger.transact(lambda c: c.execute(put.values(next_try=until, reason=why)))
    for one in zips:
        this.log(f"{one.shown} waits until {clock.local(until)}: {why}")


def _send(this: Pass, home: Home, room: Room, zips: Sequence[Zip]) -> None:
    if not zips:
        return
    with this.ledger.read() as connection:
        files = files_of(connection, zips)
    jobs = write_jobs(this, home, [(one, files[one.id]) for one in zips])
    with this.ledger.read() as connection:
        held = this.leases.still_held(connection, [one.resource for one in zips])
    mine = [one for one in zips if one.resource in held]
    said = room.submit([jobs[one.id] for one in mine])
    _refused(this, [(one, said.pop(one.key)) for one in mine if _is_refused(said.get(one.key))])
    rows = [{"_id": one.id, "_key": key, "job": said[key].id or None} for one in mine if (key := one.key) in said]
    put = update(tables.daq_zip).where(Z.id == bindparam("_id"), Z.state == ZIPPING, Z.job_key == bindparam("_key"))
    new = {"job": bindparam("job"), "submitted": clock.now(), "error_class": None, "reason": None}
    if rows:
        this.ledger.transact(lambda c: c.execute(put.values(new), rows))


def _is_refused(status: Status | None) -> bool:
    """The batch system says that it has none of it."""
    return status is not None and status.how == "held" and not status.id


def _refused(this: Pass, refused: Sequence[tuple[Zip, Status]]) -> None:
    """Told, and kept in their rows for dm-train-ok and dm-trace; the attempt stays open and goes there again."""
    rows = [{"_id": one.id, "_key": one.key, "reason": status.reason[:500]} for one, status in refused]
    put = update(tables.daq_zip).where(Z.id == bindparam("_id"), Z.state == ZIPPING, Z.job_key == bindparam("_key"))
    if rows:
        values = {"error_class": REFUSED, "reason": bindparam("reason")}
        this.ledger.transact(lambda c: c.execute(put.values(values), rows))
    for one, status in refused:
        told.refused_job(this, one, status)


def write_jobs(this: Pass, home: Home, zips: Sequence[tuple[Zip, Sequence[AnyRow]]]) -> dict[int, Job]:
    """The directories of these attempts with their job.json, durable; what a killed pass wrote already stays. By zip id."""
    made: dict[int, Job] = {}
    for one, files in zips:
        place = home.job(one.key)
        place.mkdir(mode=0o750, exist_ok=True)
        if not (place / JOB).exists():
            durable.write_file(place / JOB, _job_json(this, one, files))
        made[one.id] = job_of(this, one, place)
    if zips:
        durable.fsync_dir(home.jobs)
    return made


def _job_json(this: Pass, one: Zip, files: Sequence[AnyRow]) -> bytes:
    daq = this.settings.daq
    sources = tuple(jobfile.Source(lfn=f.lfn, source=daq.site + f.lfn, size=f.size, checksum=f.checksum) for f in files)
    job = jobfile.Job(
        key=one.key, name=one.name, upload=one.place or "", files=sources, scratch=daq.scratch, seconds=daq.job_seconds
    )
    return msgspec.json.format(msgspec.json.encode(job)) + b"\n"


def job_of(this: Pass, one: Zip, place: Path) -> Job:
    """The batch job of an attempt."""
    daq = this.settings.daq
    here = (sys.executable, str(Path(sys.argv[0]).resolve().with_name("daq-zip")))
    return Job(
        key=one.key,
        argv=(*(daq.zip_command or here), JOB),
        directory=place,
        inputs=(JOB,),
        outputs=(RESULT,),
        memory_mb=daq.memory_mb,
        seconds=daq.job_seconds,
        environment=_environment(this),
        options=daq.batch_options,
    )


def _environment(this: Pass) -> dict[str, str]:
    """Where proxy and token are; whether a node can read them there is the site's matter (batch_options)."""
    given = this.settings.credentials
    found = {name: os.environ[name] for name in ("X509_USER_PROXY", "X509_CERT_DIR") if name in os.environ}
    if given.proxy:
        found["X509_USER_PROXY"] = str(this.settings.path(given.proxy))
    if given.token_file:
        found["BEARER_TOKEN_FILE"] = str(this.settings.path(given.token_file))
    return found
