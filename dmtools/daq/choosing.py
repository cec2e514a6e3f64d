"""Files that are proved at the site -> zips to be made: a zip a file, or one for several small ones of one day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, bindparam, insert, select, update

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.daq.states import AT_SITE, BAD, STATES, WAITING, ZIP_STATES
from dmtools.daq.zips import F, Z, tape_url, upload_url
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.ledger.journal import Move, advance, record
from dmtools.ledger.types import AnyRow
from dmtools.spool.listfile import check_url

LONGEST_TAIL, ANY_KEY = ".and-999-5.zip", "dm-" + 20 * "0"  # what a zip's name and its upload's add to an LFN at most
LOOK = 5000  # files looked at, when small ones share a zip
MOST = 1000  # files of one zip


def choose(this: Pass, most: int) -> None:
    """Makes at most `most` zips, in state Waiting, of the files that have waited longest."""
    try:
        made = this.ledger.transact(lambda c: _choose(this, c, most))
    except Stale as problem:
        this.log(f"{problem}; left to it")
    else:
        this.log(f"{made} zips chosen") if made else None


def _choose(this: Pass, connection: Connection, most: int) -> int:
    limit = this.settings.daq.group_bytes
    query = select(F.id, F.lfn, F.size).where(F.state == AT_SITE, F.zip_id.is_(None)).order_by(F.since, F.id)
    rows = connection.execute(query.limit(LOOK if limit else most).with_for_update(skip_locked=True)).all()
    good = _carried(this, connection, rows)
    groups = list(in_groups(good, limit, most))
    taken = _taken(connection, [name for group in groups for name in _names(group)])
    named: dict[str, Sequence[AnyRow]] = {}
    for group in groups:
        name = next((name for name in _names(group) if name not in taken and name not in named), None)
        if name is None:
            _refuse(this, connection, group, "occupied", "another zip has the name that its own would have on tape")
        else:
            named[name] = group
    _insert(this, connection, named)
    return len(named)


def in_groups(rows: Sequence[AnyRow], limit: int, most: int) -> Iterator[list[AnyRow]]:
    """At most `most` groups: files below `limit` bytes with others of their day while they fit, larger ones alone."""
    done = 0
    days: dict[str, list[AnyRow]] = {}  # of each day the group that may still grow
    for row in rows:
        day = day_of(row.lfn)
        group = days.get(day) if row.size < limit else None
        if group is not None and len(group) < MOST and sum(one.size for one in group) + row.size <= limit:
            group.append(row)
            continue
        if group is not None:
            done += 1
            yield days.pop(day)
        if done + len(days) >= most:
            continue
        if row.size < limit:
            days[day] = [row]
        else:
            done += 1
            yield [row]
    yield from days.values()


def day_of(lfn: str) -> str:
    """`/2501/250131` of `/2501/250131/MIG_1/a.dat`: the first two directories."""
    return "/".join(lfn.split("/")[:3])


def _names(group: Sequence[AnyRow]) -> list[str]:
    """The names that a zip may have, the best one first; that of a single file is fixed by its LFN."""
    first = group[0].lfn
    if len(group) == 1:
        return [f"{first}.zip"]
    return [f"{first}.and-{len(group) - 1}{tail}.zip" for tail in ("", "-2", "-3", "-4", "-5")]


def _carried(this: Pass, connection: Connection, rows: Sequence[AnyRow]) -> list[AnyRow]:
    """Those whose zip may go to tape by its name: the others are told before anything is made of them."""
    good = []
    for row in rows:
        name = f"{row.lfn}{LONGEST_TAIL}"
        try:
            for url in (tape_url(this.settings, name), upload_url(this.settings, name, ANY_KEY)):
                check_url(url, any_name=True)
        except names.NameRefused as problem:
            _refuse(this, connection, [row], "invalid", str(problem)[:500])
        else:
            good.append(row)
    return good


def _refuse(this: Pass, connection: Connection, group: Sequence[AnyRow], cls: str, why: str) -> None:
    values = (("error_class", cls), ("reason", why))
    moves = [Move(row.id, AT_SITE, BAD, why, row.size, values=values) for row in group]
    advance(connection, tables.daq_file, STATES, moves, by=this.by, at=clock.now())
    for row in group:
        shown = names.shown(row.lfn)
        left = "its copy at the site stays, it keeps its disk"
        this.problem("Bad", shown, why=why, left=left, next=f"dm-trace {shown}; then: daq-archive --retry {shown}")


def _taken(connection: Connection, wanted: Sequence[str]) -> set[str]:
    keys = {names.key(name): name for name in wanted}
    found: set[str] = set()
    for part in chunks(list(keys)):
        found |= {keys[key] for key in connection.execute(select(Z.name_key).where(Z.name_key.in_(part))).scalars()}
    return found


def _insert(this: Pass, connection: Connection, named: dict[str, Sequence[AnyRow]]) -> None:
    if not named:
        return
    at = clock.now()
    rows = [
        {"name": name, "name_key": names.key(name), "state": WAITING, "since": at, "files": len(group)}
        | {"bytes": sum(row.size for row in group), "attempt": 0, "failures": 0}
        for name, group in named.items()
    ]
    connection.execute(insert(tables.daq_zip), rows)
    ids: dict[str, int] = {}
    for part in chunks([row["name_key"] for row in rows]):
        ids |= {row.name: row.id for row in connection.execute(select(Z.id, Z.name).where(Z.name_key.in_(part)))}
    of_files = [{"_file": row.id, "_zip": ids[name]} for name, group in named.items() for row in group]
    put = update(tables.daq_file).where(F.id == bindparam("_file"), F.state == AT_SITE, F.zip_id.is_(None))
    if connection.execute(put.values(zip_id=bindparam("_zip")), of_files).rowcount != len(of_files):
        raise Stale("some files at the site changed meanwhile")
    moves = [
        Move(ids[name], "", WAITING, f"of {len(group)} file{'s' if len(group) > 1 else ''}") for name, group in named.items()
    ]
    record(connection, ZIP_STATES, moves, by=this.by, at=at)
