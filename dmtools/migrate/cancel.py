"""Cancel: jobs at their servers, lists that still wait in TODO, and all that a dead server holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from dmtools import clock, names
from dmtools.control.orders import who
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.ledger.journal import Move, advance
from dmtools.ledger.types import AnyRow
from dmtools.migrate.home import Home
from dmtools.migrate.states import BAD, DOING, OKAY, STATES, TODO
from dmtools.spool import folders as at
from dmtools.spool import listfile
from dmtools.spool.listfile import ListUnreadable
from dmtools.transfers import giving_up, lists, plan, recover, submit, withdraw
from dmtools.transfers.conclude import finish
from dmtools.transfers.lists import ListRow
from dmtools.transfers.servers import ask
from dmtools.transfers.verdict import WITHDRAWN

T, F = tables.transfer.c, tables.filelist.c


@dataclass
class Chosen:
    """What the words of a person stand for: open attempts (and which files of them), lists and single files in TODO."""

    jobs: dict[int, list[int] | None] = field(default_factory=dict)
    lists: list[str] = field(default_factory=list)
    files: list[AnyRow] = field(default_factory=list)

    def add(self, job: int, file: int | None = None) -> None:
        """A whole attempt, or one file of it."""
        if file is None:
            self.jobs[job] = None
        elif (kept := self.jobs.setdefault(job, [])) is not None:
            kept.append(file)


def choose(this: Pass, words: Sequence[str], *, everything: bool, todo: bool, server: str | None) -> Chosen:
    """Jobs, lists and LFNs by name; or all open jobs (of one server), with `todo` also all lists that wait."""
    home = Home.of(this)
    if not this.dry_run:
        recover.adopt(this, home.road, [w for w in words if home.folders.has(at.TODO, w)])
    found = Chosen()
    with this.ledger.read() as connection:
        jobs = withdraw.open_jobs(connection, "migrate", home.id, server)
        if server and not jobs:
            giving_up.refuse_unknown(this, server)
        if everything or server:
            for job in jobs:
                found.add(job.id)
        if everything and todo:
            found.lists = [row.name for row in lists.by_state(connection, "migrate", home.id, (lists.TODO,))]
        by_job, by_list = {job.job: job for job in jobs}, {job.name: job for job in jobs}
        rows = lists.by_names(connection, "migrate", home.id, list(words))
        for word in words:
            job = by_job.get(word) or by_list.get(word)
            if job is not None:
                found.add(job.id)
            elif word in rows:
                _choose_list(this, home, rows[word], found)
            else:
                _choose_file(this, connection, home, word, found)
    return found


def _choose_list(this: Pass, home: Home, row: ListRow, found: Chosen) -> None:
    if row.state in (lists.TODO, lists.DONE) and home.folders.has(at.TODO, row.name):
        found.lists.append(row.name)
    else:
        why = f"it is {row.state}: nothing of it is under way"
        this.problem("nothing to cancel", row.name, why=why, left="it stays as it is", next=f"see: dm-trace {row.name}")


def _choose_file(this: Pass, connection: Connection, home: Home, lfn: str, found: Chosen) -> None:
    keys = [names.key(text) for text in names.spellings(lfn)]
    columns = (T.id, T.name, T.state, T.list_id, T.job_id, T.size, F.planned)
    query = select(*columns).join(tables.filelist, F.id == T.list_id)
    rows = list(connection.execute(query.where(T.pipeline == "migrate", T.name_key.in_(keys), F.home == home.id)))
    ready = [row for row in rows if row.state in (TODO, DOING)]
    for row in ready:
        if row.state == DOING and row.job_id is not None:
            found.add(row.job_id, row.id)
        else:
            found.files.append(row)
    if not ready:
        why = f"it is {rows[0].state}" if rows else "no open job, list or file has this name"
        step = "a file that was never submitted is withdrawn with its list: name the list"
        this.problem("nothing to cancel", lfn, why=why, left="nothing was changed", next=step)


def cancel(this: Pass, found: Chosen, why: str) -> None:
    """Carries it out; what the servers then say is settled by the monitor."""
    home, by = Home.of(this), f"{who()} (migrate-cancel)"
    if this.dry_run:
        _plan(this, found)
        return
    if found.lists:
        _withdraw_lists(this, home, found.lists, by, why)
    if found.files:
        _withdraw_files(this, home, found.files, by, why)
    if found.jobs:
        _cancel_jobs(this, home, found, by, why)


def _plan(this: Pass, found: Chosen) -> None:
    with this.ledger.read() as connection:
        for job in withdraw.open_jobs(connection, "migrate", Home.of(this).id):
            if job.id in found.jobs:
                files = found.jobs[job.id]
                what = "" if files is None else f"{len(files)} files of "
                this.plan(f"cancel {what}job {job.job} of {job.name} at {job.server}")
    for name in found.lists:
        this.plan(f"withdraw the list {name} from TODO")
    for file in found.files:
        this.plan(f"withdraw {names.shown(file.name)} from TODO")


def _cancel_jobs(this: Pass, home: Home, found: Chosen, by: str, why: str) -> None:
    this.ledger.transact(lambda c: withdraw.mark(c, "migrate", found.jobs, by=by, why=why))
    with this.ledger.read() as connection:
        jobs = [job for job in withdraw.open_jobs(connection, "migrate", home.id) if job.id in found.jobs]
    wanted = {job.server for job in jobs}
    servers = ask(this.settings, wanted)
    for name in sorted(wanted - servers.up.keys()):
        _tell_away(this, name, servers.why_not(name), sum(job.server == name for job in jobs))
    if wanted and not servers.up:
        this.report.state = "unavailable"
        return
    by_id = {job.id: job for job in jobs}
    for told in withdraw.carry_out(this, servers, "migrate", list(found.jobs)):
        job: AnyRow = by_id.get(told.job.id, told.job)
        if told.failed:
            _tell_away(this, job.server, told.failed, 1)
        elif told.said:
            this.moved(job.state, told.said)
            this.log(f"job {job.job} at {job.server} is {told.said}")
        elif job.state == submit.INTENT:
            _tell_not_sent(this, job)
        else:
            _tell_unknown(this, job)


def _withdraw_lists(this: Pass, home: Home, wanted: Sequence[str], by: str, why: str) -> None:
    for part in chunks(wanted, 100):
        with this.ledger.read() as connection:
            rows = lists.by_names(connection, "migrate", home.id, part)
        granted = this.leases.claim([row.resource for row in rows.values()])
        try:
            with this.ledger.read() as connection:
                mine = lists.by_ids(connection, [row.id for row in rows.values() if row.resource in granted])
            for row in mine.values():
                if row.state in (lists.TODO, lists.DONE):
                    _withdraw_list(this, home, row, by, why)
        finally:
            this.leases.release(list(granted))


def _withdraw_list(this: Pass, home: Home, row: ListRow, by: str, why: str) -> None:
    try:
        content = listfile.read(home.folders.path(at.TODO, row.name))
    except (FileNotFoundError, ListUnreadable) as problem:
        step = "the next pass of the monitor looks after it"
        this.problem("not withdrawn", row.name, why=str(problem), left="it stays in TODO", next=step)
        return
    with this.ledger.read() as connection:
        going = frozenset((TODO, DOING))
        one = plan.plan_lists(connection, [(row, content)], done=OKAY, going=going, lfn_of=home.rules.lfn)[0]
    for file in one.of(plan.GO):
        file.act, file.error_class, file.reason = plan.BAD, WITHDRAWN, _said(by, why)
    order = submit.Order(one, None)
    try:
        this.ledger.transact(lambda c: submit.book(c, [order], STATES, installation="", by=by, at=clock.now()))
    except Stale as problem:
        this.log(f"{problem}; left to it")
        return
    finish(this, home.folders, [row.id])
    this.moved(TODO, BAD, len(one.files))


def _said(by: str, why: str) -> str:
    return f"withdrawn by {by} before it was sent" + (f": {why}" if why else "")


def _withdraw_files(this: Pass, home: Home, files: Sequence[AnyRow], by: str, why: str) -> None:
    """Single files of lists that wait in TODO; the other files of those lists stay there."""
    granted = this.leases.claim([f"list/{i}" for i in sorted({file.list_id for file in files})])
    try:
        with this.ledger.read() as connection:
            rows = {i: row for i, row in lists.by_ids(connection, [f.list_id for f in files]).items() if row.resource in granted}
        ready = [f for f in files if f.list_id in rows and rows[f.list_id].state == lists.TODO]
        moves = [
            Move(f.id, TODO, BAD, _said(by, why), f.size or 0, values=(("error_class", WITHDRAWN), ("reason", _said(by, why))))
            for f in ready
        ]

        def act(connection: Connection) -> None:
            now = clock.now()
            advance(connection, tables.transfer, STATES, moves, by=by, at=now)
            for i in {f.list_id for f in ready}:
                lists.change(connection, rows[i], lists.SETTLING, now)

        if ready:
            this.ledger.transact(act)
            finish(this, home.folders, [f.list_id for f in ready])
            this.moved(TODO, BAD, len(ready))
        for f in files:
            if f not in ready:
                step = "call again in a moment"
                this.problem("not withdrawn", names.shown(f.name), why="its list changed meanwhile", left="it stays", next=step)
    finally:
        this.leases.release(list(granted))


def _tell_away(this: Pass, server: str, why: str, jobs: int) -> None:
    this.problem(
        "not canceled yet",
        f"{jobs} jobs at {server}",
        why=why,
        left="they are marked: the next pass that reaches the server cancels them",
        next=f"nothing; if {server} never comes back: migrate-cancel --abandon {server}",
    )


def _tell_not_sent(this: Pass, job: AnyRow) -> None:
    this.problem(
        "not canceled yet",
        f"job {job.job} at {job.server}",
        why="the server does not know it (yet): it was booked, perhaps sent, and no answer came",
        left="it is marked: the next pass sends the same job once more, so that it is known, and cancels it",
        next="nothing",
        failed=False,
    )


def _tell_unknown(this: Pass, job: AnyRow) -> None:
    this.problem(
        "job unknown at its server",
        f"{job.job} at {job.server}",
        why="the server answers that it has no such job",
        left="its list stays in DOING",
        next=f"if the server lost it for good: migrate-cancel --abandon {job.server} --force",
    )
