"""Taking back: the rows say first who cancels what and why, then the servers are told; the monitor settles what they say.

A kill in between, or a server that is away, leaves the mark: the next pass tells the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, select, update

from dmtools import clock
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.journal import note
from dmtools.ledger.types import AnyRow
from dmtools.transfers.servers import Servers
from dmtools.transfers.submit import ABANDONED, CLOSED, INTENT, SUBMITTED
from dmtools.transfers.verdict import FILE_TERMINAL, WITHDRAWN

if TYPE_CHECKING:
    from dmtools.transfers.fts import FtsServer

J, T = tables.ftsjob.c, tables.transfer.c
_JOB = (J.id, J.list_id, J.server, J.job, J.state)


@dataclass(frozen=True)
class Told:
    """What a server said when it was told to cancel: the state of the job or file then, "" for a job it doesn't know."""

    job: AnyRow
    said: str = ""
    failed: str = ""


def mark(connection: Connection, pipeline: str, wanted: Mapping[int, Sequence[int] | None], *, by: str, why: str) -> int:
    """The intent, for open attempts: which files of which (None: all). Gives how many files were marked."""
    at, marked = clock.now(), 0
    said = f"canceled by {by}" + (f": {why}" if why else "")
    for job_id, files in wanted.items():
        row = connection.execute(select(J.list_id, J.job, J.server).where(J.id == job_id)).one()
        mine = (J.id == job_id, J.state.in_((INTENT, SUBMITTED)))
        if connection.execute(update(tables.ftsjob).where(*mine).values(canceled_by=by)).rowcount != 1:
            continue  # it was settled meanwhile
        chosen = [T.job_id == job_id, T.state == "DOING"] + ([T.id.in_(files)] if files is not None else [])
        change = update(tables.transfer).where(*chosen).values(error_class=WITHDRAWN, reason=said[:500])
        n = connection.execute(change).rowcount
        marked += n
        text = f"cancel {n} files of job {row.job} at {row.server}" + (f": {why}" if why else "")
        note(connection, pipeline, "list", row.list_id, by=by, at=at, why=text)
    return marked


def carry_out(this: Pass, servers: Servers, pipeline: str, jobs: Sequence[int] | None = None) -> list[Told]:
    """Tells the servers that are there what is marked (of these attempts, or all); without `jobs` also what was given up."""
    with this.ledger.read() as connection:
        query = select(*_JOB).where(J.pipeline == pipeline, J.server.in_(list(servers.up)))
        if jobs is None:
            found = list(connection.execute(query.where(J.state == SUBMITTED, J.canceled_by.is_not(None))))
            found += connection.execute(query.where(J.state == ABANDONED))
        else:
            chosen = [J.state.in_((INTENT, SUBMITTED)), J.canceled_by.is_not(None)]
            found = [r for part in chunks(jobs) for r in connection.execute(query.where(*chosen, J.id.in_(part)))]
    told = [_tell(this, servers.up[job.server], job) for job in found]
    over = [{"_id": t.job.id} for t in told if t.job.state == ABANDONED and not t.failed]
    if over:
        closed = update(tables.ftsjob).where(J.id == bindparam("_id"), J.state == ABANDONED).values(state=CLOSED)
        this.ledger.transact(lambda c: c.execute(closed, over))
    return told


def _tell(this: Pass, server: FtsServer, job: AnyRow) -> Told:
    from dmtools.transfers.fts import Away, CredentialsRefused

    try:
        numbers = [] if job.state == ABANDONED else _numbers(this, server, job)
        if numbers is None:
            return Told(job, "over")
        said = server.cancel(job.job, numbers)
    except (Away, CredentialsRefused) as problem:
        return Told(job, failed=str(problem))
    this.log(f"told {server.name} to cancel {f'{len(numbers)} files of ' if numbers else ''}{job.job}: {said or 'unknown there'}")
    return Told(job, said)


def _numbers(this: Pass, server: FtsServer, job: AnyRow) -> list[int] | None:
    """The server's numbers of the marked files; empty: the whole job; None: none of them is under way any more."""
    with this.ledger.read() as connection:
        rows = list(connection.execute(select(T.destination, T.error_class).where(T.job_id == job.id, T.state == "DOING")))
    marked = {row.destination for row in rows if row.error_class == WITHDRAWN}
    if len(marked) == len(rows):
        return []
    known = server.numbers(job.job)
    return [number for place, (state, number) in known.items() if place in marked and state not in FILE_TERMINAL] or None


def open_jobs(connection: Connection, pipeline: str, home: str, server: str | None = None) -> list[AnyRow]:
    """The open attempts of this HOME's lists (at one server)."""
    table = tables.filelist
    columns = (*_JOB, J.attempt, J.sid, J.vo, J.rule, J.files, J.canceled_by, J.since, table.c.name)
    query = select(*columns).join(table, table.c.id == J.list_id).where(J.pipeline == pipeline, table.c.home == home)
    query = query.where(J.state.in_((INTENT, SUBMITTED)))
    return list(connection.execute((query.where(J.server == server) if server else query).order_by(J.id)))
