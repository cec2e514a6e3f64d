"""Lists from TODO -> FTS jobs over the servers by weight -> DOING.

Order: the plan (tables and source storage are only read) -> rows and intent in one transaction -> the list in DOING, with
the intent as a note, durable -> the lease is looked at again -> POST -> the answer is booked. A kill in between leaves an
intent: the same job goes to the same server again (`resume`), never a second one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from random import Random

from sqlalchemy.exc import IntegrityError

from dmtools import clock, names
from dmtools.command import Unavailable
from dmtools.control import sightings
from dmtools.control.passes import Pass
from dmtools.ledger.engine import Stale
from dmtools.ledger.schema import installation_id
from dmtools.spool import folders as at
from dmtools.spool import listfile
from dmtools.spool.listfile import ListFile, ListUnreadable
from dmtools.transfers import lists, plan, pressure, project, recover, submit, verdict
from dmtools.transfers.conclude import conclude_all
from dmtools.transfers.lists import ListRow
from dmtools.transfers.plan import ListPlan
from dmtools.transfers.resume import resume
from dmtools.transfers.road import Road
from dmtools.transfers.sending import Sending
from dmtools.transfers.servers import Servers, choose, new_dice
from dmtools.transfers.servers import ask as ask_servers
from dmtools.transfers.submit import Intent

BATCH = 50  # lists a transaction
GOING = frozenset(("TODO", "DOING"))
LOOK_AHEAD = 500
BYTES_SECONDS = 300  # a list that is too much for this hour is looked at again
CLOCKS_DIFFER = timedelta(minutes=1)  # more than that between hosts: a clock was set


@dataclass(frozen=True)
class Work:
    """What one pass works with."""

    this: Pass
    road: Road
    servers: Servers
    sending: Sending
    dice: Random
    installation: str


def dispatch(this: Pass, road: Road, *, most: int = 0) -> None:
    """Submits at most `most` lists (0: all that are due). Raises Unavailable when no server can be used."""
    if this.dry_run:
        _dry(this, road, most)
        return
    servers = ask_servers(this.settings, for_jobs=True)
    tell_away(this, servers)
    if servers.all_away():
        named = ", ".join(s.name for s in this.settings.fts.servers)
        raise Unavailable("no FTS server", named, "none of them can be used now", "the next pass asks again")
    resume(this, road, servers)
    if not any(server.weight > 0 for server in servers.up.values()):
        named = ", ".join(servers.up)
        raise Unavailable("no FTS server for new jobs", named, "those that answer have the weight 0", "the next pass asks again")
    _dispatch(this, road, servers, most)


def _dispatch(this: Pass, road: Road, servers: Servers, most: int) -> None:
    left = most or None
    with Sending(this, road, servers) as sending:
        with this.ledger.read() as connection:
            work = Work(this, road, servers, sending, new_dice(), installation_id(connection))
        for batch in _due(this, road, clock.now()):
            room = pressure.room(this, road)
            if room <= 0:
                this.log(f"{road.max_open_jobs} jobs are open: nothing more is submitted now")
                return
            if not this.goes():
                return
            done = _take(work, batch, min(room, BATCH if left is None else left))
            if left is not None:
                left -= done
                if left <= 0:
                    return


def _due(this: Pass, road: Road, now: datetime) -> Iterator[list[str]]:
    """Names of lists in TODO whose time has come, oldest first, in batches; those that wait don't stand in the others' way."""
    due: list[str] = []
    names_ = iter([name for name in road.folders.names(at.TODO) if name != "ListOfLFNs"])
    while part := list(islice(names_, LOOK_AHEAD)):
        rows = recover.adopt(this, road, part)
        due += [name for name in part if (name in rows and _is_due(rows[name], now)) or (this.dry_run and name not in rows)]
        while len(due) >= BATCH:
            yield due[:BATCH]
            due = due[BATCH:]
    if due:
        yield due


def _is_due(row: ListRow, now: datetime) -> bool:
    if row.state == lists.DONE:
        return True  # put back by hand
    set_back = row.since > now + CLOCKS_DIFFER  # the clock that gave its time was wrong: so is the end of its wait
    return row.state == lists.TODO and (row.next_try is None or row.next_try <= now or set_back)


def _take(work: Work, wanted: Sequence[str], most: int) -> int:
    """Claims these lists; plans, books, moves and begins to send the first `most` that may go. Gives how many were taken."""
    this = work.this
    with this.ledger.read() as connection:
        rows = lists.by_names(connection, work.road.pipeline, work.road.home, wanted)
    granted = list(this.leases.claim([row.resource for row in rows.values()]))
    try:
        with this.ledger.read() as connection:  # again, now that they are ours
            mine = lists.by_ids(connection, [row.id for row in rows.values() if row.resource in granted])
        taken, intents = _book(work, list(mine.values()), most)
    except BaseException:
        this.leases.release(granted)
        raise
    work.sending.send(intents, granted)
    return taken


def _book(work: Work, mine: Sequence[ListRow], most: int) -> tuple[int, list[Intent]]:
    this, road = work.this, work.road
    contents = list(islice(_ready(this, road, mine, pressure.Rooms(this, road, clock.now())), most))
    for _ in range(3 if contents else 0):
        with this.ledger.read() as connection:
            plans = plan.plan_lists(connection, contents, done=verdict.OKAY, going=GOING, lfn_of=road.rules.lfn)
        plan.look_at_sources(plans, this.settings, check=road.check_source)
        plan.look_at_destinations(plans, this.settings)
        plans = _bear(this, plans, pressure.Rooms(this, road, clock.now()))
        try:
            return _book_plans(work, plans)
        except IntegrityError:  # another consumer booked one of these destinations since we looked: look again
            continue
    return 0, []


def _ready(this: Pass, road: Road, rows: Iterable[ListRow], rooms: pressure.Rooms) -> Iterator[tuple[ListRow, ListFile]]:
    """Those that may go now, with their content: one whose rule has no room does not stand in the others' way."""
    now = clock.now()
    for row in rows:
        if _is_due(row, now) and (content := _read(this, road, row)) is not None and rooms.take(content.pairs):
            yield row, content


def _bear(this: Pass, plans: list[ListPlan], rooms: pressure.Rooms) -> list[ListPlan]:
    """Those whose bytes the hour bears; the others wait, and say why."""
    borne = []
    for one in plans:
        why = None if one.wait is not None else rooms.bear(one)
        if why is None:
            borne.append(one)
        else:
            until = clock.now() + timedelta(seconds=BYTES_SECONDS)
            this.ledger.transact(lambda c, row=one.row, why=why, until=until: lists.wait(c, row, until, why))  # type: ignore[misc]
            this.log(f"{one.row.name} waits until {clock.local(until)}: {why}")
    return borne


def _read(this: Pass, road: Road, row: ListRow) -> ListFile | None:
    try:
        return listfile.read(road.folders.path(at.TODO, row.name), any_name=road.any_name)
    except FileNotFoundError:
        return None
    except ListUnreadable as problem:
        recover.set_aside(this, road, row.name, str(problem))
        return None


def _book_plans(work: Work, plans: list[ListPlan]) -> tuple[int, list[Intent]]:
    this, road, now = work.this, work.road, clock.now()
    _put_off(this, road, [p for p in plans if p.wait is not None], now)
    orders = []
    for one in plans:
        if one.wait is None:
            server = choose(work.servers.up, work.dice)
            first = one.files[0].pair if one.files else None
            orders.append(submit.Order(one, server, road.rules.match_of(first) if first else None))
    if not orders:
        return 0, []
    installation = work.installation
    try:
        intents = this.ledger.transact(
            lambda c: submit.book(c, orders, road.states, installation=installation, by=this.by, at=now)
        )
    except Stale as problem:
        this.log(f"{problem}; left to it")
        return 0, []
    _tell(this, orders)
    with this.ledger.read() as connection:
        rows = lists.by_ids(connection, [o.plan.row.id for o in orders])
    project.rows(this, road.folders, list(rows.values()))
    conclude_all(this, [row for row in rows.values() if row.state == lists.SETTLING])
    return len(orders), intents


def _put_off(this: Pass, road: Road, plans: list[ListPlan], now: datetime) -> None:
    until = now + timedelta(seconds=min(600, road.patience.seconds))
    for one in plans:
        why = one.wait or ""
        this.ledger.transact(lambda c, row=one.row, why=why: lists.wait(c, row, until, why))  # type: ignore[misc]
        this.problem(
            "source storage in trouble",
            one.row.name,
            why=why,
            left="its files stay in TODO, no attempt is counted",
            next=f"tried again after {clock.local(until)}",
            failed=False,
        )


def _tell(this: Pass, orders: Sequence[submit.Order]) -> None:
    for order in orders:
        one = order.plan
        this.moved("TODO", "DOING", len(one.of(plan.GO)))
        this.moved("TODO", "Missing", len(one.of(plan.MISSING)))
        this.moved("TODO", "Bad", len(one.of(plan.BAD)))
        for planned in one.of(plan.MISSING) + one.of(plan.BAD):
            folder = at.MISSING if planned.act == plan.MISSING else at.BAD
            this.problem(
                "missing at the source" if planned.act == plan.MISSING else "bad line",
                names.shown(planned.name),
                why=planned.reason or "",
                left=f"kept in {folder}/{one.row.name}; the other files go on",
                next="put it right, then move that file to TODO",
            )
        for lfn, why in one.told:
            this.problem(
                "not moved twice",
                names.shown(lfn),
                why=f"{why}",
                left=f"its line in {one.row.name} is dropped, the file itself is accounted for",
                next=f"nothing; dm-trace {names.shown(lfn)} shows its life",
                failed=False,
            )


def tell_away(this: Pass, servers: Servers) -> None:
    """Servers that can't be used now: said, and the others work."""
    for name, why in servers.away.items():
        this.problem(
            "FTS server away",
            name,
            why=why,
            left="its jobs stay as they are",
            next="it is asked again at each pass",
            failed=False,
        )
    for name, why in servers.refused.items():
        this.problem(
            "no credentials for an FTS server",
            name,
            why=why,
            left="its jobs stay as they are",
            next="renew the proxy or token",
            failed=False,
        )
    sightings.servers(this.ledger, this.report.pipeline, servers.up, servers.away, servers.refused)


def _dry(this: Pass, road: Road, most: int) -> None:
    listed = [n for part in _due(this, road, clock.now()) for n in part]
    for name in listed[: most or None]:
        try:
            found = listfile.read(road.folders.path(at.TODO, name), any_name=road.any_name)
        except (ListUnreadable, FileNotFoundError) as problem:
            this.plan(f"would set {name} aside: it {problem}")
            continue
        this.plan(f"would submit {name}: {len(found.pairs)} files, {len(found.bad)} bad lines")
