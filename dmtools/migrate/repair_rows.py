"""dm-check --repair for migrate: rows that disagree among themselves: files, attempts and lists that lost each other."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from dmtools import clock
from dmtools.control.checking import Finding
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.ledger.journal import Move, advance, note
from dmtools.ledger.leases import HOST
from dmtools.ledger.types import AnyRow
from dmtools.migrate.check_rows import OPEN_JOB, open_job_of_file
from dmtools.migrate.home import Home
from dmtools.migrate.papers import papers
from dmtools.migrate.states import DOING, STATES, TODO
from dmtools.spool import folders as at
from dmtools.transfers import lists
from dmtools.transfers.conclude import finish
from dmtools.transfers.lists import ListRow
from dmtools.transfers.submit import CLOSED

J, T, F = tables.ftsjob.c, tables.transfer.c, tables.filelist.c


def repair(this: Pass, home: Home, by_rule: dict[str, list[Finding]]) -> None:
    """Lists first (files and attempts need them), then attempts, then files."""
    if by_rule["files-without-list"] or by_rule["attempt-without-list"]:
        _lists_again(this, home)
        _attempts(this, home)
    broken = [*by_rule["doing-without-attempt"], *by_rule["done-with-open-files"], *by_rule["no-files"]]
    if broken:
        _settle(this, home, sorted({found.subject for found in broken}))


def _lists_again(this: Pass, home: Home) -> None:
    """Files and open attempts whose list has no row: it gets one, under its name in DOING where that says the attempt."""
    names = {paper.content.notes["sid"]: paper.name for paper in papers(home, at.DOING) if paper.content.notes.get("sid")}

    def act(connection: Connection) -> None:
        of_files = select(T.list_id).where(T.pipeline == "migrate", T.state.in_((TODO, DOING)))
        wanted = set(connection.execute(of_files.distinct()).scalars())
        of_jobs = select(J.list_id).where(J.pipeline == "migrate", J.state.in_(OPEN_JOB))
        wanted |= set(connection.execute(of_jobs).scalars())
        missing = sorted(wanted - set(lists.by_ids(connection, sorted(wanted))))
        for number, list_id in enumerate(missing, 1):
            _list_again(connection, this, home, list_id, number, names)

    this.ledger.transact(act)


def _list_again(connection: Connection, this: Pass, home: Home, list_id: int, number: int, names: dict[str, str]) -> None:
    now = clock.now()
    query = select(J.attempt, J.sid, J.state).where(J.list_id == list_id).order_by(J.attempt.desc())
    job = connection.execute(query.limit(1)).first()
    opened = job is not None and job.state in OPEN_JOB
    name = names.get(job.sid, "") if job is not None else ""
    if not name or lists.by_names(connection, "migrate", home.id, [name]):
        name = f"FTSList-{clock.stamp(now)}-{HOST}-{number}.txt"
    files = len(connection.execute(select(T.id).where(T.list_id == list_id)).all())
    row = {"id": list_id, "pipeline": "migrate", "home": home.id, "name": name, "since": now, "files": files}
    lists.add(
        connection,
        [{**row, "state": lists.DOING if opened else lists.SETTLING, "attempt": job.attempt if job else 0, "planned": 1}],
    )
    note(connection, "migrate", "list", list_id, by=this.by, at=now, why="its row was lost and is made again")


def _attempts(this: Pass, home: Home) -> None:
    """Open attempts whose list isn't DOING: closed when no file is under way in them, else their list is DOING."""

    def act(connection: Connection) -> None:
        now = clock.now()
        query = select(J.id, J.list_id, J.attempt, F.state).join(tables.filelist, F.id == J.list_id)
        query = query.where(J.pipeline == "migrate", J.state.in_(OPEN_JOB), F.home == home.id, F.state != lists.DOING)
        for job in connection.execute(query).all():
            files = connection.execute(select(T.id).where(T.job_id == job.id, T.state == DOING).limit(1)).first()
            if files is None:
                said = "dm-check: no file was under way in it"
                connection.execute(update(tables.ftsjob).where(J.id == job.id).values(state=CLOSED, closed=now, reason=said))
                note(connection, "migrate", "list", job.list_id, by=this.by, at=now, why=f"attempt {job.attempt} closed: {said}")
            else:
                change = update(tables.filelist).where(F.id == job.list_id)
                connection.execute(change.values(state=lists.DOING, attempt=job.attempt, planned=1, since=now))
                note(connection, "migrate", "list", job.list_id, by=this.by, at=now, why="its attempt is open: it is DOING again")

    this.ledger.transact(act)


def _settle(this: Pass, home: Home, names: Sequence[str]) -> None:
    """Files that nobody moves go to TODO; their lists go where their files are."""
    for part in chunks(names, 100):
        with this.ledger.read() as connection:
            rows = lists.by_names(connection, "migrate", home.id, part)
        granted = this.leases.claim([row.resource for row in rows.values()])
        try:
            ids = [row.id for row in rows.values() if row.resource in granted]
            this.ledger.transact(lambda c, ids=ids: _book(this, c, ids))  # type: ignore[misc]
            finish(this, home.folders, ids)
        except Stale as problem:
            this.log(f"{problem}; left to it")
        finally:
            this.leases.release(list(granted))


def _book(this: Pass, connection: Connection, ids: Sequence[int]) -> None:
    now = clock.now()
    stuck = select(T.id, T.size).where(T.list_id.in_(ids), T.state == DOING, ~open_job_of_file())  # type: ignore[operator]
    why = "dm-check: no attempt of it was open"
    moves = [Move(row.id, DOING, TODO, why, row.size or 0) for row in connection.execute(stuck)]
    advance(connection, tables.transfer, STATES, moves, by=this.by, at=now)
    for row in lists.by_ids(connection, ids).values():
        job = _open_job(connection, row)
        if job is not None and connection.execute(select(T.id).where(T.job_id == job.id, T.state == DOING).limit(1)).first():
            continue  # the rest of it is under way
        if job is not None:
            said = "dm-check: no file was under way in it"
            connection.execute(update(tables.ftsjob).where(J.id == job.id).values(state=CLOSED, closed=now, reason=said))
        if row.state != lists.SETTLING:
            lists.change(connection, row, lists.SETTLING, now)


def _open_job(connection: Connection, row: ListRow) -> AnyRow | None:
    return connection.execute(select(J.id).where(J.list_id == row.id, J.state.in_(OPEN_JOB)).limit(1)).first()
