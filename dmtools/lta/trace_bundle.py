"""The life of one bundle: where it is between outbound and the tape, why it waits, what to do."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from dmtools import clock, names
from dmtools.control import traces, troubles
from dmtools.control.entry import Question, Trace
from dmtools.control.hindrances import Hindrance
from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow
from dmtools.lta import standing
from dmtools.lta import states as s
from dmtools.lta.trace_words import WORDS, advice, say, waits

B, T, J, E = tables.lta_bundle.c, tables.transfer.c, tables.ftsjob.c, tables.lta_errand.c
SCANNER, CLIENT = "bundle-scanner", "nersc-client"


def of_bundle(q: Question, row: AnyRow) -> Trace:
    """One bundle, from its row."""
    found = stands(q, row)
    history = traces.journal(q, "lta-bundle", row.id)
    return Trace(names.shown(row.ideal), "lta", "bundle", row.state, found.said, found.step, facts(q, row), history, found.see)


def facts(q: Question, row: AnyRow) -> dict[str, Any]:
    """What is known of it."""
    errands = q.connection.execute(select(E.kind, E.state).where(E.bundle_id == row.id).order_by(E.id))
    directory = q.connection.execute(
        select(tables.lta_directory.c.ideal).where(tables.lta_directory.c.id == row.directory_id)
    ).scalar()
    return {
        "id": row.id,
        "destination": row.destination,
        "since": clock.iso(row.since),
        "zip": row.name,
        "size": row.size,
        "files": row.files,
        "directory": names.shown(directory) if directory else None,
        "sha512": row.sha512,
        "adler32": row.adler32,
        "buffer": row.buffer,
        "tape": row.tape,
        "job": row.job,
        "holder": row.holder if row.holder and row.ready > q.at else None,
        "ready": clock.iso(row.ready) if row.ready > q.at else None,
        "fence": row.fence,
        "reserved": row.reserved or None,
        "failures": row.failures or None,
        "error_class": row.error_class,
        "reason": row.reason,
        "quarantined_in": row.origin,
        "proved": clock.iso(row.proved),
        "audited": clock.iso(row.audited),
        "errands": [f"{one.kind} {one.state}" for one in errands],
    }


def stands(q: Question, row: AnyRow) -> Hindrance:
    """Where it is, why it doesn't move, what to do."""
    if row.state == s.QUARANTINED:
        return _quarantined(row)
    if row.state in (s.ABORT, s.LOCAL_FILES_DELETED):
        given_up = f"a person gave it up: {row.reason or 'no reason was kept'}; its name may come again"
        return Hindrance(
            given_up if row.state == s.ABORT else "it is on tape, and its files are deleted here: its way is over", ""
        )
    if row.state == s.NERSC_CLEAN:
        return _clean(q, row)
    if row.state == s.LOCAL_DELETED:
        gone = f"it is proved on tape{_since(row)}; its zip is deleted here, its source files are not"
        return Hindrance(gone, "lta-manual-files shows what it would delete; --yes deletes", troubles.LTA_WAITS)
    said = [_held(q, row)] if row.holder and row.ready > q.at else []
    if row.failures or row.state in standing.PROBLEMS:
        said.append(f"after attempt {row.failures}: {row.error_class or 'other'}: {row.reason or 'no reason was kept'}")
    if not row.holder and row.ready > q.at:
        said.append(f"next try {clock.local(row.ready)}")
    return _on_its_way(q, row, said)


def _on_its_way(q: Question, row: AnyRow, said: list[str]) -> Hindrance:
    page = troubles.LTA_PROBLEM if row.state in standing.PROBLEMS else ""
    if row.state in (s.UNTOUCHED, s.PUSH_PROBLEM, s.RETRY):
        first = f"it waits to be sent to {row.destination}"
        return waits(q, SCANNER, [first, *said, *_no_room(q, row)], see=page)
    if row.state == s.JSON_MADE:
        return _pushed(q, row, said)
    first = {
        s.PUSH_DONE: "it is proved in the remote buffer, and waits for a tape job",
        s.NERSC_RUNNING: f"a tape job of {row.destination} has it ({row.job or 'not confirmed yet'})",
        s.NERSC_DONE: f"it is proved on tape{_since(row)}; its copy in the remote buffer is still there",
        s.NERSC_PROBLEM: f"{row.destination} failed with it, and tries again by itself",
    }[row.state]
    return waits(q, CLIENT, [first, *said, *_remote(q, row)], see=page or (troubles.LTA_REMOTE if _remote(q, row) else ""))


def _since(row: AnyRow) -> str:
    return f" since {clock.local(row.proved)}" if row.proved else ""


def _held(q: Question, row: AnyRow) -> str:
    left = clock.age((row.ready - q.at).total_seconds())
    return f"{row.holder} holds it for {left} more, unless it says otherwise (dm-leases)"


def _quarantined(row: AnyRow) -> Hindrance:
    reason = row.reason or "no reason was kept"
    said = f"quarantined in {row.origin or 'an unknown state'}: {row.error_class + ': ' if row.error_class else ''}{reason}"
    step = f"{advice(row.error_class or 'other')}; then: {say('reset', row.ideal)}; or give it up: {say('abort', row.ideal)}"
    return Hindrance(said, step, troubles.LTA_QUARANTINED)


def _clean(q: Question, row: AnyRow) -> Hindrance:
    """How many copies are proved, of those that a deletion here needs."""
    copies = select(func.count(B.destination.distinct())).where(
        B.ideal_key == row.ideal_key, B.sha512 == row.sha512, B.state.in_(s.PROVED)
    )
    n, wanted = int(q.connection.execute(copies).scalar_one()), q.settings.lta.copies
    said = f"it is proved on tape{_since(row)}; its zip is still here"
    if n < wanted:
        return Hindrance(
            f"{said}; {n} of {wanted} copies are proved ([lta] copies)", "nothing: it stays until the others are proved"
        )
    if q.settings.lta.free_local == "verified":
        return waits(q, SCANNER, [said])
    return Hindrance(said, "lta-manual-bundle shows what it would delete; --yes deletes", troubles.LTA_WAITS)


def _no_room(q: Question, row: AnyRow) -> list[str]:
    """Why the remote site can't take it now."""
    found = []
    for site in standing.sites(q.connection, q.settings):
        if site.name != row.destination:
            continue
        if site.quota is None:
            found.append(f"{site.name} has not posted its quota, and nothing is sent without")
        elif site.quota - site.reserved < row.size:
            found.append(f"{site.name} has no room for it: {site.quota - site.reserved} of {site.quota} bytes are not reserved")
    moving = q.connection.execute(select(func.count()).where(B.state == s.JSON_MADE, B.home == row.home)).scalar_one()
    if moving >= q.settings.lta.max_pushes:
        found.append(f"{moving} of at most {q.settings.lta.max_pushes} bundles are on their way")
    return found


def _remote(q: Question, row: AnyRow) -> list[str]:
    """What is wrong with the site that has it."""
    for site in standing.sites(q.connection, q.settings):
        if site.name == row.destination:
            age = site.age(q.at)
            if age is None:
                return [f"{site.name} never posted anything"]
            if age > q.settings.lta.silent_minutes * 60:
                return [f"{site.name} has been silent for {clock.age(age)}"]
            return [f"{site.name} is {site.state}: {site.error}"] if site.state != "Run" else []
    return []


def _pushed(q: Question, row: AnyRow, said: list[str]) -> Hindrance:
    """Its copy, as the transfer engine has it."""
    where = (T.pipeline == "lta", T.name_key == names.key(row.ideal))
    copy = q.connection.execute(select(tables.transfer).where(*where).order_by(T.id.desc())).first()
    if copy is None:
        return waits(q, SCANNER, ["it is about to be put on its way to the remote buffer", *said])
    if copy.state == WORDS.going:
        job = q.connection.execute(select(tables.ftsjob).where(J.id == copy.job_id)).first() if copy.job_id else None
        return traces.going(q, WORDS, job)
    if copy.state == WORDS.done:
        return waits(q, SCANNER, [f"its copy is at {copy.destination}, proved by FTS; that is not booked yet", *said])
    listed = q.connection.execute(select(tables.filelist).where(tables.filelist.c.id == copy.list_id)).first()
    if copy.state == WORDS.waiting and listed is not None:
        return traces.waiting(q, WORDS, listed, copy.reason)
    return waits(q, SCANNER, [f"its copy is {copy.state}: {copy.reason or 'no reason was kept'}", *said])
