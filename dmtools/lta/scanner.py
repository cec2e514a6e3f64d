"""One pass of lta-bundle-scanner: what ended is booked, new zips are found, what is next goes on its way, room is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from sqlalchemy import select

from dmtools import names
from dmtools.command import Unavailable
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.lta import outbound, sites
from dmtools.lta.api import answer
from dmtools.lta.api.bundles import Bundle, GetBundle
from dmtools.lta.api.sites import SiteState
from dmtools.lta.home import Home
from dmtools.lta.office import books_of
from dmtools.lta.refusals import refusals
from dmtools.lta.scan import Scan
from dmtools.lta.states import JSON_MADE, NERSC_CLEAN, PUSH_PROBLEM, QUARANTINED, RETRY, UNTOUCHED
from dmtools.lta.work import Work

if TYPE_CHECKING:
    from dmtools.lta.pushing import Pushes

OPEN = ("cut", "TODO", "DOING", "settling")  # lists of the engine that aren't done
FEW = 100


def scan(this: Pass) -> None:
    """One pass over all that is open."""
    with refusals():
        _scan(this)


def _scan(this: Pass) -> None:
    work = Work(this, books_of(this), Home.of(this))
    if not work.goes(new=False):
        return
    error = outbound.trouble(this.settings)
    sites.post(work, sum(1 for _ in work.bundles(JSON_MADE)), error)
    remote = sites.remote(work)
    sites.tell(work, remote)
    fts = Engine(work)
    fts.follow()
    if not error and work.goes():
        error = Scan(work).run()
        if error:
            sites.post(work, sum(1 for _ in work.bundles(JSON_MADE)), error)
    if error:
        left, advice = "bundles that are known go on", "mount it, or look at its disk and owner; the next pass looks again"
        this.problem("outbound can't be read", this.settings.lta.outbound, why=error, left=left, next=advice)
    if work.goes():
        fts.begin(remote)
    if this.settings.lta.free_local == "verified" and not error and work.goes(new=False):
        from dmtools.lta.freeing import Freeing

        Freeing(work).run(work.bundles(NERSC_CLEAN))
    fts.settle()


class Engine:
    """The pass's side of the transfer engine; one that is away keeps nobody from the other steps."""

    def __init__(self, work: Work) -> None:
        from dmtools.lta.road import road

        self._work, self._this = work, work.this
        self._way = road(work.this, work.home)
        self._away: Unavailable | None = None

    def follow(self) -> None:
        """Asks the servers for what is under way, and books what ended."""
        if self._has_lists():
            from dmtools.transfers import carry

            self._ask(lambda: carry.watch(self._this, self._way))
        if next(self._work.bundles(JSON_MADE), None) is not None:
            self._push(lambda pushes: pushes.follow())

    def begin(self, remote: SiteState | None) -> None:
        """What is next goes on the road, and all that waits in lists to the servers."""
        waiting = list(islice(self._work.bundles(UNTOUCHED, PUSH_PROBLEM, RETRY), FEW))
        if waiting:
            self._push(lambda pushes: pushes.begin())
            self._tell_quota(waiting, remote)
        if self._has_lists() and self._work.goes():
            from dmtools.transfers import carry

            self._ask(lambda: carry.submit(self._this, self._way))

    def _push(self, act: Callable[[Pushes], object]) -> None:
        """One scanner of a HOME at a time."""
        from dmtools.lta.pushing import Pushes

        with self._work.alone("pushes") as lease:
            if lease is not None:
                act(Pushes(self._work, self._way, lease))

    def settle(self) -> None:
        """Raises Unavailable when no server could be asked and nothing else came of the pass; else that is told."""
        if self._away is None:
            return
        if self._this.report.counts.keys() <= {f"{UNTOUCHED}>{JSON_MADE}", f"{PUSH_PROBLEM}>{JSON_MADE}"}:
            raise self._away
        one = self._away
        self._this.problem(one.what, one.subject, why=one.why, left=one.left, next=one.next_step, failed=False)

    def _ask(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Unavailable as problem:
            self._away = problem

    def _has_lists(self) -> bool:
        """Has the engine a list of ours that isn't done?"""
        column = tables.filelist.c
        query = select(column.id).where(column.pipeline == "lta", column.state.in_(OPEN), column.home == self._work.home.id)
        with self._this.ledger.read() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def _tell_quota(self, waiting: Sequence[Bundle], remote: SiteState | None) -> None:
        """Why what waits did not go, where it is the other site's room."""
        if not waiting:
            return
        if remote is None or remote.quota is None:
            said = "it never posted anything" if remote is None else "it posted no quota"
            left, advice = "nothing is pushed while its room is not known", "look whether lta-nersc-client runs there"
            self._this.problem("quota not known", self._work.destination, why=said, left=left, next=advice, failed=False)
            return
        for one in waiting:
            if one.size > remote.quota and self._is_set_aside(one):
                self._this.moved(one.state, QUARANTINED)
                why = f"its {one.size:,} bytes are more than the whole quota of {one.destination}, {remote.quota:,} bytes"
                left, advice = (
                    "its zip stays in outbound",
                    f"raise the quota, then: lta-bundle-scanner --reset {one.id} --reason TEXT",
                )
                self._this.problem(QUARANTINED, names.shown(one.ideal), why=why, left=left, next=advice)

    def _is_set_aside(self, one: Bundle) -> bool:
        return answer(self._work.books, GetBundle(id=one.id), Bundle).state == QUARANTINED


def plan(this: Pass) -> None:
    """What a pass would do; nothing is changed, no server is asked but that of the tables."""
    with refusals():
        _plan(this)


def _plan(this: Pass) -> None:
    work = Work(this, books_of(this), Home.of(this))
    if error := outbound.trouble(this.settings) or Scan(work).run():
        this.plan(f"can't look for new zips: {error}")
    going = sum(1 for _ in work.bundles(JSON_MADE))
    waiting = sum(1 for _ in work.bundles(UNTOUCHED, PUSH_PROBLEM))
    remote = sites.remote(work)
    if going:
        this.plan(f"would ask for {going} pushes that are under way")
    if waiting and (remote is None or remote.quota is None):
        this.plan(f"would push none of {waiting} bundles that wait: the quota of {work.destination} is not known")
    elif waiting:
        room = max(0, this.settings.lta.max_pushes - going)
        this.plan(f"would push at most {room} of {waiting} bundles that wait")
    clean = sum(1 for _ in work.bundles(NERSC_CLEAN)) if this.settings.lta.free_local == "verified" else 0
    if clean:
        this.plan(f"would delete the zips of {clean} bundles that are proved on tape, as far as copies are proved")


def order(this: Pass, what: str, wanted: Sequence[str], reason: str) -> None:
    """A person's word about bundles: reset, retry or abort."""
    from dmtools.lta.persons import order as carry_out

    with refusals():
        carry_out(this, what, wanted, reason)


def abandon(this: Pass, server: str, *, yes: bool, force: bool, why: str) -> None:
    """Frees the bundles that a dead FTS server holds."""
    from dmtools.lta.road import road
    from dmtools.transfers.giving_up import give_up

    done = give_up(this, road(this, Home.of(this)), server, yes=yes, force=force, why=why)
    if not this.dry_run:
        this.context.say(f"{done} jobs of {server} were closed; their bundles go to another server in two minutes")
