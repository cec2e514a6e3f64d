"""Lost tables, rebuilt from the directories, the lists' notes and the servers.

First what is done (DONE/...), in many short transactions, under a home id of its own, so that a kill leaves nothing half:
the next try begins anew. Then, in one transaction, what is open, the master lists and the counts; only then the lists
are this HOME's, and passes work again (until then they end with 75).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import Connection, delete, select, update

from dmtools import names
from dmtools.control import checking
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.migrate import rebuild_masters, rebuild_open
from dmtools.migrate.check_rows import counted
from dmtools.migrate.home import Home
from dmtools.migrate.papers import Paper, papers
from dmtools.migrate.rebuild_rows import Masters, book_files, known_places, list_ids, new_only, new_row
from dmtools.migrate.states import BAD, MISSING, OKAY
from dmtools.spool import folders as at
from dmtools.spool.listfile import Pair
from dmtools.storage import Absent, Look, Present, client_for, scheme_of
from dmtools.transfers import lists
from dmtools.transfers.plan import reject_key

T, F, J, M = tables.transfer.c, tables.filelist.c, tables.ftsjob.c, tables.master.c
LISTS = 200  # lists a transaction
STATE_OF = {at.OKAY: OKAY, at.BAD: BAD, at.MISSING: MISSING}
SECONDS = 3600


@dataclass
class Rebuilt:
    """What was found, for the person who waits."""

    home: Home
    home_now: str  # under which home id the rows go in
    verify: bool
    masters: Masters = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


def rebuild(this: Pass, home: Home, *, verify: bool) -> Rebuilt:
    """All of it. `verify`: files in DONE/Okay are believed only as far as their destinations have the size of their sources."""
    done = Rebuilt(home, f"rebuild-{home.id}", verify)
    masters = rebuild_masters.read(this, home)

    def begin(connection: Connection) -> None:
        _forget(connection, done.home_now)
        done.masters = rebuild_masters.book(connection, home, masters)

    this.ledger.transact(begin)
    for folder in (at.OKAY, at.BAD, at.MISSING):
        found = papers(home, folder)
        while part := list(islice(found, LISTS)):
            book_done(this, done, part)
    opened = rebuild_open.read(this, home)
    gaps = rebuild_masters.gaps(home, masters)

    def act(connection: Connection) -> dict[str, int]:
        connection.execute(update(tables.filelist).where(F.home == done.home_now).values(home=home.id))
        done.home_now = home.id
        rebuild_open.book(connection, home, opened, done.masters, done.counts, by=this.by)
        found = rebuild_masters.book_gaps(connection, home, gaps, done.masters)
        checking.mend_counts(connection, "migrate", counted(connection))
        return found

    again = this.ledger.transact(act)
    rebuild_open.finish(this, home, opened)
    rebuild_masters.write_gaps(this, home, again, done.masters)
    for what, n in sorted(done.counts.items()):
        this.log(f"rebuilt: {n} {what}")
    return done


def _forget(connection: Connection, home: str) -> None:
    """What a try that was killed has left, and files and attempts whose lists are gone."""
    mine = select(F.id).where(F.pipeline == "migrate", F.home == home)
    connection.execute(delete(tables.transfer).where(T.pipeline == "migrate", T.list_id.in_(mine)))
    connection.execute(delete(tables.filelist).where(F.pipeline == "migrate", F.home == home))
    known = select(F.id).where(F.pipeline == "migrate")
    connection.execute(delete(tables.transfer).where(T.pipeline == "migrate", T.list_id.not_in(known)))
    connection.execute(delete(tables.ftsjob).where(J.pipeline == "migrate", J.list_id.not_in(known)))


def adopt(this: Pass, home: Home, done: Sequence[tuple[str, str]], doing: Sequence[str]) -> None:
    """The same for single lists that the tables don't know: (folder, name) of DONE, names of DOING."""
    with this.ledger.read() as connection:
        known = {row.name: row.id for row in connection.execute(select(M.id, M.name).where(M.home == home.id))}
    told = Rebuilt(home, home.id, True, known)
    for folder in (at.OKAY, at.BAD, at.MISSING):
        part = list(papers(home, folder, [name for place, name in done if place == folder]))
        if part:
            book_done(this, told, part)
    opened = rebuild_open.read(this, home, doing=list(doing))
    this.ledger.transact(lambda c: rebuild_open.book(c, home, opened, told.masters, told.counts, by=this.by))
    rebuild_open.finish(this, home, opened)
    this.ledger.transact(lambda c: checking.mend_counts(c, "migrate", counted(c)))


# ---- what is done


def book_done(this: Pass, done: Rebuilt, part: Sequence[Paper]) -> None:
    """The lists of one folder of DONE and their files."""
    looks = _look(this, part) if done.verify and part[0].folder == at.OKAY else {}

    def act(connection: Connection) -> None:
        ids = list_ids(connection, done.home_now, part, done.masters, lists.DONE)
        rows = []
        known = known_places(connection, (pair.destination for paper in part for pair in paper.content.pairs))
        for paper in part:
            for pair in paper.content.pairs:
                rows += _file(done.home, paper, pair, ids[paper.name], known, looks.get(pair.destination))
            rows += [_reject(done.home, paper, n, one, ids[paper.name]) for n, one in enumerate(paper.rejects)]
        rows = new_only(connection, rows)
        book_files(connection, rows, part[0].folder, by=this.by)
        done.counts.update(row["state"] for row in rows)

    this.ledger.transact(act)


def _file(
    home: Home, paper: Paper, pair: Pair, list_id: int, known: dict[bytes, Any], looks: tuple[Look, Look] | None
) -> list[dict[str, Any]]:
    """The row of one file; none when a better list has it already."""
    key = names.key(pair.destination)
    state = STATE_OF[paper.folder]
    if key in known:
        if state == OKAY or known[key].source == pair.source:
            return []
        key = names.key(f"conflict {pair.source} {pair.destination}")
    row = new_row(home, pair, key, state, list_id)
    if state == OKAY:
        row |= _proof(looks)
    else:
        row["error_class"], row["reason"] = paper.reason(pair)
    if key == names.key(pair.destination):
        known[key] = _Taken(pair.source)
    return [row]


@dataclass(frozen=True)
class _Taken:
    """A destination that a list before this one has."""

    source: str


def _proof(looks: tuple[Look, Look] | None) -> dict[str, Any]:
    """Okay is believed when the destination has the source's size; unknown is believed too, and kept as such."""
    if looks is None:
        return {"verified_by": "list"}
    there, source = looks
    if isinstance(there, Absent):
        return {"state": BAD, "error_class": "lost", "reason": "DONE/Okay had it, but nothing is at its destination"}
    if isinstance(there, Present):
        if isinstance(source, Present) and source.size != there.size:
            why = f"DONE/Okay had it, but {there.size} bytes are at its destination and {source.size} at its source"
            return {"state": BAD, "error_class": "lost", "reason": why}
        return {"verified_by": "size", "size": there.size}
    return {"verified_by": "list"}


def _look(this: Pass, part: Sequence[Paper]) -> dict[str, tuple[Look, Look]]:
    """Sizes at destinations and sources, where there is a client for both; by destination."""
    groups: dict[tuple[str, str], list[Pair]] = {}
    for paper in part:
        for pair in paper.content.pairs:
            groups.setdefault((scheme_of(pair.destination), scheme_of(pair.source)), []).append(pair)
    found: dict[str, tuple[Look, Look]] = {}
    for pairs in groups.values():
        there, source = (client_for(url, this.settings) for url in (pairs[0].destination, pairs[0].source))
        if there is None or source is None:
            continue
        ends = there.look_many([pair.destination for pair in pairs], checksum=False, deadline=SECONDS)
        begins = source.look_many([pair.source for pair in pairs], checksum=False, deadline=SECONDS)
        found |= {pair.destination: looks for pair, *looks in zip(pairs, ends, begins, strict=True)}  # type: ignore[misc]
    return found


def _reject(home: Home, paper: Paper, number: int, one: tuple[str, str, str], list_id: int) -> dict[str, Any]:
    text, kind, why = one
    row = new_row(home, Pair(text, ""), reject_key(paper.name, number, text), BAD, list_id)
    return row | {"error_class": kind, "reason": why, "tries": 0}
