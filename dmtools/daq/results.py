"""What became of zip jobs: the batch system's word, the result file, and the proof by what the storage says of the zip.

The result file stays until its outcome is booked, so a kill in between costs a look, never a zip. Only the attempt whose key
stands in the row counts: another one's zip has another name and is never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, update

from dmtools import clock
from dmtools.batch import BatchAway, Room, Status
from dmtools.control.passes import Pass
from dmtools.daq import told
from dmtools.daq.claiming import each, take
from dmtools.daq.home import RESULT, Home
from dmtools.daq.jobfile import Result, read_result
from dmtools.daq.jobs import room_name
from dmtools.daq.states import BAD, WAITING, ZIPPED, ZIPPING
from dmtools.daq.zips import Step, Z, Zip, files_of, in_state
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.types import AnyRow
from dmtools.settings import Daq, Settings
from dmtools.storage import Absent, Look, Unknown, client_for, scheme_of

LONGEST_WAIT = 3600
LOOK_SECONDS = 900.0
OVER = ("done", "failed", "gone")


@dataclass(frozen=True)
class Failure:
    """Why an attempt gave no zip. `wide`: no fault of the files, no attempt is counted."""

    cls: str
    why: str
    wide: bool = False


def read(path: Path, key: str) -> Result | Failure | None:
    """The result file of a job; None when there is none. Raises OSError when it can't be read now."""
    try:
        found = read_result(path)
    except FileNotFoundError:
        return None
    except ValueError as problem:
        return Failure("io", f"its result file can't be read: {problem}")
    if found.key != key:
        return Failure("io", f"its result file is of another job, {found.key}")
    if found.state == "done" and found.zip is not None:
        return found
    return Failure(found.error_class or "io", found.reason or "its job failed and gave no reason", found.wide)


def follow(this: Pass, home: Home, room: Room) -> str | None:
    """Books every job that ended, tells those that are held. Gives why the batch system is away, if it is."""
    with this.ledger.read() as connection:
        zips = in_state(connection, ZIPPING, Z.room == room_name(home, room))
    if not zips:
        return None
    away = None
    stands: Mapping[str, Status] = {}
    try:
        stands = room.statuses([one.key for one in zips])
    except BatchAway as problem:
        away = str(problem)  # what has a result is booked all the same
    else:
        this.ledger.transact(lambda c: _note_polled(c, zips))
    for ours in each(this, [one for one in zips if _is_over(home, one, stands)]):
        _settle(this, home, ours, stands)
    try:
        _tell_held(this, room, [(one, stands[one.key]) for one in zips if one.key in stands and stands[one.key].how == "held"])
    except BatchAway as problem:
        away = str(problem)
    return away


def _note_polled(connection: Connection, zips: Sequence[Zip]) -> None:
    for part in chunks([one.id for one in zips]):
        connection.execute(update(tables.daq_zip).where(Z.id.in_(part)).values(polled=clock.now()))


def _is_over(home: Home, one: Zip, stands: Mapping[str, Status]) -> bool:
    status = stands.get(one.key)
    if status is None or status.how == "unknown":
        return (home.job(one.key) / RESULT).exists()
    if status.how == "gone" and one.submitted is None:  # it never was: `jobs.resend`
        return (home.job(one.key) / RESULT).exists()
    return status.how in OVER


def _settle(this: Pass, home: Home, zips: Sequence[Zip], stands: Mapping[str, Status]) -> None:
    with this.ledger.read() as connection:
        files = files_of(connection, zips)
    outcomes: list[tuple[Zip, Failure | Result]] = []
    for one in zips:
        try:
            found = read(home.job(one.key) / RESULT, one.key) or no_result(stands.get(one.key))
        except OSError as problem:
            told.unproved_zip(this, one, f"its result file can't be read now: {problem}")
            continue
        outcomes.append((one, _fits(found, files[one.id]) if isinstance(found, Result) else found))
    looks = _looks(this.settings, [one for one, found in outcomes if isinstance(found, Result)])
    steps = []
    for one, found in outcomes:
        final = _proved(one, found, looks[one.id]) if isinstance(found, Result) else found
        if isinstance(final, Unknown):
            told.unproved_zip(this, one, final.reason)
        else:
            steps.append(step_of(one, final, this.settings.daq, clock.now()))
    told.steps(this, take(this, steps))


def no_result(status: Status | None) -> Failure:
    """A job that ended without a result file."""
    if status is None or status.how in ("gone", "unknown"):
        return Failure("lost", "the batch system knows no such job any more, and it left no result", wide=True)
    how = f"exit code {status.exit_code}" if status.exit_code is not None else "by a signal or a limit"
    said = f": {status.reason}" if status.reason else ""
    return Failure("job", f"its job ended without a result ({how}){said}")


def _fits(found: Result, files: Sequence[AnyRow]) -> Result | Failure:
    """Is in the zip what the tables know of its files? The first link of the chain."""
    wanted = {row.lfn: (row.size, row.checksum) for row in files}
    inside = {one.lfn: (one.size, one.checksum) for one in found.files}
    if wanted == inside:
        return found
    wrong = next(lfn for lfn in {**wanted, **inside} if wanted.get(lfn) != inside.get(lfn))
    return Failure("checksum", f"its zip holds {wrong} as {inside.get(wrong)}, recorded is {wanted.get(wrong)}")


def _looks(settings: Settings, zips: Sequence[Zip]) -> dict[int, Look]:
    """What the storage says of the uploaded zips, by zip id; absent is believed only where the place itself is there."""
    found: dict[int, Look] = {}
    by_scheme: dict[str, list[Zip]] = {}
    for one in zips:
        by_scheme.setdefault(scheme_of(one.place or ""), []).append(one)
    for items in by_scheme.values():
        store = client_for(items[0].place or "", settings)
        if store is None:
            found |= {one.id: Unknown("no client for its storage is installed here", wide=True) for one in items}
            continue
        looks = store.look_many([one.place or "" for one in items], checksum=True, deadline=LOOK_SECONDS)
        trouble = store.trouble(settings.daq.zips) if any(isinstance(look, Absent) for look in looks) else None
        for one, look in zip(items, looks, strict=True):
            found[one.id] = Unknown(trouble, wide=True) if trouble and isinstance(look, Absent) else look
    return found


def _proved(one: Zip, found: Result, look: Look) -> Result | Failure | Unknown:
    """The second link: the zip at the site is the one that the job has tested."""
    assert found.zip is not None
    if isinstance(look, Unknown):
        return look
    if isinstance(look, Absent):
        return Failure("missing", f"its zip is not at {one.place}")
    if (look.size, look.checksum) != (found.zip.size, found.zip.checksum):
        was = f"{found.zip.size} bytes, {found.zip.checksum}"
        return Failure("checksum", f"its zip at the site is {look.size} bytes, {look.checksum}; the job made {was}")
    return found


def step_of(one: Zip, found: Result | Failure, daq: Daq, now: datetime) -> Step:
    """The step that an outcome is: Zipped, Waiting for another attempt, or Bad."""
    if isinstance(found, Result):
        assert found.zip is not None
        proof = {"zip_size": found.zip.size, "zip_checksum": found.zip.checksum}
        clear = {"error_class": None, "reason": None}
        why = f"tested, uploaded and proved: {found.zip.size} bytes, {found.zip.checksum}"
        return Step(one, ZIPPED, why, {**proof, **clear, "next_try": None, "failures": 0}, clear)
    return again(one, found, daq, now)


def again(one: Zip, found: Failure, daq: Daq, now: datetime) -> Step:
    """Another attempt after a wait that doubles, or Bad after `max_attempts`; a `wide` trouble is no attempt."""
    failures = one.failures + (not found.wide)
    fault = {"error_class": found.cls, "reason": found.why[:500]}
    values = {**fault, "failures": failures, "zip_size": None, "zip_checksum": None, "list_id": None}
    if failures >= daq.max_attempts:
        why = f"{found.why} ({failures} failed attempts)"
        return Step(one, BAD, why, {**values, "next_try": None}, fault)
    wait = min(LONGEST_WAIT, daq.retry_seconds * 2 ** max(0, failures - 1))
    return Step(one, WAITING, found.why, {**values, "next_try": now + timedelta(seconds=wait)}, fault)


def _tell_held(this: Pass, room: Room, held: Sequence[tuple[Zip, Status]]) -> None:
    """Held jobs are told with their reason; after a while they are ended, and done again as failed attempts."""
    now, seconds = clock.now(), this.settings.daq.held_seconds
    over = [(one, status) for one, status in held if one.next_try is not None and one.next_try <= now]
    for one, status in held:
        told.held_job(this, one, status, one.next_try or now + timedelta(seconds=seconds))
        if one.next_try is None:
            put = update(tables.daq_zip).where(Z.id == one.id, Z.state == ZIPPING, Z.job_key == one.job_key)
            values = {"next_try": now + timedelta(seconds=seconds), "reason": f"its job is held: {status.reason}"[:500]}
            this.ledger.transact(lambda c, put=put, values=values: c.execute(put.values(values)))  # type: ignore[misc]
    reasons = {one.id: status.reason for one, status in over}
    for ours in each(this, [one for one, _ in over]):
        room.cancel([one.key for one in ours])
        found = [Failure("held", f"its job was held for more than {seconds:g} s: {reasons[one.id]}") for one in ours]
        steps = [again(one, why, this.settings.daq, now) for one, why in zip(ours, found, strict=True)]
        told.steps(this, take(this, steps))
