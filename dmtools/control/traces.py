"""The life of a file, a list or a job of the transfer engine: from the journal, and why it doesn't move now."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Table, func, or_, select
from sqlalchemy.engine import Row

from dmtools import clock, names
from dmtools.control import hindrances, troubles
from dmtools.control.claims import Claim
from dmtools.control.entry import Entry, Match, Question, Trace
from dmtools.control.hindrances import Hindrance
from dmtools.ledger import pruning, tables

T, F, J = tables.transfer.c, tables.filelist.c, tables.ftsjob.c
OF_PASSES = (troubles.KILLED, troubles.HANGS, troubles.LATE)
FOLDERS = ("TODO", "DOING", "DONE/Okay", "DONE/Bad", "DONE/Missing", "DONE/Dirty")


@dataclass(frozen=True)
class Words:
    """How a pipeline of the engine calls things: its states, its commands, and what helps against an error class."""

    pipeline: str
    waiting: str
    going: str
    done: str
    submitter: str
    poller: str
    requeue: str
    advice: Callable[[str], str]
    cancel: str = ""  # takes a job back; its id follows
    abandon: str = ""  # frees what a dead server holds; its name follows
    no_room: Callable[[Question, Row[Any]], str] = lambda _question, _list: ""  # why a list that is due may not go yet


def exact(q: Question, words: Words, wanted: Iterable[str]) -> Iterator[Trace]:
    """Things with just this name: `wanted` are encoded file names, and the text may be a destination, a list or a job."""
    keys = [names.key(name) for name in {*wanted, *names.spellings(q.text)}]
    places = [names.key(text) for text in names.spellings(q.text)]
    mine, seen = T.pipeline == words.pipeline, set[int]()
    for where in (T.name_key.in_(keys), T.place_key.in_(places)):
        for row in q.connection.execute(select(tables.transfer).where(mine, where).order_by(T.id.desc())):
            if row.id not in seen:
                seen.add(row.id)
                yield of_file(q, words, row)
    last = q.text.rstrip("/").rpartition("/")[2] if q.text.endswith(".txt") else q.text
    listed = select(tables.filelist).where(
        F.pipeline == words.pipeline, F.name_key.in_([names.key(s) for s in names.spellings(last)])
    )
    for row in q.connection.execute(listed.order_by(F.id.desc())):
        yield of_list(q, words, row)
    if q.text.isascii():
        for row in q.connection.execute(select(tables.ftsjob).where(J.pipeline == words.pipeline, J.job == q.text.lower())):
            yield of_job(q, words, row)


def by_source(q: Question, words: Words) -> Iterator[Trace]:
    """The file with this source URL: no index, so it is asked last."""
    where = (T.pipeline == words.pipeline, T.source.in_(names.spellings(q.text)))
    for row in q.connection.execute(select(tables.transfer).where(*where).order_by(T.id.desc()).limit(q.limit)):
        yield of_file(q, words, row)


def search(q: Question, words: Words) -> list[Match]:
    """Files, lists and jobs whose name holds the text, the newest first."""
    most, parts = q.limit, names.spellings(q.text)

    def found(column: Any, pipeline: Any, state: Any, order: Any, kind: str) -> Iterator[Match]:
        holds_it = or_(*(func.instr(column, part) > 0 for part in parts))
        query = select(column, state).where(pipeline == words.pipeline, holds_it).order_by(order.desc()).limit(most)
        return (Match(names.shown(row[0]) if kind != "job" else row[0], kind, row[1]) for row in q.connection.execute(query))

    result = [*found(T.name, T.pipeline, T.state, T.id, "file"), *found(F.name, F.pipeline, F.state, F.id, "list")]
    return [*result, *found(J.job, J.pipeline, J.state, J.id, "job")][:most]


# ---- files ------------------------------------------------------------------------------------------------------------


def of_file(q: Question, words: Words, row: Row[Any]) -> Trace:
    """One file."""
    listed = _first(q, select(tables.filelist).where(F.id == row.list_id))
    job = _first(q, select(tables.ftsjob).where(J.id == row.job_id)) if row.job_id else None
    facts = {
        "source": row.source,
        "destination": row.destination,
        "size": row.size,
        "checksum": row.checksum,
        "since": clock.iso(row.since),
        "list": listed.name if listed else None,
        "server": job.server if job else None,
        "job": job.job if job else None,
        "attempts": row.tries,
        "failures": row.failures,
        "error_class": row.error_class,
        "reason": row.reason,
        "verified_by": row.verified_by,
    }
    if row.state == words.waiting and listed is not None:
        stands = waiting(q, words, listed, row.reason)
    elif row.state == words.going:
        stands = going(q, words, job)
    elif row.state == words.done:
        stands = Hindrance(f"it is at the destination, verified by {row.verified_by or 'size and checksum'}", "")
    else:
        why = f"{row.error_class}: {row.reason}" if row.error_class else row.reason or "no reason was kept"
        missing = " --missing" if row.state == "Missing" else ""
        again = f"{words.requeue} --requeue{missing} {shlex.quote(names.shown(row.name))}"
        page = troubles.MISSING if row.error_class == "missing" else troubles.BAD
        stands = Hindrance(why, f"{words.advice(row.error_class or 'other')}; then: {again}", page)
    subject, history = names.shown(row.name), journal(q, "file", row.id)
    return Trace(subject, words.pipeline, "file", row.state, stands.said, stands.step, facts, history, stands.see)


def journal(q: Question, kind: str, item: int) -> list[Entry]:
    """What the journal says of one item, in order; where its beginning was pruned, that comes first."""
    j = tables.journal.c
    rows = q.connection.execute(select(tables.journal).where(j.kind == kind, j.item == item).order_by(j.at, j.id))
    found = [Entry(row.at, row.from_state, row.to_state, row.by, row.why) for row in rows]
    if not found or found[0].start is not None:
        pruned = pruning.pruned_before(q.connection)
        said = "what the journal said of it before that was pruned; its row and its lists are still there"
        found[:0] = [Entry(pruned, None, None, "dm-db prune", said)] if pruned else []
    return found


def waiting(q: Question, words: Words, listed: Row[Any], reason: str | None = None) -> Hindrance:
    """Why a list waits, and what to do: held, no server, in somebody's hands, backing off, no room, or only its turn."""
    submitter = f"{words.pipeline}-{words.submitter}"
    said = [f"it waits in the list {listed.name}"]
    step = f"nothing: the next pass of {submitter} takes it"
    if listed.waits_for:
        said.append(f"for: {listed.waits_for}")
    elif reason:
        said.append(f"after: {reason}")
    if listed.next_try and listed.next_try > q.at:
        said.append(f"next try {clock.local(listed.next_try)}")
        step = f"nothing: {submitter} tries it again then"
    elif no_room := words.no_room(q, listed):
        said.append(no_room)
        step = f"nothing: {submitter} takes it when there is room"
    wanted = {server.name for server in q.settings.fts.servers if server.weight > 0}
    return kept(q, words, words.submitter, said, step, wanted, listed.id)


def going(q: Question, words: Words, job: Row[Any] | None) -> Hindrance:
    """Where a file under way is, and what it waits for."""
    if job is None:
        return Hindrance("it is booked as under way and no job is booked with it", "dm-check")
    poller = f"{words.pipeline}-{words.poller}"
    see = ""
    if job.state == "intent":
        said = [f"its job for {job.server} is written down, not confirmed: {job.reason or 'the answer has not come yet'}"]
        step = f"nothing: the same job is sent to {job.server} again at the next pass"
    else:
        asked = f"last asked {_ago(q, job.polled)}" if job.polled else "not asked yet"
        said = [f"it is in the job {job.job} at {job.server}: {job.fts_state or 'submitted'}, {asked}"]
        step = f"nothing: {poller} asks {job.server} at its next pass"
        if (hours := (q.at - job.since).total_seconds() / 3600) > q.settings.train_ok.stuck_hours:
            said.insert(0, f"it has not moved for {clock.age(hours * 3600)}")
            step = f"ask the operators of {job.server} about that job"
            step += f"; {words.cancel} {job.job} takes it back" if words.cancel else ""
            see = troubles.STUCK
    found = kept(q, words, words.poller, said, step, {job.server}, job.list_id, see)
    if job.state == "intent" and found.see == see:  # perhaps it was the submitter that could not send it
        found = kept(q, words, words.submitter, said, step, {job.server}, job.list_id, see)
    if found.see == troubles.SERVER_AWAY:
        step = f"bring {job.server} back, or, when it never comes back: {words.abandon} {job.server}"
        found = replace(found, step=step)
    return found


def _ago(q: Question, then: datetime) -> str:
    seconds = (q.at - then).total_seconds()
    return f"{clock.age(seconds)} ago" if seconds >= 0 else "at a time that is still to come"


def kept(
    q: Question,
    words: Words,
    component: str,
    said: list[str],
    step: str,
    wanted: set[str] | None = None,
    list_id: int | None = None,
    see: str = "",
    resource: str = "",
) -> Hindrance:
    """Puts what keeps the component from it before what is said: holds first, then the machine, servers, leases, its passes.

    `resource` is the lease that stands for the thing, where it is not that of the list.
    """
    found = list(hindrances.of_component(q.connection, q.settings, q.at, words.pipeline, component, q.cron_of(component)))
    own = [one for one in found if one.see in OF_PASSES]
    rest = [one for one in found if one.see not in OF_PASSES]
    away = list(hindrances.servers(q.connection, words.pipeline, wanted or set()))
    lease = f"list/{list_id}" if list_id is not None else resource
    claims = [_claimed(q, lease)] if lease else []
    order = [*rest, *away, *(one for one in claims if one is not None), *([] if away else own)]
    if not order:
        return Hindrance("; ".join(said), step, see)
    return Hindrance("; ".join([*(one.said for one in order), *said]), order[0].step, order[0].see)


def _claimed(q: Question, resource: str) -> Hindrance | None:
    """Who holds this lease now, when its holder lives or may live."""
    from dmtools.control import claims

    for claim in claims.all_of(q.connection, q.at):
        if claim.resource == resource and claim.holder in (claims.ALIVE, claims.UNKNOWN):
            return _in_hands(claim, claim.holder == claims.ALIVE)
    return None


def _in_hands(claim: Claim, lives: bool) -> Hindrance:
    if lives:
        return Hindrance(f"{claim.who()} works on it now", "wait: the pass lets it go at its end; dm-leases shows how long")
    end = clock.local(claim.expires)
    said = f"{claim.who()} holds it until {end}; whether that process lives can't be seen from here"
    return Hindrance(said, f"wait until {end}; when {claim.host} is dead: dm-leases --host {claim.host}", troubles.DEAD_HOST)


# ---- lists and jobs ---------------------------------------------------------------------------------------------------


def of_list(q: Question, words: Words, row: Row[Any]) -> Trace:
    """One list, with its attempts as its history."""
    jobs = list(q.connection.execute(select(tables.ftsjob).where(J.list_id == row.id).order_by(J.attempt)))
    states = select(T.state, func.count()).where(T.list_id == row.id).group_by(T.state)
    counted = {row[0]: int(row[1]) for row in q.connection.execute(states)}
    root = q.settings.home / words.pipeline
    facts = {
        "since": clock.iso(row.since),
        "files": row.files,
        "states": counted or {words.waiting: row.files},
        "attempt": row.attempt,
        "server": jobs[-1].server if jobs else None,
        "job": jobs[-1].job if jobs else None,
        "next_try": clock.iso(row.next_try),
        "waits_for": row.waits_for,
        "places": [folder for folder in FOLDERS if (root / folder / row.name).exists()],
    }
    if row.state == "DOING":
        stands = going(q, words, jobs[-1] if jobs else None)
    elif row.state in ("cut", "TODO"):
        stands = waiting(q, words, row)
    else:
        stands = Hindrance(f"{row.files} files: " + ", ".join(f"{n} {state}" for state, n in counted.items()), "")
    history = [e for job in jobs for e in attempts(job)]
    return Trace(row.name, words.pipeline, "list", row.state, stands.said, stands.step, facts, history, stands.see)


def of_job(q: Question, words: Words, row: Row[Any]) -> Trace:
    """One attempt of a list at a server."""
    listed = _first(q, select(tables.filelist).where(F.id == row.list_id))
    facts = {
        "server": row.server,
        "list": listed.name if listed else None,
        "attempt": row.attempt,
        "files": row.files,
        "bytes": row.bytes,
        "submitted": clock.iso(row.submitted),
        "polled": clock.iso(row.polled),
        "closed": clock.iso(row.closed),
        "fts_state": row.fts_state,
    }
    if row.closed is not None:
        stands = Hindrance(f"it ended as {row.fts_state or row.state}{': ' + row.reason if row.reason else ''}", "")
    else:
        stands = going(q, words, row)
    history = list(attempts(row))
    return Trace(row.job, words.pipeline, "job", row.state, stands.said, stands.step, facts, history, stands.see)


def attempts(job: Row[Any]) -> Iterator[Entry]:
    """The times that a job's row keeps."""
    where = f"attempt {job.attempt} at {job.server}, job {job.job}"
    yield Entry(job.since, None, "intent", "", where)
    if job.submitted:
        yield Entry(job.submitted, "intent", "submitted", "", where)
    if job.closed:
        said = f"{where}: {job.fts_state or ''}{': ' + job.reason if job.reason else ''}"
        yield Entry(job.closed, "submitted" if job.submitted else "intent", job.state, job.canceled_by or "", said)


def _first(q: Question, query: Any) -> Row[Any] | None:
    return q.connection.execute(query).first()


def near(q: Question, search: Callable[[Question], Iterable[Match]]) -> list[Match]:
    """Names that look like one that was not found: of the same directory, or with the same last part."""
    from difflib import get_close_matches

    directory, _, last = q.text.rpartition("/")
    parts = [part for part in (f"{directory}/", last) if part != "/"]
    known = {match.subject: match for part in parts for match in search(replace(q, text=part, limit=500))}
    return [known[name] for name in get_close_matches(q.text, known, n=3)]


def holding(q: Question, table: Table, column: Any, kind: str) -> Iterator[Match]:
    """The things of a table whose name holds the text, the newest first."""
    holds_it = or_(*(func.instr(column, part) > 0 for part in names.spellings(q.text)))
    query = select(column, table.c.state).where(holds_it).order_by(table.c.id.desc()).limit(q.limit)
    return (Match(names.shown(row[0]), kind, row[1]) for row in q.connection.execute(query))
