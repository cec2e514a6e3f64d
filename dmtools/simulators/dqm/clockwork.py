"""What moves by itself: old runs at the start, then one run after the other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

from msgspec import Struct

from dmtools.clock import now
from dmtools.simulators.dqm.cluster import Cluster
from dmtools.simulators.dqm.run import Run
from dmtools.simulators.dqm.store import Store

OLD_LUMIS = 60  # of an old run, at most


class Pace(Struct, frozen=True, kw_only=True):
    """How many jobs a run has, how many old runs are kept, and how fast all goes (seconds); see `dm-sim dqm --help`."""

    jobs: int = 12
    runs: int = 20
    run_seconds: float = 300.0
    lumi_seconds: float = 5.0
    every: float = 1.0


class Clockwork:
    """Runs of one cluster in its store. The same seed gives the same numbers, but for the times."""

    def __init__(self, cluster: Cluster, store: Store, pace: Pace, seed: int | str) -> None:
        self.cluster, self.store, self.pace = cluster, store, pace
        self._seed = f"{seed} {cluster.name}"
        self._last = cluster.first_run - 1
        self._run: Run | None = None

    def begin(self) -> None:
        """The old runs, all over, and the first section of one that goes on."""
        at = now().timestamp()
        for back in range(self.pace.runs, 0, -1):
            run = self._new(at - back * (self.pace.run_seconds + 20))
            for lumi in range(1, self._lumis() + 1):
                run.lumi_step(run.begun + lumi * self.pace.lumi_seconds)
                run.work(run.told, self.pace.lumi_seconds)
            run.finish(run.begun + self.pace.run_seconds)
            self.store.upload(run.documents())
        self.next_run(at)

    def next_run(self, at: float) -> int:
        """Ends the run and begins the next; gives its number."""
        if self._run:
            self._run.finish(at)
            self.store.upload(self._run.documents())
        self._run = self._new(at)
        self._run.lumi_step(at)
        self.store.upload(self._run.documents())
        for old in self.store.runs()[self.pace.runs + 1 :]:
            self.store.forget(old)
        return self._run.number

    async def turn(self) -> None:
        """Moves, for ever."""
        while True:
            await asyncio.sleep(self.pace.every)
            self.step(now().timestamp())

    def step(self, at: float) -> None:
        """What happened until this instant."""
        run = self._run
        assert run is not None
        if at - run.begun >= self.pace.run_seconds:
            self.next_run(at)
            return
        run.work(at, self.pace.every)
        for lumi in self._due(run, at):
            run.lumi_step(run.begun + lumi * self.pace.lumi_seconds)
        run.told = at
        self.store.upload(run.documents())

    def _due(self, run: Run, at: float) -> Iterator[int]:
        yield from range(run.lumi, int((at - run.begun) / self.pace.lumi_seconds) + 1)

    def _lumis(self) -> int:
        return max(1, min(OLD_LUMIS, int(self.pace.run_seconds / self.pace.lumi_seconds)))

    def _new(self, at: float) -> Run:
        self._last += 1
        dice = random.Random(f"{self._seed} {self._last}")  # noqa: S311 - a picture of data, no secret
        return Run(self.cluster, self._last, self.pace.jobs, self.pace.lumi_seconds, at, dice)
