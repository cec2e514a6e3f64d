"""One pass of daq-archive: what ended is booked first, then what is ready moves on, then new jobs begin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select

from dmtools.batch import BatchAway, Room
from dmtools.command import Unavailable
from dmtools.control.passes import Pass
from dmtools.daq.home import Home
from dmtools.daq.states import AT_SITE, ON_TAPE, TO_TAPE, WAITING, ZIPPED, ZIPPING
from dmtools.daq.zips import F, Z
from dmtools.ledger import tables

OPEN = ("cut", "TODO", "DOING", "settling")  # lists of the engine that aren't done


@dataclass
class Away:
    """Whom this pass needed, and who of them is away."""

    asked: set[str] = field(default_factory=set)
    why: dict[str, Unavailable] = field(default_factory=dict)

    def settle(self, this: Pass) -> None:
        """Tells who is away. Raises Unavailable when all are, and nothing but intents was booked."""
        if self.why and self.asked <= self.why.keys() and this.report.counts.keys() <= {f"{AT_SITE}>{ZIPPING}"}:
            last = self.why.pop(max(self.why))
            self._tell(this)
            raise last
        self._tell(this)

    def _tell(self, this: Pass) -> None:
        for one in self.why.values():
            this.problem(one.what, one.subject, why=one.why, left=one.left, next=one.next_step, failed=False)


def archive(this: Pass) -> None:
    """One pass over all that is open."""
    counts = _counts(this)
    if not any(counts.values()) and not _has_leftovers(this):
        return
    from dmtools.batch import room_for

    home, room, away = Home.of(this), room_for(this.settings, this.settings.daq.batch), Away()
    if counts[ZIPPING]:
        _jobs(this, home, room, away)
    _tape(this, home, away)
    if _any(this, ON_TAPE) and this.goes(new=False):
        from dmtools.daq import cleaning

        cleaning.clean(this)
    _new_jobs(this, home, room, away)
    if this.goes(new=False) and room.name not in away.why:
        from dmtools.daq import leftovers

        leftovers.sweep(this, home, room)
    away.settle(this)


def _jobs(this: Pass, home: Home, room: Room, away: Away) -> None:
    from dmtools.daq import results

    away.asked.add(room.name)
    if why := results.follow(this, home, room):
        away.why[room.name] = batch_away(room, why)


def _tape(this: Pass, home: Home, away: Away) -> None:
    """The engine's lists and jobs; an FTS that is away keeps nobody from booking what is known."""
    zipped = _any(this, ZIPPED)
    if not (zipped or _any(this, TO_TAPE) or _has_lists(this, home)) or not this.goes(new=False):
        return
    from dmtools.daq import tape
    from dmtools.daq.road import road
    from dmtools.transfers import carry

    way = road(this, home)

    def ask(act: Callable[[], object]) -> None:
        try:
            act()
        except Unavailable as problem:
            away.why["FTS"] = problem

    carry.mend(this, way)
    if _has_lists(this, home):
        away.asked.add("FTS")
        ask(lambda: carry.watch(this, way))
    tape.follow(this)
    if zipped and this.goes():
        tape.put(this, way)
        carry.mend(this, way)
    if _has_lists(this, home) and this.goes():
        away.asked.add("FTS")
        ask(lambda: carry.submit(this, way))


def _new_jobs(this: Pass, home: Home, room: Room, away: Away) -> None:
    """Files at the site become zips, Waiting ones jobs, while there is room for more."""
    if room.name in away.why or not this.goes():
        return
    from dmtools.daq import choosing, jobs

    if why := jobs.refused(this.settings):
        away.asked.add(room.name)
        away.why[room.name] = no_credentials(why)
        return
    with this.ledger.read() as connection:
        free = this.settings.daq.max_jobs - jobs.count(connection, home, room)
        ready = jobs.due(connection, max(0, free))
    if len(ready) < free:
        choosing.choose(this, free - len(ready))
    try:
        jobs.resend(this, home, room)
        if free > 0:
            with this.ledger.read() as connection:
                ready = jobs.due(connection, free)
            jobs.submit(this, home, room, ready)
    except BatchAway as problem:
        away.why[room.name] = batch_away(room, str(problem))
    if ready or room.name in away.why:
        away.asked.add(room.name)


def batch_away(room: Room, why: str) -> Unavailable:
    """The batch system doesn't answer."""
    left = "its jobs stay as they are; no other one is submitted"
    return Unavailable("batch system away", room.name, why, "the next pass asks again", left=left)


def no_credentials(why: str) -> Unavailable:
    """Jobs that would fail at the storage are not begun."""
    left = "no zip job is begun; those that are open go on"
    return Unavailable("no credentials for zip jobs", "site storage", why, "renew the proxy or token", left=left)


def plan(this: Pass) -> None:
    """What a pass would do; nothing is changed and nobody is asked."""
    counts = _counts(this)
    with this.ledger.read() as connection:
        unchosen = connection.execute(select(func.count()).where(F.state == AT_SITE, F.zip_id.is_(None))).scalar_one()
    said = (
        (counts[ZIPPING], "would ask for {} zip jobs and book those that ended"),
        (counts[TO_TAPE], "would look at {} zips on their way to tape and prove those that came"),
        (counts[ON_TAPE], "would remove {} zips at the site that are proved on tape"),
        (counts[ZIPPED], "would send {} zips to tape"),
        (unchosen, "would choose {} files at the site for new zips"),
        (counts[WAITING], f"would submit zip jobs for {{}} zips, at most {this.settings.daq.max_jobs} open at a time"),
    )
    for n, text in said:
        if n:
            this.plan(text.format(n))


def retry(this: Pass, names: Sequence[str]) -> None:
    """Takes up Bad files by LFN or error class."""
    from dmtools.daq import retrying

    retrying.retry(this, names)


def abandon(this: Pass, server: str, *, yes: bool, force: bool) -> None:
    """Frees the zips that a dead FTS server holds."""
    from dmtools.daq.road import road
    from dmtools.transfers.giving_up import give_up

    done = give_up(this, road(this, Home.of(this)), server, yes=yes, force=force, why="")
    if not this.dry_run:
        this.context.say(f"{done} jobs of {server} were closed; their zips go to another server in two minutes")


def adopt(this: Pass, home_id: str, *, yes: bool, force: bool) -> None:
    """Takes over what a HOME that is gone had under way."""
    from dmtools.daq import adopting

    done = adopting.adopt(this, home_id, yes=yes, force=force)
    if not this.dry_run:
        this.context.say(f"{done} zips and lists of {home_id} were taken over; the next passes go on with them")


def _counts(this: Pass) -> dict[str, int]:
    """How many zips are in each open state, and 1 for WAITING when files wait to be chosen."""
    states = (WAITING, ZIPPING, ZIPPED, TO_TAPE, ON_TAPE)
    with this.ledger.read() as connection:
        rows = connection.execute(select(Z.state, func.count()).where(Z.state.in_(states)).group_by(Z.state))
        found = dict.fromkeys(states, 0) | {row[0]: row[1] for row in rows}
        at_site = select(F.id).where(F.state == AT_SITE, F.zip_id.is_(None)).limit(1)
        if not this.dry_run and not found[WAITING] and connection.execute(at_site).first() is not None:
            found[WAITING] = 1
    return found


def _any(this: Pass, state: str) -> bool:
    with this.ledger.read() as connection:
        return connection.execute(select(Z.id).where(Z.state == state).limit(1)).first() is not None


def _has_lists(this: Pass, home: Home) -> bool:
    """Has the engine a list of ours that isn't done?"""
    column = tables.filelist.c
    query = select(column.id).where(column.pipeline == "daq", column.state.in_(OPEN), column.home == home.id).limit(1)
    with this.ledger.read() as connection:
        return connection.execute(query).first() is not None


def _has_leftovers(this: Pass) -> bool:
    """Are there directories of jobs?"""
    place = this.home / "daq" / "jobs"
    return place.is_dir() and any(place.iterdir())
