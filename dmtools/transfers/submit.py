"""Submitting: the intent is written first, the job id is known before the POST, a lost answer is asked for again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, insert, select, update

from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.journal import Move, States, add_tally, advance, count_moves, record
from dmtools.ledger.types import AnyRow
from dmtools.settings import Rule, Settings
from dmtools.transfers import lists
from dmtools.transfers.lists import ListRow
from dmtools.transfers.plan import BAD, FOREIGN, GO, MISSING, ListPlan, Planned
from dmtools.transfers.status import job_id

if TYPE_CHECKING:
    from dmtools.transfers.fts import FtsServer

INTENT, SUBMITTED, CLOSED, ABANDONED = "intent", "submitted", "closed", "abandoned"
ACCEPTED, REFUSED, LATER = "accepted", "refused", "later"
J, T = tables.ftsjob.c, tables.transfer.c


@dataclass(frozen=True)
class Intent:
    """One attempt of one list: a row of `ftsjob` that says to which server it goes and which id it will have there."""

    id: int
    list_id: int
    attempt: int
    server: str
    sid: str
    job: str
    vo: str
    rule: str | None
    files: tuple[AnyRow, ...] = ()


@dataclass(frozen=True)
class Sent:
    """How a submission ended: accepted, refused (no job was made), or later (not known; the same again)."""

    intent: Intent
    how: str
    why: str = ""


def make_sid(installation: str, list_id: int, attempt: int, files: Iterable[tuple[str, str, str]]) -> str:
    """The key of one attempt: the same for each repeat of it, another one for each new attempt."""
    words = [installation, str(list_id), str(attempt)]
    words += ["\t".join(file) for file in sorted(files)]
    return hashlib.sha256("\n".join(words).encode("ascii")).hexdigest()


@dataclass(frozen=True)
class Order:
    """A planned list, the server that gets it (None: nothing of it is sent), and the rule that its files follow."""

    plan: ListPlan
    server: FtsServer | None
    rule: str | None = None


def book(
    connection: Connection, orders: Sequence[Order], states: States, *, installation: str, by: str, at: datetime
) -> list[Intent]:
    """In one transaction, for several lists: the files' rows, their states, the intents. Raises Stale when a list changed."""
    jobs: dict[int, int | None] = {o.plan.row.id: None for o in orders}
    rows = [_job_row(o, installation, at) for o in orders if o.plan.of(GO)]
    if rows:
        ids = connection.execute(insert(tables.ftsjob).returning(J.id, sort_by_parameter_order=True), rows).scalars().all()
        jobs |= {row["list_id"]: i for row, i in zip(rows, ids, strict=True)}
    uncounted = 0
    changes: list[tuple[ListRow, str, dict[str, Any]]] = []
    for order in orders:
        row, going = order.plan.row, jobs[order.plan.row.id] is not None
        state, attempt = (lists.DOING, row.attempt + 1) if going else (lists.SETTLING, row.attempt)
        changes.append((row, state, {"attempt": attempt, "planned": 1, "next_try": None, "waits_for": None}))
        uncounted += 0 if row.planned else row.files
    lists.change_many(connection, changes, at)
    if uncounted:  # cut lists are counted by their lines; from now on their files count for themselves
        add_tally(connection, orders[0].plan.row.pipeline, {"TODO": (-uncounted, 0)})
    _place(connection, orders, jobs, states, by, at)
    made = [i for i in jobs.values() if i is not None]
    return [intent for part in chunks(made) for intent in load_intents(connection, J.id.in_(part))]


def _job_row(order: Order, installation: str, at: datetime) -> dict[str, Any]:
    assert order.server is not None
    row, going, attempt = order.plan.row, order.plan.of(GO), order.plan.row.attempt + 1
    sid = make_sid(installation, row.id, attempt, [(p.pair.source, p.pair.destination, p.checksum or "") for p in going])
    found = {"pipeline": row.pipeline, "list_id": row.id, "attempt": attempt, "server": order.server.name, "sid": sid}
    found |= {"job": job_id(order.server.vo, sid), "vo": order.server.vo, "state": INTENT, "since": at, "rule": order.rule}
    return found | {"files": len(going), "bytes": sum(p.size or 0 for p in going)}


def _place(
    connection: Connection, orders: Sequence[Order], jobs: dict[int, int | None], states: States, by: str, at: datetime
) -> None:
    """New rows go straight to their state; known ones by way of TODO."""
    after = {GO: "DOING", MISSING: "Missing", BAD: "Bad"}
    new = [(o, p) for o in orders for p in o.plan.files if p.known is None]
    if new:
        rows = [_new_row(o.plan, p, after[p.act], jobs[o.plan.row.id], at) for o, p in new]
        connection.execute(insert(tables.transfer), rows)
        ids = _ids(connection, states.pipeline, [p.place_key for _, p in new])
        moves = [Move(ids[p.place_key], "", after[p.act], p.reason or _why(o), p.size or 0) for o, p in new]
        record(connection, states, moves, by=by, at=at, table=tables.transfer)
        if states.counted:
            count_moves(connection, states.pipeline, moves, at)
    known = [(o, p) for o in orders for p in o.plan.files if p.known is not None]
    _requeue(connection, [p for _, p in known if p.known is not None and p.known.state != "TODO"], states, by, at)
    moves = [_move(o.plan, p, after[p.act], jobs[o.plan.row.id], _why(o)) for o, p in known]
    if moves:
        advance(connection, tables.transfer, states, moves, by=by, at=at)


def _ids(connection: Connection, pipeline: str, keys: Sequence[bytes]) -> dict[bytes, int]:
    """Asked for afterwards: RETURNING would take the rows one by one."""
    query = select(T.place_key, T.id).where(T.pipeline == pipeline)
    return {row[0]: row[1] for part in chunks(keys) for row in connection.execute(query.where(T.place_key.in_(part)))}


def _why(order: Order) -> str:
    row = order.plan.row
    return f"list {row.name}, attempt {row.attempt + 1} at {order.server.name if order.server else 'no server'}"


def _requeue(connection: Connection, files: list[Planned], states: States, by: str, at: datetime) -> None:
    moves = [
        Move(p.known.id, p.known.state, "TODO", "put into TODO again by hand", p.known.size or 0, values=(("failures", 0),))
        for p in files
        if p.known is not None
    ]
    if moves:
        advance(connection, tables.transfer, states, moves, by=by, at=at)


def _new_row(plan: ListPlan, p: Planned, state: str, intent_id: int | None, at: datetime) -> dict[str, Any]:
    from dmtools import names

    return {
        "pipeline": plan.row.pipeline,
        "name": p.name,
        "name_key": names.key(p.name),
        "source": p.pair.source,
        "destination": p.pair.destination,
        "place_key": p.place_key,
        "size": p.size,
        "checksum": p.checksum,
        "state": state,
        "since": at,
        "list_id": plan.row.id,
        "job_id": intent_id if p.act == GO else None,
        "failures": 0,
        "tries": 1 if p.act == GO else 0,
        "overwrite": FOREIGN if p.foreign else 0,
        "error_class": p.error_class,
        "reason": p.reason,
    }


def _move(plan: ListPlan, p: Planned, after: str, intent_id: int | None, why: str) -> Move:
    assert p.known is not None
    values: list[tuple[str, Any]] = [
        ("source", p.pair.source),
        ("name", p.name),
        ("list_id", plan.row.id),
        ("size", p.size),
        ("checksum", p.checksum),
        ("error_class", p.error_class),
        ("reason", p.reason),
    ]
    if p.act == GO:
        values += [("job_id", intent_id), ("tries", p.known.tries + 1)]
        if p.asks_who_is_there:
            values.append(("overwrite", FOREIGN if p.foreign else 0))
    size_before = p.known.size or 0
    return Move(p.known.id, "TODO", after, p.reason or why, p.size or 0, size_before=size_before, values=tuple(values))


def load_intents(connection: Connection, *where: Any, with_files: bool = True) -> list[Intent]:
    """Attempts with the files that belong to them."""
    columns = (J.id, J.list_id, J.attempt, J.server, J.sid, J.job, J.vo, J.rule)
    found = [Intent(*row) for row in connection.execute(select(*columns).where(*where).order_by(J.id))]
    if not with_files:
        return found
    files: dict[int, list[AnyRow]] = {intent.id: [] for intent in found}
    wanted = (T.id, T.source, T.destination, T.size, T.checksum, T.overwrite, T.job_id)
    for part in chunks(list(files)):
        for row in connection.execute(select(*wanted).where(T.job_id.in_(part)).order_by(T.id)):
            files[row.job_id].append(row)
    return [Intent(i.id, i.list_id, i.attempt, i.server, i.sid, i.job, i.vo, i.rule, tuple(files[i.id])) for i in found]


def send(server: FtsServer, intent: Intent, settings: Settings, rule: Rule | None) -> Sent:
    """POSTs the attempt's job, always with the same sid to the same server, and reads what came of it."""
    from dmtools.transfers.fts import Away, CredentialsRefused, SubmitRefused, Unknowable
    from dmtools.transfers.transport import Duplicate

    try:
        if server.vo != intent.vo:
            why = f"{server.name} knows us under the VO {server.vo} now, and the job was booked under {intent.vo}"
            return Sent(intent, LATER, f"{why}: under another VO it would be another job; use those credentials again")
        job = server.submit([_file(row) for row in intent.files], _params(intent, settings, rule))
    except Duplicate as problem:
        return _adopt(server, intent, str(problem))
    except SubmitRefused as problem:
        return Sent(intent, REFUSED, str(problem))
    except CredentialsRefused as problem:
        return Sent(intent, LATER, f"{server.name} does not accept our credentials: {problem}; renew the proxy or token")
    except (Unknowable, Away) as problem:
        return Sent(intent, LATER, f"the answer of {server.name} was lost ({problem}); the same job is sent there again")
    return Sent(intent, ACCEPTED) if job == intent.job else _refuse_id(server, intent, job)


def _refuse_id(server: FtsServer, intent: Intent, job: str) -> Sent:
    """The server made a job under an id of its own: it is canceled, for sent again it would be another one each time."""
    from dmtools.transfers.fts import Away, CredentialsRefused

    try:
        done = f"that job was canceled ({server.cancel(job) or 'it is gone'})"
    except (Away, CredentialsRefused) as problem:
        done = f"that job could not be canceled ({problem}): cancel it by hand"
    why = f"{server.name} gave the id {job}, not {intent.job}: it makes no deterministic ids"
    return Sent(intent, LATER, f"{why}; {done}; take the server out of [fts] servers, or ask its operators")


def _adopt(server: FtsServer, intent: Intent, text: str) -> Sent:
    """A 409: our own earlier submission if, and only if, that job's files are the intent's."""
    from dmtools.transfers.fts import Away, CredentialsRefused

    try:
        found = server.statuses([intent.job])
    except (Away, CredentialsRefused) as problem:
        return Sent(intent, LATER, f"{server.name} said 409 and then nothing: {problem}")
    if not found or not found[0].state:
        return Sent(intent, LATER, f"another job at {server.name} writes one of these destinations ({text}); tried again later")
    theirs = {(f.source, f.destination) for f in found[0].files}
    if theirs != {(row.source, row.destination) for row in intent.files}:
        return Sent(
            intent, LATER, f"the job {intent.job} at {server.name} has other files than ours; ask its operators whose it is"
        )
    return Sent(intent, ACCEPTED, "was there already: adopted")


def _file(row: AnyRow) -> dict[str, Any]:
    found: dict[str, Any] = {"sources": [row.source], "destinations": [row.destination], "metadata": {"dm": row.id}}
    if row.checksum:
        found["checksum"] = row.checksum
    if row.size is not None:
        found["filesize"] = row.size
    return found


def _params(intent: Intent, settings: Settings, rule: Rule | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "verify_checksum": "both",
        "overwrite": bool(intent.files) and all(row.overwrite > 0 for row in intent.files),
        "retry": settings.fts.retry or -1,  # 0 would be the server's own default
        "priority": settings.fts.priority,
        "id_generator": "deterministic",
        "sid": intent.sid,
        "job_metadata": {"dmtools": intent.sid[:16]},
    }
    if rule is not None:
        found["priority"] = rule.priority or settings.fts.priority
        found |= {
            "bring_online": rule.bring_online,
            "copy_pin_lifetime": rule.pin_lifetime,
            "archive_timeout": rule.archive_timeout,
        }
        found |= {"source_spacetoken": rule.source_spacetoken, "destination_spacetoken": rule.destination_spacetoken}
    return found


def book_sent(connection: Connection, sent: Sequence[Sent], at: datetime) -> None:
    """The accepted ones are submitted; the others stay intents, with the reason and the next try on their list."""
    accepted = [{"_id": s.intent.id} for s in sent if s.how == ACCEPTED]
    if accepted:
        where = (J.id == bindparam("_id"), J.state == INTENT)
        connection.execute(update(tables.ftsjob).where(*where).values(state=SUBMITTED, submitted=at, reason=None), accepted)
    for s in sent:
        if s.how == LATER:
            connection.execute(update(tables.ftsjob).where(J.id == s.intent.id, J.state == INTENT).values(reason=s.why[:500]))
