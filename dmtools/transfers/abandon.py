"""A dead server: what it held is freed, after a look at each destination. A copy may still run there: nothing goes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.ledger.journal import States, note
from dmtools.ledger.types import AnyRow
from dmtools.spool.folders import Folders
from dmtools.storage import Absent, Look, Present, client_reason
from dmtools.transfers import lists, settle, verdict
from dmtools.transfers.conclude import finish
from dmtools.transfers.settle import Ended
from dmtools.transfers.submit import ABANDONED, INTENT, SUBMITTED, Intent
from dmtools.transfers.verdict import BAD, OKAY, OPEN, RETRY, WITHDRAWN, Verdict

J, T = tables.ftsjob.c, tables.transfer.c
BATCH = 20
WAIT_SECONDS = 120  # the copy may be running still, and the server may come back


@dataclass(frozen=True)
class Given:
    """A person's word: who gives the server up and why; `blind`: also where no destination can be looked at."""

    by: str
    why: str
    blind: bool = False


def abandon(this: Pass, folders: Folders, jobs: Sequence[AnyRow], states: States, given: Given) -> int:
    """Frees the files of these attempts. Gives how many attempts were closed."""
    done = 0
    for start in range(0, len(jobs), BATCH):
        part = jobs[start : start + BATCH]
        granted = this.leases.claim([f"list/{job.list_id}" for job in part])
        try:
            for job in part:
                if f"list/{job.list_id}" not in granted:
                    _tell_busy(this, job)
            done += _abandon(this, folders, [j for j in part if f"list/{j.list_id}" in granted], states, given)
        finally:
            this.leases.release(list(granted))
    return done


def judge(this: Pass, jobs: Sequence[AnyRow], given: Given) -> list[Ended]:
    """What becomes of each file of these attempts, by what is at its destination."""
    with this.ledger.read() as connection:
        fresh = [j for j in jobs if _still_open(connection, j)]
        rows = lists.by_ids(connection, [job.list_id for job in fresh])
        files: dict[int, list[AnyRow]] = {job.id: [] for job in fresh}
        for part in chunks(list(files)):
            query = verdict.files_query().where(T.job_id.in_(part), T.state == "DOING")
            for row in connection.execute(query.order_by(T.id)):
                files[row.job_id].append(row)
    looks = verdict.look_at_destinations([f for some in files.values() for f in some], this.settings, 900)
    found = []
    for job in fresh:
        if job.list_id in rows and rows[job.list_id].state == lists.DOING:
            intent = Intent(job.id, job.list_id, job.attempt, job.server, job.sid, job.job, job.vo, job.rule)
            outcome = [_verdict(this, file, looks.get(file.id), job, given) for file in files[job.id]]
            found.append(Ended(rows[job.list_id], intent, "ABANDONED", f"given up by {given.by}: {given.why}", outcome))
    return found


def _still_open(connection: Connection, job: AnyRow) -> bool:
    where = (J.id == job.id, J.state.in_((INTENT, SUBMITTED)))
    return connection.execute(select(J.id).where(*where)).first() is not None


def _verdict(this: Pass, file: AnyRow, look: Look | None, job: AnyRow, given: Given) -> Verdict:
    said = f"the server {job.server} was given up"
    if isinstance(look, Present) and file.checksum is not None and verdict.is_equal(file, look):
        return Verdict(file, OKAY, f"{said}; {file.checksum} proved at the destination", verified_by="storage")
    if look is None and not given.blind:
        return Verdict(file, OPEN, f"{client_reason(file.destination, this.settings)}; --force sends it again all the same")
    if look is not None and not isinstance(look, (Present, Absent)):
        return Verdict(file, OPEN, f"the destination can't be asked now: {look.reason}")
    if file.error_class == WITHDRAWN:
        return Verdict(file, BAD, f"{file.reason}; {said}", WITHDRAWN, file.failures, file.overwrite > 0)
    if isinstance(look, Absent):
        why = f"{said}; nothing was at the destination"
        return Verdict(file, RETRY, why, "server", file.failures, file.overwrite > 0, WAIT_SECONDS)
    if file.overwrite < 0:
        why = f"{said}; what is at the destination was there before our first attempt: left as it is"
        return Verdict(file, BAD, why, "occupied", file.failures + 1)
    why = f"{said}; what its attempt {job.attempt} left at the destination is not the whole file: it may be replaced"
    return Verdict(file, RETRY, why, "server", file.failures, True, WAIT_SECONDS)


def _abandon(this: Pass, folders: Folders, jobs: Sequence[AnyRow], states: States, given: Given) -> int:
    found = judge(this, jobs, given)
    for ended in found:
        if not ended.known:
            _tell_open(this, ended)
    ready = [ended for ended in found if ended.known]
    if not ready:
        return 0
    try:
        this.ledger.transact(lambda c: _book(c, ready, states, given))
    except Stale as problem:
        this.log(f"{problem}; left to it")
        return 0
    finish(this, folders, [ended.row.id for ended in ready])
    for ended in ready:
        for v in ended.verdicts:
            this.moved("DOING", v.outcome)
    return len(ready)


def _book(connection: Connection, ready: Sequence[Ended], states: States, given: Given) -> None:
    at = clock.now()
    settle.book(connection, ready, states, by=given.by, at=at)
    for ended in ready:
        closed = update(tables.ftsjob).where(J.id == ended.intent.id)
        connection.execute(closed.values(state=ABANDONED, canceled_by=given.by))
        why = f"the job {ended.intent.job} at {ended.intent.server} was given up: {given.why}"
        note(connection, states.pipeline, "list", ended.row.id, by=given.by, at=at, why=why)


def plan(this: Pass, ended: Ended) -> None:
    """What would become of one attempt."""
    counts = {outcome: sum(v.outcome == outcome for v in ended.verdicts) for outcome in (OKAY, RETRY, BAD, OPEN)}
    if counts[OPEN]:
        this.plan(f"leave {ended.row.name} as it is: {next(v.why for v in ended.verdicts if v.outcome == OPEN)}")
        return
    again = sum(v.outcome == RETRY and v.overwrite for v in ended.verdicts)
    this.plan(
        f"close job {ended.intent.job} of {ended.row.name}: {counts[OKAY]} files are whole, {counts[RETRY]} go to another "
        f"server ({again} of them over what is there), {counts[BAD]} were withdrawn"
    )


def _tell_open(this: Pass, ended: Ended) -> None:
    first = next(v for v in ended.verdicts if v.outcome == OPEN)
    this.problem(
        "not freed",
        f"{names.shown(first.file.name)} (list {ended.row.name})",
        why=first.why,
        left="its list stays in DOING at that server, whole",
        next="call again when the storage answers",
    )


def _tell_busy(this: Pass, job: AnyRow) -> None:
    left = "it stays as it is"
    this.problem("not freed", job.name, why="another command has it under its hands", left=left, next="call again in a moment")
