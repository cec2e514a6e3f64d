"""dm-check --repair for migrate: each disagreement by the rule that says who wins; what no rule names is left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from dmtools import clock
from dmtools.command import Unavailable
from dmtools.control import checking
from dmtools.control.checking import Finding, Inspection
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.ledger.journal import Move, add_tally, advance
from dmtools.migrate import rebuild, repair_rows, rewrite
from dmtools.migrate.check import home_of, places
from dmtools.migrate.check_rows import counted
from dmtools.migrate.home import Home
from dmtools.migrate.states import BAD, OKAY, STATES
from dmtools.spool import folders as at
from dmtools.spool.folders import home_id
from dmtools.storage import Absent
from dmtools.transfers import lists, project, recover, verdict
from dmtools.transfers.conclude import conclude, finish
from dmtools.transfers.lists import ListRow

T = tables.transfer.c


def repair(inspection: Inspection, findings: Sequence[Finding]) -> None:
    """Mends all that a rule names. Raises Unavailable while another repair works."""
    this = inspection.this
    by_rule: dict[str, list[Finding]] = defaultdict(list)
    for found in findings:
        by_rule[found.rule].append(found)
    home = _home(this)
    if not this.leases.claim([f"repair/{home.id}"]):
        raise Unavailable("another repair works", str(this.home), "it has this HOME under its hands", "wait for its end")
    try:
        for path in places(home):
            if not path.exists():
                path.mkdir(mode=0o750, parents=True)
                this.log(f"made the directory {path}")
        checking.sweep(this, places(home))
        if "tables-lost" in by_rule:
            rebuild.rebuild(this, home, verify=inspection.storage != "no")
            return
        _repair(this, home, by_rule)
    finally:
        this.leases.release([f"repair/{home.id}"])


def _home(this: Pass) -> Home:
    """This HOME; when its id is gone, the one that the tables know, or a new one."""
    known = home_of(this).id
    return Home(this, home_id(this.home, [known] if known else []))


def _repair(this: Pass, home: Home, by_rule: dict[str, list[Finding]]) -> None:
    """Lost attempts before the queue (they hold files), the queue before DONE, the counts last but for what they count."""
    _adopt(this, home, by_rule)
    repair_rows.repair(this, home, by_rule)
    for found in by_rule["no-list"]:
        folder, _, name = found.subject.partition("/")
        if home.folders.has(folder, name):
            _aside(this, home, folder, name)
    for found in by_rule["gone-unread"]:
        _with_list(this, home, found.subject, lambda row: _close_unread(this, home, row))
    recover.mend(this, home.road)
    for found in by_rule["other-lines"]:
        _with_list(this, home, found.subject, lambda row: _write_open(this, home, row))
    for rule in ("done-gone", "done-too-much", "done-differs"):
        for found in by_rule[rule]:
            folder, _, name = found.subject.rpartition("/")
            _with_list(this, home, name, lambda row, folder=folder: _write_done(this, home, row, folder))  # type: ignore[misc]
    _lose(this, home, [found.item for found in by_rule["okay-gone"]])
    this.ledger.transact(lambda c: checking.mend_counts(c, "migrate", counted(c)))


def _adopt(this: Pass, home: Home, by_rule: dict[str, list[Finding]]) -> None:
    """Lists that carry our notes and that the tables don't know: booked as they say."""
    done = [(found.subject.rpartition("/")[0], found.subject.rpartition("/")[2]) for found in by_rule["unknown-list"]]
    doing = [found.subject for found in by_rule["unknown-attempt"]]
    if done or doing:
        rebuild.adopt(this, home, done, doing)


def _aside(this: Pass, home: Home, folder: str, name: str) -> None:
    path = home.folders.set_aside(folder, name)
    this.log(f"{folder}/{name}: set aside as {path}")


def _with_list(this: Pass, home: Home, name: str, act: Callable[[ListRow], None]) -> None:
    """The list under our hands, as it is now; not while another command has it."""
    with this.ledger.read() as connection:
        row = lists.by_names(connection, "migrate", home.id, [name]).get(name)
    if row is None or not this.leases.claim([row.resource]):
        return
    try:
        with this.ledger.read() as connection:
            act(lists.by_ids(connection, [row.id])[row.id])
    except Stale as problem:
        this.log(f"{name}: {problem}")
    finally:
        this.leases.release([row.resource])


def _close_unread(this: Pass, home: Home, row: ListRow) -> None:
    """A list put into TODO by hand and taken away again before it was read: nothing of it was ever moved."""
    if row.state != lists.TODO or row.planned or row.master_id is not None or home.folders.has(at.TODO, row.name):
        return

    def act(connection: Connection) -> None:
        lists.change(connection, row, lists.SETTLING, clock.now(), planned=1)
        add_tally(connection, "migrate", {"TODO": (-row.files, 0)})
        conclude(connection, list(lists.by_ids(connection, [row.id]).values()), clock.now())

    this.ledger.transact(act)
    this.log(f"{row.name} was taken away before it was read: closed")


def _write_open(this: Pass, home: Home, row: ListRow) -> None:
    folder = at.DOING if row.state == lists.DOING else at.TODO
    if row.state in (lists.TODO, lists.DOING) and row.planned and home.folders.has(folder, row.name):
        _aside(this, home, folder, row.name)
        project.rows(this, home.folders, [row])


def _write_done(this: Pass, home: Home, row: ListRow, folder: str) -> None:
    if row.state in (lists.SETTLING, lists.CUT):
        return
    if home.folders.has(folder, row.name):
        _aside(this, home, folder, row.name)
    rewrite.project_one(this, home, row, folder)


def _lose(this: Pass, home: Home, items: Sequence[int]) -> None:
    """Files that were Okay and are gone from their destination: looked at once more, then Bad."""
    for part in chunks(items):
        with this.ledger.read() as connection:
            query = verdict.files_query().where(T.id.in_(part), T.state == OKAY)
            rows = list(connection.execute(query))
        looks = verdict.look_at_destinations(rows, this.settings, 3600)
        gone = [row for row in rows if isinstance(looks.get(row.id), Absent)]
        granted = this.leases.claim([f"list/{i}" for i in sorted({row.list_id for row in gone})])
        try:
            gone = [row for row in gone if f"list/{row.list_id}" in granted]
            if gone:
                ids = sorted({row.list_id for row in gone})
                this.ledger.transact(lambda c, gone=gone, ids=ids: _book_lost(this, c, gone, ids))  # type: ignore[misc]
                finish(this, home.folders, ids)
                with this.ledger.read() as connection:
                    rest = list(lists.by_ids(connection, ids).values())
                project.rows(this, home.folders, [row for row in rest if row.state == lists.DOING])
        finally:
            this.leases.release(list(granted))


def _book_lost(this: Pass, connection: Connection, gone: Sequence[object], ids: Sequence[int]) -> None:
    at_, moves = clock.now(), []
    for row in gone:
        why = "dm-check found nothing at its destination"
        values = (("error_class", "lost"), ("reason", why), ("verified_by", None))
        moves.append(Move(row.id, OKAY, BAD, why, row.size or 0, values=values))  # type: ignore[attr-defined]
    advance(connection, tables.transfer, STATES, moves, by=this.by, at=at_)
    for row in lists.by_ids(connection, ids).values():
        if row.state in (lists.DONE, lists.TODO) and row.planned:
            lists.change(connection, row, lists.SETTLING, at_)
