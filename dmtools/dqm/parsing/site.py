"""One site: its live page and its old runs published, its standing written to site.json, troubles told once."""

from __future__ import annotations

import time
from datetime import datetime

import msgspec

from dmtools import clock
from dmtools.control.passes import Pass
from dmtools.dqm import freshness, pages, places, record
from dmtools.dqm.parsing.broken import Broken
from dmtools.dqm.parsing.making import Maker
from dmtools.dqm.parsing.publishing import Outcome, Place
from dmtools.dqm.parsing.understanding import grabbed
from dmtools.dqm.record import RobberSays, SiteSays
from dmtools.settings.dqm import Site as SiteSettings

HEARTBEAT = 1.0  # seconds between two site.json when nothing else is new
TELL_AGAIN = 3600.0
RETRY = 2.0  # seconds, when a disk refused


class Site:
    """Begins from what the public area holds, so a pass that ends and one that goes on do the same."""

    def __init__(self, this: Pass, site: SiteSettings, maker: Maker) -> None:
        self._this, self._site, self._maker = this, site, maker
        self._raw, self._public = (area.path / site.name for area in places.areas(this.settings))
        self._live = Place(places.live(self._raw), places.live(self._public), (site.name, None), maker)
        self._runs: dict[int, Place] = {}
        self._old_broken: set[int] = set()
        self._broken = Broken(self._raw)
        self._says = record.read(self._public / "site.json", SiteSays)
        self._outcome: Outcome | None = None
        self._written = self._not_before = 0.0
        self._booked = ""
        self._told: dict[str, tuple[object, float]] = {}

    def look(self) -> None:
        """One round. A disk that refuses is told, and asked again a little later."""
        if time.monotonic() < self._not_before:
            return
        try:
            self._look()
        except OSError as problem:
            self._not_before = time.monotonic() + RETRY
            self._tell_disk(problem)

    def _look(self) -> None:
        if (outcome := self._live.look(dry_run=self._this.dry_run)) is not None:
            self._outcome = outcome
            self._take(outcome, "live")
        wanted = self.wanted_runs()
        for run in wanted:
            self._look_at_run(run)
        self._runs = {run: place for run, place in self._runs.items() if run in wanted}
        self._old_broken &= set(wanted)
        self._write()

    def wanted_runs(self) -> list[int]:
        """The old runs that are kept: the newest of those that were grabbed or are published."""
        found = {*places.runs(self._raw), *places.runs(self._public)}
        return sorted(found, reverse=True)[: self._this.settings.dqm.old_runs]

    def _look_at_run(self, run: int) -> None:
        if run not in self._runs:
            raw, public = places.run(self._raw, run), places.run(self._public, run)
            self._runs[run] = Place(raw, public, (self._site.name, run), self._maker)
        try:
            outcome = self._runs[run].look(dry_run=self._this.dry_run)
        except OSError as problem:  # one bad run stops no other
            self._tell_disk(problem)
            return
        if outcome is not None:
            self._old_broken -= {run}
            self._old_broken |= set() if outcome.page else {run}
            self._take(outcome, f"runs/{run}")

    # ---- what is told ----------------------------------------------------------------------------------------------

    def _take(self, outcome: Outcome, place: str) -> None:
        where = f"{self._site.name}/{place}"
        if self._this.dry_run:
            jobs = f"{len(outcome.page.jobs)} jobs" if outcome.page else "not understood"
            self._this.plan(f"would read {where} of {clock.iso(outcome.raw.made)}: {jobs}")
            return
        if outcome.news is not None:
            self._this.moved("raw", "public")
        if self._is_news(place, {(one.what, one.subject) for one in outcome.troubles}):
            self._tell_troubles(outcome, where)
        try:
            self._broken.tell(place, outcome.raw, outcome.troubles, shown=outcome.page is not None)
        except OSError as problem:  # the raw area may be another machine's
            self._this.log(f"{where}: broken.json can't be written: {problem.strerror}")

    def _is_news(self, place: str, troubles: object) -> bool:
        """Was it not told in the last hour? A page that is grabbed each second is broken each second."""
        before, at = self._told.get(place, (set(), 0.0))
        if before == troubles and (not troubles or time.monotonic() - at < TELL_AGAIN):
            return False
        self._told[place] = (troubles, time.monotonic())
        return True

    def _tell_troubles(self, outcome: Outcome, where: str) -> None:
        for one in outcome.troubles[:20]:
            self._this.log(f"{where} {outcome.raw.path.name}: {one.what}: {one.subject}: {one.fragment!r}")
        if not outcome.troubles:
            return
        kinds = sorted({one.what for one in outcome.troubles})
        self._this.problem(
            "not understood",
            where,
            why=f"places of {outcome.raw.path} that this program does not know: {len(outcome.troubles)} ({', '.join(kinds)})",
            left="these places are shown empty" if outcome.page else "what was shown before stays, with its age",
            next=f"look at {self._raw / 'broken.json'}: has the page changed?",
            failed=outcome.page is None,
        )

    def _tell_disk(self, problem: OSError) -> None:
        self._this.problem(
            "can't be written or read",
            str(problem.filename or self._public),
            why=problem.strerror or str(problem),
            left="what was shown before stays, with its age",
            next="the next round tries again; see to that disk",
        )

    # ---- how it stands ---------------------------------------------------------------------------------------------

    def _write(self) -> None:
        if self._this.dry_run:
            return
        robber = record.read(self._raw / "robber.json", RobberSays)
        says = self._standing(robber)
        before, now = self._says, time.monotonic()
        quiet = before is not None and msgspec.structs.replace(before, at=says.at) == says
        if not (quiet and now - self._written < HEARTBEAT):
            self._public.mkdir(parents=True, exist_ok=True, mode=0o750)
            record.write(self._public / "site.json", says)
            self._written, self._says = now, says
        self._book(says)

    def _book(self, says: SiteSays) -> None:
        from dmtools.ledger import LedgerUnavailable

        verdict = freshness.judge(says, self._this.settings.dqm, clock.now())
        if verdict.state == self._booked:
            return
        try:
            pages.book(self._this, self._site.name, verdict)
            self._booked = verdict.state
        except LedgerUnavailable as problem:
            if self._is_news("books", str(problem)):
                self._this.log(f"{self._site.name}: its state can't be booked, the page goes on: {problem}")

    def _standing(self, robber: RobberSays | None) -> SiteSays:
        page = self._live.shown
        trouble = robber.trouble if robber else ""
        return SiteSays(
            site=self._site.name,
            title=self._site.title or self._site.name,
            at=clock.now(),
            live=self._live.public.mark if self._live.public else None,
            heard=robber.at if robber else None,
            confirmed=self._confirmed(robber),
            trouble=trouble if trouble in ("", *record.TROUBLES) else record.WRONG,
            trouble_since=robber.since if robber else None,
            broken_since=self._broken_since(),
            data=page.data if page else None,
            link=self._link(),
            running=sum(1 for job in page.jobs if job.state == record.RUNNING) if page else 0,
            old_runs=tuple(run for run in self._published() if page is None or run != page.run),
            old_broken=tuple(sorted(self._old_broken, reverse=True)),
        )

    def _link(self) -> str:
        if self._outcome is not None and self._outcome.page is not None:
            return self._outcome.link
        if self._says is not None:
            return self._says.link
        return record.worst_link([link.state for link in self._live.shown.links]) if self._live.shown else ""

    def _published(self) -> list[int]:
        return sorted((run for run, place in self._runs.items() if place.public is not None), reverse=True)

    def _confirmed(self, robber: RobberSays | None) -> datetime | None:
        """When what was looked at last was last got: the robber's word counts for its own generation alone."""
        raw = self._live.raw
        if raw is None:
            return self._says.confirmed if self._says else None
        at = grabbed(raw)
        if robber is not None and robber.confirmed is not None and robber.generation == raw.path.name:
            return max(at, robber.confirmed)
        return at

    def _broken_since(self) -> datetime | None:
        before = self._says.broken_since if self._says else None
        if self._outcome is None:  # nothing new was looked at: what is there is published, or nothing is there
            return None if self._live.raw else before
        return None if self._outcome.page else before or grabbed(self._outcome.raw)
