"""Ten days of a logger and its crons, by chance of a seed, on a clock that is moved; what must be true of each second at the end.

The simulated logger is one program with one clock for all the days (`--clock FILE`); commands are at the instant of their cron.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from tests.datalogger.steps import Plant, devices, rows, should, when

FIRST, DAYS = when("2026-10-27T05:00"), 10  # local days of America/Chicago; its clocks go back on 1 November
END = when("2026-11-06T06:00")
KEEP_DAYS = 3  # a logger with a short memory loses within ten days what others lose within a month
PLAIN, MOVES, HOLES, BROKEN = "B:VIMIN", "B:MOVES", "B:HOLES", "B:BROKEN"
NAMES = (PLAIN, MOVES, HOLES, BROKEN)
FAULTS = (
    'op="tail"; seconds=3000',
    'op="few"',
    'op="early-end"',
    'op="hole"',
    'op="cut-line"',
    'op="glue"',
    'op="html"',
    'op="unsorted"',
    'op="twice"',
    'op="stars"',
    'op="say"; reason="Error reading device - DIO_NOSCALE"',
    'op="say-after"; reason="!the link went down"',
    'op="http500"',
    'op="lose-answer"',
)
Span = tuple[datetime, datetime]


@dataclass
class TenDays:
    """The days of one seed. `run` lets them pass, `prove` compares each second of each device with what the tables say."""

    plant: Plant
    seed: int
    hertz: str = "0.1"
    missed: list[datetime] = field(default_factory=list)
    passes: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.holes = [self._span(day, 5) for day in self.random.sample(range(DAYS), 3)]
        first = self.random.choice((3, 4))
        self.down = [self._span(self.random.randrange(2), 10), self._span(first, 10)]
        # For longer than it remembers: what was not had by then is lost.
        self.down[1] = (self.down[1][0], self.down[1][0] + timedelta(days=KEEP_DAYS, hours=self.random.randrange(8, 30)))
        self.broken = (FIRST, FIRST + timedelta(days=self.random.randrange(5, 7)))

    def _span(self, day: int, most: int) -> Span:
        start = FIRST + timedelta(days=day, seconds=self.random.randrange(20 * 3600))
        return start, start + timedelta(seconds=self.random.randrange(1800, most * 3600))

    # ---- what happens ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Ten days and a half."""
        self.plant.log(*NAMES, hertz=self.hertz)
        self.plant.set(since="2026-10-27", keep_days=KEEP_DAYS)
        for at in self._crons():
            self._pass(at)
        self.plant.faults()
        for hours in (7, 14, 21):  # nothing goes wrong any more; what waits after a trouble gets its turn
            self._logger(END + timedelta(hours=hours))
            self.plant.cron(at=END + timedelta(hours=hours)).gave(0, 1)

    def _crons(self) -> Iterator[datetime]:
        """01:00 local each day, and each six hours, when they are not missed."""
        for hour in range(25, DAYS * 24 + 8, 6):
            at = FIRST + timedelta(hours=hour)
            if self.random.random() < 0.5:
                self.missed.append(at)
            else:
                yield at

    def _pass(self, at: datetime) -> None:
        if any(start <= at < end for start, end in self.down):
            self._stop()
            self.plant.cron(at=at).gave(0, 75)
            return
        self._logger(at)
        faults = list(self._some())
        if self.broken[0] <= at < self.broken[1]:
            faults.insert(0, f'match="+{BROKEN}"; op="say"; reason="Error reading device - DIO_NOSCALE"')
        self.plant.faults(*faults)
        self.plant.cron(at=at).gave(0, 1)
        self.passes += 1

    def _some(self) -> Iterator[str]:
        for fault in self.random.sample(FAULTS, self.random.randrange(1, 5)):
            yield f'match="+{self.random.choice(NAMES)}"; times={self.random.choice((1, 1, 2))}; {fault}'

    def _logger(self, at: datetime) -> None:
        """It runs, and it is that late there."""
        (self.plant.home / "run/sim").mkdir(exist_ok=True)
        file = self.plant.home / "run/sim/clock"
        file.write_text(self.plant.clock(at)["DMTOOLS_CLOCK_OFFSET"])
        if self.plant.server is not None and self.plant.server.alive:
            return
        moved = ("--moved", f"{MOVES}=Booster") if at > self.down[1][1] else ()
        gaps = [word for start, end in self.holes for word in ("--gap", f"{HOLES}={start.isoformat()}/{end.isoformat()}")]
        self.plant.server = self.plant.sim(
            self.plant.home, "datalogger", "--hertz", self.hertz, "--keep-days", KEEP_DAYS, "--clock", file, *moved, *gaps
        )

    def _stop(self) -> None:
        if self.plant.server is not None:
            self.plant.server.stop()

    # ---- what must be true -----------------------------------------------------------------------------------------------

    def prove(self) -> dict[str, float]:
        """Each second of each device is had, or said to be empty, `*****` or lost, and that is so. Gives the seconds of each."""
        states = self.plant.states()
        assert len(states) == DAYS * len(NAMES)
        assert set(states.values()) <= {"done", "empty", "lost"}, states
        sums = dict.fromkeys(("had", "empty", "stars", "lost"), 0.0)
        for name in NAMES:
            for what, seconds in self._prove(name).items():
                sums[what] += seconds
        return sums

    def _prove(self, name: str) -> dict[str, float]:
        source = [row for row in should(name, FIRST, END, self.hertz) if not self._empty(name, row[0])]
        files = [self.plant.out / file for file in self.plant.files()]
        found = [row for file in files if name in devices(file) for row in rows(file, name)]
        assert sorted({at for at, _ in found}) == [at for at, _ in found], "rows are doubled, or files overlap"
        assert set(found) <= set(source), "a value that the formula does not give"
        # A sample stands for the time until the next.
        period = 1 / float(self.hertz)
        had = np.zeros(self._at(END), bool)
        for at, _ in found:
            first = at - FIRST.timestamp()
            had[round(first) : round(first + period)] = True
        said = self._said(name, had)
        is_said = said["empty"] | said["stars"] | said["lost"]
        assert not (neither := np.flatnonzero(~(had | is_said))).size, f"{name}: nothing is said of {self._when(neither)}"
        # A gap may begin in the midst of a sample's time, where the logger's memory ended.
        both = np.flatnonzero(had & is_said)
        assert not both.size, f"{name}: {self._when(both)} is had, and said to be missing"
        missed = {at for at, _ in source} - {at for at, _ in found}
        for at in missed:
            second = round(at - FIRST.timestamp())
            assert said["lost"][second] or said["stars"][second], f"{name}: the logger has {datetime.fromtimestamp(at, UTC)}"
        empty = np.zeros(self._at(END), bool)
        for start, end in self.holes if name == HOLES else ():
            empty[self._at(start) + int(period) : self._at(end) - int(period)] = True
        assert not (empty & ~is_said).any()
        return {"had": int(had.sum()), **{kind: int(some.sum()) for kind, some in said.items()}}

    def _said(self, name: str, had: np.ndarray) -> dict[str, np.ndarray]:
        """By kind, of which seconds the tables say that they are not had."""
        said = {kind: np.zeros(self._at(END), bool) for kind in ("empty", "stars", "lost")}
        scattered = []
        for start, end, kind, why in self._gaps(name):
            assert why
            if kind == "scattered":
                scattered.append((slice(self._at(start), self._at(end)), int(why.split()[0])))
            else:
                said[kind][self._at(start) : self._at(end)] = True
        for span, seconds in scattered:  # not which they are, but how many
            others = ~(had[span] | said["empty"][span] | said["stars"][span] | said["lost"][span])
            assert others.sum() == seconds
            said["stars"][span] |= others
        return said

    def _empty(self, name: str, at: float) -> bool:
        return name == HOLES and any(start.timestamp() <= at < end.timestamp() for start, end in self.holes)

    def _gaps(self, name: str) -> list[tuple[datetime, datetime, str, str]]:
        query = 'SELECT g.start, g."end", g.kind, g.why FROM datalogger_gap g JOIN datalogger_window w ON w.id = g.window_id'
        found = self.plant.sql(query + " WHERE w.name = ? AND g.start < w.upto ORDER BY g.start", name)
        return [(when(start), when(end), kind, why) for start, end, kind, why in found]

    @staticmethod
    def _at(at: datetime) -> int:
        return round((at - FIRST).total_seconds())

    @staticmethod
    def _when(seconds: np.ndarray) -> str:
        return f"{FIRST + timedelta(seconds=int(seconds[0]))} and {len(seconds) - 1} seconds more"
