"""Lost tables: what was under way. The lists in DOING say which job at which server; the servers say whether they know it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, select, update

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.journal import Move, advance
from dmtools.ledger.types import AnyRow
from dmtools.migrate.home import Home
from dmtools.migrate.papers import Paper, is_child, papers
from dmtools.migrate.rebuild_rows import Masters, book_files, known_places, list_ids, new_row
from dmtools.migrate.states import BAD, DOING, MISSING, STATES, TODO
from dmtools.spool import folders as at
from dmtools.spool.listfile import Pair
from dmtools.storage import Present, client_for, scheme_of
from dmtools.transfers import lists
from dmtools.transfers.servers import Servers, ask
from dmtools.transfers.status import BULK, JobStatus, job_id
from dmtools.transfers.submit import CLOSED, INTENT, SUBMITTED

J, T, F = tables.ftsjob.c, tables.transfer.c, tables.filelist.c
SECONDS = 3600


@dataclass
class Opened:
    """Lists under way and waiting, what the servers know of their jobs, what the sources are."""

    children: list[Paper] = field(default_factory=list)  # rests of lists that still stand in DOING
    doing: list[Paper] = field(default_factory=list)
    todo: list[Paper] = field(default_factory=list)
    status: dict[str, JobStatus] = field(default_factory=dict)
    vos: dict[str, str] = field(default_factory=dict)
    sources: dict[str, Present] = field(default_factory=dict)
    whole: bool = True  # all tables are lost; False: single lists are added to tables that know the others
    spent: list[str] = field(default_factory=list)  # lists in DOING whose files are all accounted for elsewhere


def read(this: Pass, home: Home, doing: list[str] | None = None) -> Opened:
    """Reads the directories, asks the servers (once) and the sources of what is under way."""
    found = Opened(doing=[p for p in papers(home, at.DOING, doing) if p.has_attempt], whole=doing is None)
    if doing is None:
        there = {paper.name for paper in found.doing}
        for paper in papers(home, at.TODO):
            if paper.name not in there:  # in both: the attempt is open, the copy in TODO is set aside
                (found.children if is_child(paper.name, there) else found.todo).append(paper)
    if found.doing:
        servers = ask(this.settings, {paper.content.notes["server"] for paper in found.doing})
        _ask_servers(this, servers, found)
        _look_at_sources(this, found)
    return found


def _ask_servers(this: Pass, servers: Servers, found: Opened) -> None:
    from dmtools.transfers.fts import Away, CredentialsRefused

    for name, server in servers.up.items():
        jobs = [paper.content.notes["job"] for paper in found.doing if paper.content.notes["server"] == name]
        try:
            found.vos[name] = server.vo
            for start in range(0, len(jobs), BULK):
                found.status |= {status.job: status for status in server.statuses(jobs[start : start + BULK])}
        except (Away, CredentialsRefused) as problem:
            this.log(f"{name} did not say what it knows of our jobs: {problem}")
    for name, why in {**servers.away, **servers.refused}.items():
        this.problem(
            "FTS server away",
            name,
            why=why,
            left="its attempts are booked as perhaps sent: the same jobs go there again, under the same ids",
            next="the next passes ask it",
            failed=False,
        )


def _look_at_sources(this: Pass, found: Opened) -> None:
    urls: dict[str, list[str]] = {}
    for paper in found.doing:
        for pair in paper.content.pairs:
            urls.setdefault(scheme_of(pair.source), []).append(pair.source)
    for some in urls.values():
        store = client_for(some[0], this.settings)
        if store is not None:
            looks = store.look_many(some, checksum=True, deadline=SECONDS)
            found.sources |= {url: look for url, look in zip(some, looks, strict=True) if isinstance(look, Present)}


def book(connection: Connection, home: Home, found: Opened, to: Masters, counts: Counter[str], *, by: str) -> None:
    """The rows of all that is open, the better witness first."""
    for paper in found.children:
        _todo(connection, home, paper, to, counts, by)
    for paper in found.doing:
        _doing(connection, home, paper, found, to, counts, by)
    for paper in found.todo:
        _todo(connection, home, paper, to, counts, by)


# ---- lists that wait


def _todo(connection: Connection, home: Home, paper: Paper, to: Masters, counts: Counter[str], by: str) -> None:
    """A list that comes from an earlier attempt has rows for its files; a new one is only counted."""
    list_id = list_ids(connection, home.id, [paper], to, lists.TODO)[paper.name]
    rows: list[dict[str, Any]] = []
    if paper.was_tried:
        known = known_places(connection, (pair.destination for pair in paper.content.pairs))
        for pair in paper.content.pairs:
            key = names.key(pair.destination)
            if key not in known and key not in {row["place_key"] for row in rows}:
                rows.append(new_row(home, pair, key, TODO, list_id) | _earlier(paper))
    book_files(connection, rows, at.TODO, by=by)
    files = len(rows) or len(paper.content.pairs) + len(paper.content.bad)
    values = {"state": lists.TODO, "planned": int(bool(rows)), "files": files, "attempt": paper.number("attempt")}
    connection.execute(update(tables.filelist).where(F.id == list_id).values(values))
    counts["lists in TODO"] += 1


def _earlier(paper: Paper) -> dict[str, int]:
    """What earlier attempts left: at most so many failures, and whether what stands there may be replaced."""
    return {
        "failures": paper.number("failures"),
        "overwrite": min(1, paper.number("overwrite")),
        "tries": max(1, paper.number("attempt")),
    }


# ---- lists under way


def _doing(connection: Connection, home: Home, paper: Paper, found: Opened, to: Masters, counts: Counter[str], by: str) -> None:
    known = known_places(connection, (pair.destination for pair in paper.content.pairs))
    pairs: dict[bytes, Pair] = {}
    settled = False
    for pair in paper.content.pairs:
        row = known.get(names.key(pair.destination))
        if row is None or (not found.whole and row.state in (TODO, BAD, MISSING)):
            pairs.setdefault(names.key(pair.destination), pair)
        else:
            settled = True  # another list accounts for it: the outcome of this attempt was booked
    list_id = list_ids(connection, home.id, [paper], to, lists.DONE)[paper.name]
    state = _state(paper, found, list(pairs.values()), settled) if pairs else CLOSED
    if state is None:
        counts["lists in DOING left as they are: their job has other files"] += 1
        return
    job = _book_job(connection, home, paper, list_id, state, found, pairs)
    if not pairs:
        found.spent.append(paper.name)
        return
    after = TODO if state == CLOSED else DOING
    _book_going(connection, home, paper, list_id, job, after, pairs, known, found, by)
    where = lists.TODO if state == CLOSED else lists.DOING
    values = {"state": where, "planned": 1, "files": len(pairs), "attempt": paper.number("attempt")}
    connection.execute(update(tables.filelist).where(F.id == list_id).values(values))
    how = {SUBMITTED: "known at its server", INTENT: "to be sent again", CLOSED: "over"}[state]
    counts[f"lists in DOING, job {how}"] += 1


def _state(paper: Paper, found: Opened, pairs: Sequence[Pair], settled: bool) -> str | None:
    """Submitted: the server knows the job, with our files. Intent: perhaps sent; the same job goes there again."""
    status = found.status.get(paper.content.notes["job"])
    if status is None:
        return SUBMITTED if settled else INTENT
    if not status.state:
        return CLOSED if settled else INTENT
    theirs = {(file.source, file.destination) for file in status.files}
    return SUBMITTED if {(pair.source, pair.destination) for pair in pairs} <= theirs else None


def _book_job(
    connection: Connection, home: Home, paper: Paper, list_id: int, state: str, found: Opened, pairs: dict[bytes, Pair]
) -> int:
    notes, now = paper.content.notes, clock.now()
    status = found.status.get(notes["job"])
    going = list(pairs.values())
    row: dict[str, Any] = {"pipeline": "migrate", "list_id": list_id, "attempt": paper.number("attempt"), "state": state}
    row |= {word: notes[word] for word in ("server", "sid", "job")}
    row |= {"vo": _vo(paper, found), "fts_state": status.state or None if status else None, "files": len(going)}
    row |= {"bytes": sum(found.sources[p.source].size for p in going if p.source in found.sources), "since": now}
    row |= {"submitted": now if state == SUBMITTED else None, "closed": now if state == CLOSED else None}
    row |= {"rule": home.rules.match_of(going[0]) if going else None, "reason": "rebuilt from its list in DOING"}
    there = connection.execute(select(J.id).where(J.list_id == list_id, J.attempt == row["attempt"])).scalar()
    if there is not None:  # tables older than the directories: the attempt has another number there
        row["attempt"] = (
            int(
                connection.execute(select(J.attempt).where(J.list_id == list_id).order_by(J.attempt.desc())).scalars().first()
                or 0
            )
            + 1
        )
    done = connection.execute(insert(tables.ftsjob).values(row))
    assert done.inserted_primary_key is not None
    return int(done.inserted_primary_key[0])


def _vo(paper: Paper, found: Opened) -> str:
    """The VO from which the job's id follows: as it was noted, else the server's when it does give this id."""
    notes = paper.content.notes
    noted = names.decode(notes.get("vo", "")).decode("ascii", "replace")
    known = found.vos.get(notes["server"], "")
    return next((vo for vo in (noted, known) if vo and job_id(vo, notes["sid"]) == notes["job"]), noted or known)


def _book_going(
    connection: Connection,
    home: Home,
    paper: Paper,
    list_id: int,
    job: int,
    after: str,
    pairs: dict[bytes, Pair],
    known: dict[bytes, AnyRow],
    found: Opened,
    by: str,
) -> None:
    rows, moves = [], []
    for key, pair in pairs.items():
        look = found.sources.get(pair.source)
        size, checksum = (look.size, look.checksum) if look else (None, None)
        row = known.get(key)
        if row is None:
            new = new_row(home, pair, key, after, list_id) | _earlier(paper)
            rows.append(new | {"job_id": job, "size": size, "checksum": checksum})
        else:
            values = (("list_id", list_id), ("job_id", job), ("tries", row.tries + 1), ("error_class", None), ("reason", None))
            moves.append((row, Move(row.id, TODO, DOING, f"rebuilt from DOING/{paper.name}", row.size or 0, values=values)))
    book_files(connection, rows, at.DOING, by=by)
    now = clock.now()
    first = [Move(row.id, row.state, TODO, "rebuilt from DOING", row.size or 0) for row, _ in moves if row.state != TODO]
    advance(connection, tables.transfer, STATES, first, by=by, at=now)
    advance(connection, tables.transfer, STATES, [move for _, move in moves], by=by, at=now)


def finish(this: Pass, home: Home, found: Opened) -> None:
    """Lists in DOING that no file is under way of any more leave it."""
    for name in found.spent:
        path = home.folders.set_aside(at.DOING, name)
        this.log(f"DOING/{name}: all its files are accounted for in other lists; it is now {path}")
