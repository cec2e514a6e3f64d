"""dm-check for migrate: the rows among themselves: counts, attempts, files and lists; and the master lists."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, exists, func, select

from dmtools import names
from dmtools.control import checking
from dmtools.control.checking import Counts, Finding
from dmtools.ledger import tables
from dmtools.migrate.check import Scene, finding
from dmtools.migrate.states import DOING, LISTED, TODO
from dmtools.transfers import lists
from dmtools.transfers.submit import INTENT, SUBMITTED

J, T, F, M = tables.ftsjob.c, tables.transfer.c, tables.filelist.c, tables.master.c
OPEN_JOB = (INTENT, SUBMITTED)


def check(scene: Scene) -> Iterator[Finding]:
    """What the rows say against each other."""
    with scene.this.ledger.read() as connection:
        yield from checking.compare_counts("migrate", checking.tally_of(connection, "migrate"), counted(connection))
        yield from _attempts(scene, connection)
        yield from _files(scene, connection)
        yield from _lists(scene, connection)
        yield from _masters(scene, connection)


def counted(connection: Connection) -> Counts:
    """The counts by the rows: files, lists that are not read yet by their lines, and what no list was cut from yet."""
    size = func.coalesce(func.sum(T.size), 0)
    rows = connection.execute(select(T.state, func.count(), size).where(T.pipeline == "migrate").group_by(T.state))
    found = {state: (int(n), int(total)) for state, n, total in rows}
    where = (F.pipeline == "migrate", F.planned == 0, F.state.in_((lists.CUT, lists.TODO)))
    unread = int(connection.execute(select(func.coalesce(func.sum(F.files), 0)).where(*where)).scalar_one())
    if unread:
        n, total = found.get(TODO, (0, 0))
        found[TODO] = (n + unread, total)
    listed = int(connection.execute(select(func.coalesce(func.sum(M.lfns - M.cut), 0))).scalar_one())
    return found | ({LISTED: (listed, 0)} if listed else {})


def _attempts(scene: Scene, connection: Connection) -> Iterator[Finding]:
    """Open attempts whose list isn't DOING, or isn't there."""
    query = select(J.id, J.list_id, J.job, J.server, F.name, F.state, F.home)
    query = query.outerjoin(tables.filelist, F.id == J.list_id).where(J.pipeline == "migrate", J.state.in_(OPEN_JOB))
    for row in connection.execute(query):
        if (row.home not in (None, scene.home.id)) or f"list/{row.list_id}" in scene.held or row.state == lists.DOING:
            continue
        says = (
            f"the attempt is open, its list {row.name} is {row.state}" if row.name else "the attempt is open, its list has no row"
        )
        mend = "it is closed when no file is under way in it; else its list is booked again"
        yield finding("attempt-without-list", f"job {row.job} at {row.server}", says, mend)


def open_job_of_file() -> object:
    """Is the file's job an open attempt of the file's own list?"""
    return exists(select(J.id).where(J.id == T.job_id, J.list_id == T.list_id, J.state.in_(OPEN_JOB)))


def _files(scene: Scene, connection: Connection) -> Iterator[Finding]:
    """Files in DOING that no open attempt moves, and open files of lists that have no row."""
    query = select(T.list_id, F.name, func.count().label("n")).join(tables.filelist, F.id == T.list_id)
    query = query.where(T.pipeline == "migrate", T.state == DOING, F.home == scene.home.id, ~open_job_of_file())  # type: ignore[operator]
    for row in connection.execute(query.group_by(T.list_id, F.name)):
        if f"list/{row.list_id}" not in scene.held:
            says = f"{row.n} of its files are DOING, and no attempt is open"
            yield finding("doing-without-attempt", row.name, says, "they go to TODO, as a new attempt")
    orphans = select(T.list_id, func.count().label("n")).outerjoin(tables.filelist, F.id == T.list_id)
    orphans = orphans.where(T.pipeline == "migrate", T.state.in_((TODO, DOING)), F.id.is_(None)).group_by(T.list_id)
    for row in connection.execute(orphans):
        says = f"{row.n} files belong to it, and it has no row"
        yield finding("files-without-list", f"list {row.list_id}", says, "they get a list again")


def _lists(scene: Scene, connection: Connection) -> Iterator[Finding]:
    """Done lists with files that are to be moved; lists in DOING with nothing under way."""
    files = exists(select(T.id).where(T.list_id == F.id, T.state.in_((TODO, DOING))))
    job = exists(select(J.id).where(J.list_id == F.id, J.state.in_(OPEN_JOB)))
    mine = (F.pipeline == "migrate", F.home == scene.home.id)
    for row in connection.execute(select(F.id, F.name).where(*mine, F.state == lists.DONE, files)):
        if f"list/{row.id}" not in scene.held:
            yield finding(
                "done-with-open-files", row.name, "the list is done, files of it are not", "it goes to where its files are"
            )
    for row in connection.execute(select(F.id, F.name).where(*mine, F.state == lists.DOING, ~job)):
        if f"list/{row.id}" not in scene.held:
            yield finding("doing-without-attempt", row.name, "the list is DOING, and no attempt is open", "it goes to TODO")


def _masters(scene: Scene, connection: Connection) -> Iterator[Finding]:
    """Master lists that were refused, or are gone before all their lines were cut."""
    query = select(M.name, M.state, M.reason, M.lfns, M.cut).where(M.home == scene.home.id, M.state != "read")
    for row in connection.execute(query):
        raw = names.decode(row.name).decode("utf-8", "surrogateescape")
        shown = names.shown(row.name)
        if row.state == "refused":
            yield finding("master-refused", shown, f"it {row.reason}", next="put it right, or move it away")
        elif row.lfns > row.cut and not (scene.home.masters / raw).exists():
            says = f"{row.lfns - row.cut} of its LFNs are not cut yet, and it is gone from ListOfLFNs"
            yield finding(
                "master-gone", shown, says, next="put it back; or, to give up those lines, put back its part that was cut"
            )
