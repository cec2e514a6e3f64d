"""Polling: open jobs only, at most 100 ids a request, oldest poll first; ended ones are judged, booked and concluded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select, update

from dmtools import clock
from dmtools.control import sightings
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.ledger.types import AnyRow
from dmtools.transfers import lists, settle, verdict
from dmtools.transfers.conclude import finish
from dmtools.transfers.errors import CLASSES
from dmtools.transfers.fts import Away, CredentialsRefused, FtsServer
from dmtools.transfers.road import Road
from dmtools.transfers.servers import Servers
from dmtools.transfers.settle import Ended
from dmtools.transfers.status import BULK, TERMINAL, UNDER_WAY, JobStatus
from dmtools.transfers.submit import SUBMITTED, Intent
from dmtools.transfers.verdict import Verdict

J, T = tables.ftsjob.c, tables.transfer.c
_JOB = (J.id, J.list_id, J.attempt, J.server, J.sid, J.job, J.vo, J.rule, J.fts_state, J.since)


def poll(this: Pass, road: Road, servers: Servers) -> None:
    """Asks each server that is there for the jobs (of this HOME's lists) that are open at it, once."""
    began = clock.now()
    for server in servers.up.values():
        while this.goes(new=False):
            jobs = this.ledger.transact(lambda c, s=server.name: _next(c, road.pipeline, s, began, road.home))  # type: ignore[misc]
            if not jobs:
                break
            try:
                found = server.statuses([job.job for job in jobs])
            except (Away, CredentialsRefused) as problem:
                _tell_silent(this, server, str(problem))
                sightings.servers(this.ledger, road.pipeline, (), {server.name: str(problem)})
                break
            _take(this, road, server, jobs, found)


def open_servers(connection: Connection, pipeline: str, home: str | None = None) -> set[str]:
    """The servers that hold open jobs of ours (of this HOME's lists)."""
    where = (J.pipeline == pipeline, J.state.in_((SUBMITTED, "intent")), lists.belongs(J.list_id, home))
    query = select(J.server).where(*where).distinct()
    return set(connection.execute(query).scalars())


def _next(connection: Connection, pipeline: str, server: str, began: datetime, home: str | None) -> list[AnyRow]:
    """The next jobs to ask for; marking them as polled keeps other monitors off them in this round.

    Polled in the future: the clock was set back since.
    """
    due = or_(J.polled.is_(None), J.polled < began, J.polled > clock.now() + timedelta(minutes=1))
    query = select(*_JOB).where(
        J.pipeline == pipeline, J.state == SUBMITTED, J.server == server, due, lists.belongs(J.list_id, home)
    )
    jobs = list(connection.execute(query.order_by(J.polled, J.id).limit(BULK)))
    if jobs:
        mark = update(tables.ftsjob).where(J.id == bindparam("_id")).values(polled=clock.now())
        connection.execute(mark, [{"_id": job.id} for job in jobs])
    return jobs


def _take(this: Pass, road: Road, server: FtsServer, jobs: list[AnyRow], found: list[JobStatus]) -> None:
    by_job = {status.job: status for status in found}
    changed, ended = [], []
    for job in jobs:
        status = by_job.get(job.job)
        if status is None:
            continue  # it said nothing of this job: nothing is known
        if not status.state:
            _tell_unknown(this, road, server, job)
            continue
        if status.state != job.fts_state:
            changed.append({"_id": job.id, "fts_state": status.state, "reason": status.reason[:500] or None})
        if verdict.is_over(status):
            ended.append((job, status))
        elif status.state not in TERMINAL | UNDER_WAY:
            _tell_state(this, server, job, status.state)
    if changed:
        mark = update(tables.ftsjob).where(J.id == bindparam("_id"))
        values: dict[str, Any] = {"fts_state": bindparam("fts_state"), "reason": bindparam("reason")}
        this.ledger.transact(lambda c: c.execute(mark.values(values), changed))
    if ended:
        _settle(this, road, ended)


def _settle(this: Pass, road: Road, ended: Sequence[tuple[AnyRow, JobStatus]]) -> None:
    granted = this.leases.claim([f"list/{job.list_id}" for job, _ in ended])
    try:
        mine = [(job, status) for job, status in ended if f"list/{job.list_id}" in granted]
        files: dict[int, list[AnyRow]] = {job.id: [] for job, _ in mine}
        with this.ledger.read() as connection:
            query = verdict.files_query()
            for part in chunks(list(files)):
                for row in connection.execute(query.where(T.job_id.in_(part), T.state == "DOING").order_by(T.id)):
                    files[row.job_id].append(row)
            rows = lists.by_ids(connection, [job.list_id for job, _ in mine])
        mine = [(job, status) for job, status in mine if job.list_id in rows]  # dm-check tells of a list whose row is lost
        cases = [(status, files[job.id]) for job, status in mine]
        verdicts = verdict.judge_jobs(cases, this.settings, road.patience)
        found = []
        for (job, status), outcome in zip(mine, verdicts, strict=True):
            intent = Intent(job.id, job.list_id, job.attempt, job.server, job.sid, job.job, job.vo, job.rule)
            found.append(Ended(rows[job.list_id], intent, status.state, status.reason, outcome))
        _book(this, road, found)
    finally:
        this.leases.release(list(granted))


def _book(this: Pass, road: Road, found: Sequence[Ended]) -> None:
    ready = [e for e in found if e.known and e.row.state == lists.DOING]
    for e in found:
        if not e.known:
            _tell_open(this, e)

    if not ready:
        return
    try:
        this.ledger.transact(lambda c: settle.book(c, ready, road.states, by=this.by, at=clock.now()))
    except Stale as problem:
        this.log(f"{problem}; left to it")
        return
    finish(this, road.folders, [e.row.id for e in ready])
    for e in ready:
        _tell(this, road, e)


def _tell(this: Pass, road: Road, ended: Ended) -> None:
    for v in ended.verdicts:
        this.moved("DOING", v.outcome)
        if v.outcome == verdict.BAD and road.retry:
            this.problem(
                "file is Bad",
                _name(v),
                why=f"{v.error_class}: {v.why}",
                left=f"in DONE/Bad/{ended.row.name}, with the reason",
                next=f"see {road.retry} {v.error_class}",
            )
    _tell_waiting(this, ended)
    this.log(f"{ended.row.name}: job {ended.intent.job} ended {ended.fts_state}")


def _tell_waiting(this: Pass, ended: Ended) -> None:
    """What no file can help (a full destination, credentials): its files wait uncounted, so somebody must hear of it."""
    waiting = [v for v in ended.verdicts if v.outcome == verdict.RETRY and v.error_class]
    for kind in sorted({v.error_class for v in waiting if v.error_class and not CLASSES[v.error_class].attempt}):
        mine = [v for v in waiting if v.error_class == kind]
        this.problem(
            CLASSES[kind].meaning,
            f"{len(mine)} files of the list {ended.row.name}, like {_name(mine[0])}",
            why=mine[0].why,
            left="they wait in TODO and are tried again; no attempt is counted",
            next=CLASSES[kind].advice,
            failed=False,
        )


def _name(v: Verdict) -> str:
    from dmtools import names

    return names.shown(v.file.name)


def _tell_open(this: Pass, ended: Ended) -> None:
    first = next(v for v in ended.verdicts if v.outcome == verdict.OPEN)
    this.problem(
        "copy not proved yet",
        f"{_name(first)} (list {ended.row.name})",
        why=first.why,
        left="the list stays in DOING as it is: not known is neither done nor failed",
        next="the next pass asks the destination again",
        failed=False,
    )


def _tell_silent(this: Pass, server: FtsServer, why: str) -> None:
    this.problem(
        "FTS server away",
        server.name,
        why=why,
        left="its jobs stay as they are",
        next="it is asked again at the next pass",
        failed=False,
    )


def _tell_state(this: Pass, server: FtsServer, job: AnyRow, state: str) -> None:
    """The seed's rule 7."""
    this.problem(
        "job in a state that nobody here knows",
        f"{job.job} at {server.name}",
        why=f"its state is {state}",
        left="its list stays in DOING as it is",
        next="it is asked for again at the next pass; ask the server's operators what the state means",
        failed=False,
    )


def _tell_unknown(this: Pass, road: Road, server: FtsServer, job: AnyRow) -> None:
    this.problem(
        "job unknown at its server",
        f"{job.job} at {server.name}",
        why="the server answers that it has no such job (cleaned up after 7 days, or it was installed anew)",
        left="its list stays in DOING: nothing is sent again by itself",
        next=f"if the server lost it for good: {road.abandon} {server.name} (it checks each destination first)",
        failed=False,
    )
