"""The life of one zip: its job, its way to tape, the proof that it is there."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from sqlalchemy import select

from dmtools import clock, names
from dmtools.control import traces, troubles
from dmtools.control.entry import Question, Trace
from dmtools.control.hindrances import Hindrance
from dmtools.daq import states as s
from dmtools.daq.told import CORRECT
from dmtools.daq.trace_words import WORDS, advice, waits
from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow

F, T, L, J, Z = tables.daq_file.c, tables.transfer.c, tables.filelist.c, tables.ftsjob.c, tables.daq_zip.c


def by_name(q: Question, key: bytes) -> Iterator[Trace]:
    """The zip with this key of its name."""
    yield from (of_zip(q, row) for row in q.connection.execute(select(tables.daq_zip).where(Z.name_key == key)))


def of_zip(q: Question, row: AnyRow) -> Trace:
    """One zip, from its row."""
    files = list(q.connection.execute(select(F.lfn).where(F.zip_id == row.id).order_by(F.id)).scalars())
    copy = copy_of(q, row)
    listed = _first_list(q, copy.list_id if copy is not None else row.list_id)
    at_site = row.place is not None and row.state in (s.ZIPPED, s.TO_TAPE, s.ON_TAPE)
    facts = {
        "files": [names.shown(lfn) for lfn in files],
        "bytes": row.bytes,
        "since": clock.iso(row.since),
        "attempt": row.attempt,
        "failures": row.failures,
        "job": row.job_key,
        "batch": row.room.partition("/")[0] if row.room else None,
        "batch_id": row.job,
        "submitted": clock.iso(row.submitted),
        "directory": str(directory) if (directory := q.settings.home / "daq" / "jobs" / (row.job_key or "-")).is_dir() else None,
        "at_site": row.place if at_site else None,
        "tape": f"{q.settings.daq.tape}{row.name}" if row.state in (s.ON_TAPE, s.CLEANED) else None,
        "size": row.zip_size,
        "checksum": row.zip_checksum,
        "list": listed.name if listed is not None else None,
        "next_try": clock.iso(row.next_try),
        "error_class": row.error_class,
        "reason": row.reason,
        "proved": clock.iso(row.proved),
        "audited": clock.iso(row.audited),
    }
    found = stands(q, row)
    history = traces.journal(q, "daq-zip", row.id)
    return Trace(names.shown(row.name), "daq", "zip", row.state, found.said, found.step, facts, history, found.see)


def copy_of(q: Question, row: AnyRow) -> AnyRow | None:
    """The engine's row of this very zip's copy to tape."""
    place = names.key(f"{q.settings.daq.tape}{row.name}")
    found = q.connection.execute(select(tables.transfer).where(T.pipeline == "daq", T.place_key == place)).first()
    return found if found is not None and found.source == row.place else None


def _first_list(q: Question, number: int | None) -> AnyRow | None:
    return q.connection.execute(select(tables.filelist).where(L.id == number)).first() if number else None


def stands(q: Question, row: AnyRow) -> Hindrance:
    """Where the zip is, why it doesn't move, what to do."""
    if row.state == s.WAITING:
        return _waiting(q, row)
    if row.state == s.ZIPPING:
        return _job(q, row)
    if row.state == s.ZIPPED:
        return waits(
            q, "archive", ["its zip is tested and proved at the site; it goes to tape with the next list"], resource=_lease(row)
        )
    if row.state == s.TO_TAPE:
        return _to_tape(q, row)
    if row.state == s.ON_TAPE:
        said = f"it is proved on tape since {clock.local(row.proved)}" if row.proved else "it is proved on tape"
        return waits(q, "archive", [f"{said}; the zip at the site is still there"], resource=_lease(row))
    if row.state == s.CLEANED:
        return Hindrance("it is proved on tape; the zip at the site is gone: its way is over", "")
    why = f"{row.error_class}: {row.reason}" if row.error_class else row.reason or "no reason was kept"
    first = q.connection.execute(select(F.lfn).where(F.zip_id == row.id).order_by(F.id).limit(1)).scalar()
    what = shlex.quote(names.shown(first)) if first else (row.error_class or "other")
    return Hindrance(why, f"{advice(row.error_class or 'other')}; then: daq-archive --retry {what}", troubles.DAQ_BAD)


def _lease(row: AnyRow) -> str:
    return f"zip/{row.id}"


def _waiting(q: Question, row: AnyRow) -> Hindrance:
    said = ["it waits for a zip job"]
    if row.reason:
        said.append(f"after attempt {row.attempt} failed: {row.error_class}: {row.reason}")
    if row.next_try and row.next_try > q.at:
        said.append(f"next try {clock.local(row.next_try)}")
        return waits(q, "archive", said, "nothing: daq-archive does it again then", resource=_lease(row))
    jobs = len(q.connection.execute(select(Z.id).where(Z.state == s.ZIPPING)).all())
    if jobs >= q.settings.daq.max_jobs:
        said.append(f"for a batch slot: {jobs} of at most {q.settings.daq.max_jobs} jobs are open")
        return waits(q, "archive", said, "nothing: it is submitted in its turn", resource=_lease(row))
    return waits(q, "archive", said, resource=_lease(row))


def _job(q: Question, row: AnyRow) -> Hindrance:
    where = (row.room or q.settings.daq.batch).partition("/")[0]
    if row.submitted is None and row.error_class == s.REFUSED:
        said = [f"its job {row.job_key} is not taken: {row.reason}"]
        return waits(q, "archive", said, CORRECT, resource=_lease(row), see=troubles.DAQ_REFUSED)
    if row.submitted is None:
        said = [f"its job {row.job_key} is written down for {where}, not confirmed: the answer has not come yet"]
        return waits(q, "archive", said, "nothing: the same job is given to it again at the next pass", resource=_lease(row))
    named = f"{row.job} ({row.job_key})" if row.job else str(row.job_key)
    if row.next_try is not None:  # daq-archive waits for a held job until then
        said = [f"its job {named} at {where} is held: {row.reason or 'no reason is given'}"]
        step = f"release it in the batch system; else it is ended after {clock.local(row.next_try)} and done again"
        return waits(q, "archive", said, step, resource=_lease(row), see=troubles.DAQ_JOBS)
    age = clock.age(max(0.0, (q.at - row.submitted).total_seconds()))
    said = [f"its job {named} at {where} was submitted {age} ago"]
    result = q.settings.home / "daq" / "jobs" / str(row.job_key) / "job.result.json"
    if result.exists():
        said.append("it has ended, and its result waits to be booked")
    return waits(q, "archive", said, "nothing: daq-archive asks for it at its next pass", resource=_lease(row))


def _to_tape(q: Question, row: AnyRow) -> Hindrance:
    copy = copy_of(q, row)
    listed = _first_list(q, copy.list_id if copy is not None else row.list_id)
    if copy is not None and copy.state == WORDS.going:
        job = q.connection.execute(select(tables.ftsjob).where(J.id == copy.job_id)).first() if copy.job_id else None
        return traces.going(q, WORDS, job)
    if copy is not None and copy.state == WORDS.done:
        said = [f"its copy is at {copy.destination}, equal to the zip; the tape has not proved that it has it"]
        said += [row.reason] if row.reason else []
        late = (q.at - row.since).total_seconds() > q.settings.daq.archive_timeout
        step = "ask those who run the tape; nothing has failed, daq-archive asks at each pass" if late else ""
        return waits(q, "archive", said, step, resource=_lease(row), see=troubles.DAQ_UNPROVED if late else "")
    if copy is not None and copy.state != WORDS.waiting:
        return waits(q, "archive", [f"its copy is {copy.state}: {copy.reason or 'no reason was kept'}"], resource=_lease(row))
    if listed is not None:
        return traces.waiting(q, WORDS, listed, copy.reason if copy is not None else None)
    return waits(q, "archive", ["it is on its way to tape"], resource=_lease(row))
