"""Mends what a killed pass, or a hand, left between directories and tables: the rules of who wins, one function each.

The cost grows with open lists, never with history. What is not named here is not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.journal import add_tally
from dmtools.spool import folders as at
from dmtools.spool import listfile
from dmtools.spool.listfile import ListUnreadable
from dmtools.transfers import lists, project
from dmtools.transfers.conclude import conclude_all, finish
from dmtools.transfers.lists import ListRow
from dmtools.transfers.road import Road


def mend(this: Pass, road: Road) -> None:
    """All rules, for the lists of this HOME."""
    adopt(this, road)
    with this.ledger.read() as connection:
        rows = lists.by_state(connection, road.pipeline, road.home, lists.OPEN)
    todo, doing = set(road.folders.names(at.TODO)), set(road.folders.names(at.DOING))
    _finish_settling(this, road, [row for row in rows if row.state == lists.SETTLING])
    _finish_cut(this, road, [row for row in rows if row.state == lists.CUT])
    _put_back(this, road, [row for row in rows if _misplaced(row, todo, doing)])
    _without_intent(this, road, sorted(doing - {row.name for row in rows if row.state in (lists.DOING, lists.SETTLING)}))


def adopt(this: Pass, road: Road, found: Sequence[str] | None = None) -> dict[str, ListRow]:
    """A list file in TODO that no row knows was put there by hand: it gets its row. Gives the rows of all names."""
    if found is None:
        found = [name for name in road.folders.names(at.TODO) if name != "ListOfLFNs"]
    rows: dict[str, ListRow] = {}
    for part in chunks(found):
        with this.ledger.read() as connection:
            known = lists.by_names(connection, road.pipeline, road.home, part)
        new = [name for name in part if name not in known and road.by_hand and not this.dry_run]
        for name in new:
            _adopt(this, road, name)
        if new:
            with this.ledger.read() as connection:
                known |= lists.by_names(connection, road.pipeline, road.home, new)
        rows |= known
    return rows


def _adopt(this: Pass, road: Road, name: str) -> None:
    resource = f"adopt/{road.home}/{names.key(name).hex()}"
    if not name.isascii() or not name.isprintable() or " " in name:
        set_aside(this, road, name, "has a name that no list may have; names are printable ASCII without blanks")
        return
    if not this.leases.claim([resource]):
        return
    try:
        found = listfile.read(road.folders.path(at.TODO, name), any_name=road.any_name)
        this.ledger.transact(lambda c: _enter(c, road, name, len(found.pairs) + len(found.bad), clock.now()))
        this.log(f"{name} was put into TODO by hand: {len(found.pairs)} files")
    except FileNotFoundError:
        return  # moved meanwhile
    except ListUnreadable as problem:
        set_aside(this, road, name, str(problem))
    finally:
        this.leases.release([resource])


def _enter(connection: Connection, road: Road, name: str, files: int, now: datetime) -> None:
    if lists.by_names(connection, road.pipeline, road.home, [name]):
        return
    row = {"pipeline": road.pipeline, "home": road.home, "name": name, "state": lists.TODO, "since": now, "files": files}
    lists.add(connection, [row])
    add_tally(connection, road.pipeline, {"TODO": (files, 0)})


def set_aside(this: Pass, road: Road, name: str, why: str) -> None:
    """What can't be a list leaves the queue, so that it harms itself alone. A known list is written again from the tables."""
    path = road.folders.set_aside(at.TODO, name)
    this.problem(
        "no list file",
        f"TODO/{names.printable(name)}",
        why=f"it {why}",
        left=f"moved to {path}; the other lists go on",
        next="look at it; a good list file may be moved to TODO",
    )


def _finish_settling(this: Pass, road: Road, rows: Sequence[ListRow]) -> None:
    """The outcome was booked, the directories did not follow: they do now."""
    _with_leases(this, rows, lambda mine: finish(this, road.folders, [row.id for row in mine]))


def _finish_cut(this: Pass, road: Road, rows: Sequence[ListRow]) -> None:
    """Cut from a master list, or split off a dirty list, but not proved to be there."""
    if road.cut is not None and (origins := sorted({row.master_id for row in rows if row.master_id is not None})):
        road.cut.write_again(this, origins)
    rest = [row for row in rows if row.master_id is None]
    with this.ledger.read() as connection:
        parents = lists.by_ids(connection, [row.parent_id for row in rest if row.parent_id is not None])
    orphans = [row for row in rest if row.parent_id not in parents or parents[row.parent_id].state != lists.SETTLING]
    _with_leases(this, orphans, lambda mine: _conclude_orphans(this, road, mine))


def _conclude_orphans(this: Pass, road: Road, rows: Sequence[ListRow]) -> None:
    project.rows(this, road.folders, rows)
    conclude_all(this, rows)


def _misplaced(row: ListRow, todo: set[str], doing: set[str]) -> bool:
    """An open list that stands in no directory, in the wrong one, or in both."""
    if row.state == lists.TODO:
        return row.name not in todo or row.name in doing
    return row.state == lists.DOING and (row.name not in doing or row.name in todo)


def _put_back(this: Pass, road: Road, rows: Sequence[ListRow]) -> None:
    """The tables win: an open attempt stands in DOING, a waiting list in TODO; a second copy is set aside."""

    def act(mine: Sequence[ListRow]) -> None:
        for row in mine:
            _put_back_one(this, road, row)

    _with_leases(this, rows, act)


def _put_back_one(this: Pass, road: Road, row: ListRow) -> None:
    right, wrong = (at.DOING, at.TODO) if row.state == lists.DOING else (at.TODO, at.DOING)
    here, there = road.folders.has(right, row.name), road.folders.has(wrong, row.name)
    if here and there:
        path = road.folders.set_aside(wrong, row.name)
        this.log(f"{row.name} stood in {right} and in {wrong}; the tables say {right}, the other copy is now {path}")
    elif not here and row.state == lists.TODO and there and not row.planned:
        road.folders.transfer(wrong, right, row.name)
        this.log(f"{row.name} stood in {wrong} without an intent: back to {right}")
    elif not here and (row.planned or row.master_id is None):
        project.rows(this, road.folders, [row])
        this.log(f"{row.name} was not in {right}: written again from the tables")
    elif not here:
        _write_from_origin(this, road, row)


def _write_from_origin(this: Pass, road: Road, row: ListRow) -> None:
    data = road.cut.text(this, row) if road.cut is not None else None
    if data is not None:
        road.folders.put(at.TODO, row.name, data)
        this.log(f"{row.name} was in no directory: written again from its master list")


def _without_intent(this: Pass, road: Road, found: Sequence[str]) -> None:
    """The seed's rule 1: a list in DOING of which the tables know no attempt goes to TODO."""
    with this.ledger.read() as connection:
        rows = lists.by_names(connection, road.pipeline, road.home, found)
    for name in found:
        row = rows.get(name)
        if row is not None and row.state in (lists.DOING, lists.SETTLING, lists.TODO, lists.CUT):
            continue  # taken on meanwhile, or put right above
        if _carries_lost_attempt(this, road, name):
            continue
        try:
            _back_to_todo(this, road, name)
        except (FileNotFoundError, FileExistsError):
            continue  # another monitor was quicker


def _carries_lost_attempt(this: Pass, road: Road, name: str) -> bool:
    """Does it say that a job moves it of which the tables know nothing? Then they are older than the list: it is told."""
    notes = listfile.first_notes(road.folders.path(at.DOING, name))
    job = notes.get("job")
    if not job or not notes.get("sid"):
        return False
    with this.ledger.read() as connection:
        if connection.execute(select(tables.ftsjob.c.id).where(tables.ftsjob.c.job == job).limit(1)).first() is not None:
            return False
    this.problem(
        "attempt unknown to the tables",
        name,
        why=f"the list in DOING says that job {job} at {notes.get('server')} moves it; the tables know no such attempt",
        left="it stays in DOING: in TODO its files would be sent a second time",
        next="dm-check --repair books the attempt as the list says it",
    )
    return True


def _back_to_todo(this: Pass, road: Road, name: str) -> None:
    if road.folders.has(at.TODO, name):
        path = road.folders.set_aside(at.DOING, name)
        this.log(f"{name} stood in DOING without an intent and in TODO: the copy in DOING is now {path}")
    elif road.folders.path(at.DOING, name).is_dir():
        path = road.folders.set_aside(at.DOING, name)
        this.log(f"DOING/{name} is a directory: set aside as {path}")
    else:
        road.folders.transfer(at.DOING, at.TODO, name)
        this.log(f"{name} stood in DOING without an intent: to TODO (rule 1)")
        this.moved("DOING without intent", "TODO")


def _with_leases(this: Pass, rows: Sequence[ListRow], act: Callable[[Sequence[ListRow]], None]) -> None:
    """Only what no other command has under its hands, read again once it is ours."""
    for start in range(0, len(rows), 100):
        part = rows[start : start + 100]
        granted = this.leases.claim([row.resource for row in part])
        try:
            with this.ledger.read() as connection:
                fresh = lists.by_ids(connection, [row.id for row in part if row.resource in granted])
            same = [fresh[row.id] for row in part if row.id in fresh and fresh[row.id].state == row.state]
            if same:
                act(same)
        finally:
            this.leases.release(list(granted))
