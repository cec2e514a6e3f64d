"""The rounds of dqm-parser: each looks at all sites; now and then what is old is removed."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import timedelta

from dmtools import clock
from dmtools.control.passes import Pass
from dmtools.dqm import places, standing
from dmtools.dqm.parsing import cleaning
from dmtools.dqm.parsing.keys import Keys
from dmtools.dqm.parsing.making import Maker
from dmtools.dqm.parsing.redacting import Cleaner
from dmtools.dqm.parsing.site import Site
from dmtools.dqm.places import Area

CLEAN_SECONDS = 60.0
_SHORTEST = 0.02  # no setting makes a loop that only burns


class Rounds:
    """One process's. `names`: these sites alone; empty: all. Raises Refused for a name that is none."""

    def __init__(self, this: Pass, names: Collection[str] = ()) -> None:
        self._this = this
        sites = standing.named(this.settings, names)
        cleaner = Cleaner(this.settings.dqm)
        maker = Maker(cleaner, Keys.of_home(this.home, dry_run=this.dry_run))
        self._sites = {site.name: Site(this, site, maker) for site in sites}
        self._begun = time.monotonic()
        self._clean_at = 0.0
        if cleaner.trouble:
            this.problem(
                "texts are withheld",
                "[dqm] hide_patterns",
                why=cleaner.trouble,
                left="no log is shown",
                next="mend it, then: dm-config check",
            )

    def one(self) -> None:
        """One round."""
        self._begun = time.monotonic()
        for site in self._sites.values():
            site.look()
        if time.monotonic() >= self._clean_at:
            self._clean_at = time.monotonic() + CLEAN_SECONDS
            self._clean()

    def wait(self) -> None:
        """Until the next round is due."""
        passed = time.monotonic() - self._begun
        time.sleep(max(_SHORTEST, self._this.settings.dqm.parser_seconds - passed))

    def _clean(self) -> None:
        dqm = self._this.settings.dqm
        if self._this.dry_run:
            return
        wanted = {name: set(site.wanted_runs()) for name, site in self._sites.items()}
        for area in places.areas(self._this.settings):
            rules = cleaning.Rules(timedelta(hours=dqm.lifetime_hours), area.quota, clock.now())
            try:
                self._tell(area, cleaning.clean(area.path, rules, wanted))
            except OSError as problem:
                self._this.problem(
                    "can't be cleaned",
                    str(problem.filename or area.path),
                    why=problem.strerror or str(problem),
                    left="what is old stays there",
                    next="see to that disk; it is tried again each minute",
                    failed=False,
                )

    def _tell(self, area: Area, account: cleaning.Account) -> None:
        name, quota = area.name, area.quota
        if account.removed:
            self._this.moved(name, "removed", account.removed)
            self._this.log(f"dqm/{name}: {account.removed} generations removed, {account.freed / 1e6:.1f} MB freed")
        if account.over:
            self._this.problem(
                "over the quota",
                f"dqm/{name}",
                why=f"{account.over / 1e6:.1f} MB more than [dqm] {name}_bytes ({quota / 1e6:.0f} MB); the newest are kept",
                left="nothing more is removed",
                next=f"raise {name}_bytes, or lower old_runs",
                failed=False,
            )
