"""How the robber stands with one site, kept in robber.json: what was tried, what was got, how long to wait after failures."""

from __future__ import annotations

import time
from datetime import timedelta

from msgspec.structs import replace

from dmtools import clock
from dmtools.dqm import places, record
from dmtools.dqm.record import RobberSays
from dmtools.dqm.robbing.grabber import Errand
from dmtools.dqm.robbing.told import Told

_FIRST_WAIT = 1.0
_SKIP_SECONDS = 60.0
_HOPELESS = 3  # failures in a row after which one pass leaves the other old runs for the next one


def back_off(failures: int, most: float) -> float:
    """Seconds to wait after so many failures in a row: a second, then twice as long each time, `most` at most."""
    return float(min(_FIRST_WAIT * 2 ** min(failures - 1, 30), most)) if failures else 0.0


class Standing:
    """Of one site's live page, in its file; of its old runs, in memory alone: the file speaks of the live page."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._file = places.raw(errand.home) / errand.site.name / "robber.json"
        self._limits = errand.settings.dqm
        known = None if errand.old else record.read(self._file, RobberSays)
        browser = self._limits.browser if self._limits.backend == "browser" else "http"
        self._skipped: dict[int, tuple[int, float]] = {}  # old runs that failed: how often, until when
        self._says = replace(known or RobberSays(site=errand.site.name, at=clock.now()), browser=browser, site=errand.site.name)

    def begins(self) -> None:
        """A grab begins."""
        self._says = replace(self._says, tried=clock.now())

    @property
    def is_hopeless(self) -> bool:
        """It isn't worth while to try other pages of the site now."""
        return self._says.failures >= _HOPELESS

    def skip(self) -> tuple[int, ...]:
        """Old runs that failed lately: they are left alone for a while, so that the others come."""
        return tuple(run for run, (_, until) in self._skipped.items() if time.monotonic() < until)

    def _remember(self, told: Told) -> None:
        if told.run is None:
            return
        if not told.trouble:
            self._skipped.pop(told.run, None)
            return
        failures = self._skipped.get(told.run, (0, 0.0))[0] + 1
        self._skipped[told.run] = failures, time.monotonic() + _SKIP_SECONDS + back_off(failures, self._limits.back_off_seconds)

    def ends(self, told: Told) -> float:
        """Notes how it went; gives the seconds to wait, 0 when the page was got."""
        at, says = clock.now(), self._says
        if self._errand.old:
            self._remember(told)
        if told.trouble:
            failures = says.failures + 1
            wait = back_off(failures, self._limits.back_off_seconds)
            since, next_try = says.since or at, at + timedelta(seconds=wait)
            says = replace(says, failures=failures, since=since, trouble=told.trouble, next_try=next_try)
        else:
            wait, generation = 0.0, told.generation or says.generation
            says = replace(says, confirmed=at, generation=generation, failures=0, since=None, trouble="", next_try=None)
        self._says = replace(says, at=at)
        return wait

    def write(self) -> None:
        """Tells the parser. Raises OSError."""
        if not self._errand.old:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            record.write(self._file, self._says)
