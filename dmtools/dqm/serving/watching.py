"""A thread that looks at HOME/dqm/public, so that no request waits for a disk: each site as it stands, and its old runs."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from dmtools.dqm import freshness, generations, places, record
from dmtools.dqm.freshness import Verdict
from dmtools.dqm.generations import Generation, Torn
from dmtools.dqm.record import RUNNING, Page, SiteSays
from dmtools.dqm.serving import exhibits
from dmtools.dqm.serving.corner import Corner
from dmtools.dqm.serving.exhibits import Exhibit, File, Run
from dmtools.settings import Dqm
from dmtools.settings.dqm import Site as Wanted

LOOK_SECONDS = 0.1
_RUNS_SECONDS = 1.0
_PAGES = 8  # of a site: the one that is shown, and those before it, which somebody may still have open
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_OLD_PAGES = 32  # of old runs that are kept in memory


@dataclass(frozen=True)
class Site:
    """A site at an instant. `number` is another one when more has changed than times; `runs`: the newest first."""

    name: str
    title: str
    says: SiteSays | None = None
    live: Exhibit | None = None
    runs: dict[int, Run] = field(default_factory=dict)
    number: int = 0

    def verdict(self, limits: Dqm, at: datetime) -> Verdict:
        """How good the page that is shown here is."""
        says = self.says
        if says is not None and (self.live is None or self.live.generation.mark != says.live):
            says = _as_shown(says, self.live.page if self.live else None)
        return freshness.judge(says, limits, at)


def _as_shown(says: SiteSays, page: Page | None) -> SiteSays:
    """The parser speaks of a page that has not come here whole: what is shown is known to be true until it was grabbed."""
    if page is None:
        return msgspec.structs.replace(says, confirmed=None, data=None, link="", running=0)
    confirmed = min(says.confirmed, page.grabbed) if says.confirmed else None
    link, running = record.worst_link([one.state for one in page.links]), record.counts(page.jobs)[RUNNING]
    return msgspec.structs.replace(says, confirmed=confirmed, data=page.data, link=link, running=running)


def _lasting(says: SiteSays | None) -> SiteSays | None:
    """What is said but for the times that only go on: these are read anew within half a second all the same."""
    return says and msgspec.structs.replace(says, at=_NEVER, heard=None, confirmed=None, data=None)


class Watcher:
    """`sites` is replaced, never changed. `changed` is called in the thread when it was."""

    def __init__(self, public: Path, limits: Dqm, log: Callable[[str], None]) -> None:
        self.sites: dict[str, Site] = {one.name: Site(one.name, one.title or one.name) for one in limits.sites}
        self._rooms = {one.name: _Room(public / one.name, one, log) for one in limits.sites}
        self.changed: Callable[[], None] = lambda: None
        self._log = log
        self._pages: dict[str, Exhibit] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Looks once, then goes on in its thread."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()

    def file(self, site: str, sum16: str, name: str) -> tuple[File, bytes] | None:
        """A log or graph of a page that is shown here, or was a moment ago; None: there is none of this address.

        Raises Torn when it was cleaned away meanwhile.
        """
        if (shown := self._rooms[site].shown.get((sum16, name))) is not None:
            return shown.files[name], shown.bytes_of(name)
        for run in self.sites[site].runs.values():
            if (file := run.files.get(name)) is not None and file.sum16 == sum16:
                return file, generations.load(run.generation, {name})[name]
        return None

    def page(self, run: Run) -> Exhibit:
        """The page of an old run; those that were asked for last are in memory. Raises Torn."""
        place = str(run.generation.path)
        kept = self._pages.pop(place, None)
        if kept is None or kept.token != run.generation.mark:
            kept = exhibits.again(run)
        self._pages[place] = kept
        while len(self._pages) > _OLD_PAGES:
            self._pages.pop(next(iter(self._pages)), None)
        return kept

    def look(self) -> None:
        """Looks at all sites."""
        before = self.sites
        self.sites = {name: self._rooms[name].look(site) for name, site in before.items()}
        if any(self.sites[name] is not site for name, site in before.items()):
            self.changed()

    def _run(self) -> None:
        told = ""
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.look()
                told = ""
            except Exception as problem:  # noqa: BLE001 - the pages stay up, and grow old visibly
                if f"{type(problem).__name__}: {problem}" != told:
                    told = f"{type(problem).__name__}: {problem}"
                    self._log(f"public pages can't be read: {told}")


class _Room:
    """What is read of one site; `shown`: the files of its last live pages by address."""

    def __init__(self, place: Path, wanted: Wanted, log: Callable[[str], None]) -> None:
        self._place, self._wanted, self._log = place, wanted, log
        self._live = Corner(places.live(place), exhibits.exhibit, log)
        self._runs: dict[int, Corner[Run]] = {}
        self._runs_read = float("-inf")
        self._last: deque[Exhibit] = deque(maxlen=_PAGES)
        self.shown: dict[tuple[str, str], Exhibit] = {}

    def look(self, before: Site) -> Site:
        """The site as it stands; the same object when nothing has changed."""
        says = record.read(self._place / "site.json", SiteSays) or before.says
        live = self._live.look()
        runs = self._old_runs(before.runs)
        if says == before.says and live is before.live and runs is before.runs:
            return before
        if live is not None and live is not before.live:
            if before.live is not None:
                before.live.memory.clear()  # whoever still has that page open gets its files from the disk
            self._remember(live)
        same = live is before.live and runs is before.runs and _lasting(says) == _lasting(before.says)
        return Site(before.name, before.title, says, live, runs, before.number + (not same))

    def _old_runs(self, before: dict[int, Run]) -> dict[int, Run]:
        now = time.monotonic()
        if now - self._runs_read < _RUNS_SECONDS:
            return before
        self._runs_read = now
        try:
            numbers = places.runs(self._place)
        except OSError:
            return before
        corners = {number: self._runs.get(number) or self._corner(number) for number in numbers}
        self._runs = corners
        found = {number: kept for number, one in corners.items() if (kept := one.look()) is not None}
        if list(found.items()) == list(before.items()):
            return before
        return found

    def _corner(self, number: int) -> Corner[Run]:
        return Corner(places.run(self._place, number), partial(_numbered, number), self._log)

    def _remember(self, live: Exhibit) -> None:
        self._last.append(live)
        self.shown = {(file.sum16, name): one for one in self._last for name, file in one.files.items()}


def _numbered(number: int, generation: Generation) -> Run:
    found = exhibits.run(generation)
    if found.number != number:
        raise Torn(f"{generation.path} is not of run {number}")
    return found
