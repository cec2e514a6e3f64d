"""The old runs of a site: each by its own address, the newest first; a finished one once, then only when it changes."""

from __future__ import annotations

import time
from pathlib import Path

from dmtools import clock
from dmtools.dqm import generations, places
from dmtools.dqm.robbing import storing
from dmtools.dqm.robbing.endpoint import Endpoint
from dmtools.dqm.robbing.grabbing import Source
from dmtools.dqm.robbing.page import Content, Failed
from dmtools.dqm.robbing.told import Told

_LIST_SECONDS = 30.0  # how long a list of runs that the page gave is good
_CHANGED_SECONDS = 30.0  # a run that changes all the time is not grabbed more often


class OldRuns:
    """Rounds of the old runs: one run a round, until nothing is to do."""

    def __init__(self, source: Source, home: Path) -> None:
        self._source, self._grabs = source, places.raw(home) / source.site.name
        self._runs: tuple[int, ...] = ()
        self._listed = float("-inf")
        self._notes: list[str] = []

    def round(self, skip: tuple[int, ...] = ()) -> Told:
        """Grabs the newest run that is due and is none of `skip`. Raises what `judged` knows."""
        self._notes = []
        self._source.run, self._source.more = None, False
        self._source.begin("looking for old runs")
        self._source.find()
        endpoint = self._source.oracle(self._notes)
        runs = endpoint.runs() if endpoint else self._by_page()
        wanted = runs[1 : 1 + self._source.settings.dqm.old_runs]  # the first one goes on: it is the live page
        due = [run for run in wanted if run not in skip and self._is_due(run, endpoint)]
        if not due:
            return Told(idle=True, notes=tuple(self._notes))
        run, self._source.run, self._source.more = due[0], due[0], len(due) > 1
        content = self._content(run, endpoint)
        revision = endpoint.revision(run) if endpoint else 0
        place = places.run(self._grabs, run)
        generation, new = storing.store(place, content, backend=self._source.name, revision=revision)
        return Told(
            generation=generation.path.name,
            new=new,
            run=run,
            lacking=content.lacking,
            notes=tuple(self._notes),
            more=self._source.more,
        )

    def _content(self, run: int, endpoint: Endpoint | None) -> Content:
        if not self._source.by_browser:
            return self._source.endpoint().content(run)
        page, limits = self._source.page(), self._source.settings.dqm
        self._source.begin(f"grabbing run {run}", limits.sleep_seconds)
        page.open(self._source.address.of_run(run))
        jobs = endpoint.jobs(run) if endpoint else None
        content = page.grab(limits.sleep_seconds, run=run, jobs=jobs, fresh=True)
        if content.run != run:
            raise Failed(f"asked for run {run}, the page shows {content.run or 'none'}")
        if endpoint and limits.cross_check:
            content.files |= endpoint.content(run).files
        return content

    def _is_due(self, run: int, endpoint: Endpoint | None) -> bool:
        newest = generations.newest(places.run(self._grabs, run))
        if newest is None or newest.manifest.facts.get("backend") != self._source.name:
            return True
        facts, old = newest.manifest.facts, (clock.now() - newest.made).total_seconds()
        if endpoint:
            return facts.get("revision") != str(endpoint.revision(run)) and old > _CHANGED_SECONDS
        unfinished = facts.get("running") != "0" or bool(facts.get("lacking"))
        return unfinished and old > self._source.settings.dqm.old_run_seconds

    def _by_page(self) -> tuple[int, ...]:
        """The runs that the page itself names, for sites without an endpoint."""
        if time.monotonic() - self._listed < _LIST_SECONDS:
            return self._runs
        page, limits = self._source.page(), self._source.settings.dqm
        self._source.begin("looking for old runs", limits.sleep_seconds)
        page.open(self._source.address.page)
        content = page.grab(limits.sleep_seconds, fresh=True)
        self._runs, self._listed = tuple(sorted(content.runs, reverse=True)), time.monotonic()
        return self._runs
