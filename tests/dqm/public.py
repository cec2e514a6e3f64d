"""A public area as dqm-parser writes it, for tests of what reads it: made by the parser's own code, without a command."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from dmtools import clock
from dmtools.dqm import generations, record
from dmtools.dqm.generations import Generation
from dmtools.dqm.parsing import dom
from dmtools.dqm.parsing.keys import Keys
from dmtools.dqm.parsing.making import Maker, Of
from dmtools.dqm.parsing.redacting import Cleaner
from dmtools.dqm.record import Page, SiteSays
from dmtools.settings.dqm import Dqm
from tests.dqm.pages import Job, Source, png, some_jobs

SECRET = b"a secret of tests, thirty-two bytes long"


def publish(home: Path, source: Source, site: str = "production", run: int | None = None, *, graphs: int = 2) -> Generation:
    """One public generation: the live page of a site, or an old run."""
    found = dom.read(source.html())
    dom.in_utc(found, source.at.timestamp(), source.zone)
    maker = Maker(Cleaner(Dqm()), Keys(SECRET))
    pictures = {f"graph-{number}.png": png(8 * number) for number in range(1, graphs + 1)}
    made = maker.make(found, Of(site, run is None, source.at), pictures)
    place = home / "dqm/public" / site
    return generations.publish(place / "live" if run is None else place / "runs" / str(run), made.files, {"record": made.sum})


def says(home: Path, site: str = "production", at: datetime | None = None, **changes: object) -> SiteSays:
    """Writes site.json: all is well at `at` (now), but for `changes`, by the names of record.SiteSays."""
    at = at or clock.now()
    live = generations.newest(home / "dqm/public" / site / "live")
    page = record.read(live.path / "page.json", Page) if live else None
    runs = home / "dqm/public" / site / "runs"
    told = SiteSays(
        site=site,
        title=site.capitalize(),
        at=at,
        live=live.mark if live else None,
        heard=at,
        confirmed=at,
        data=page.data if page else None,
        link=record.OPEN,
        running=sum(job.state == record.RUNNING for job in page.jobs) if page else 0,
        old_runs=tuple(sorted((int(one.name) for one in runs.iterdir()), reverse=True)) if runs.is_dir() else (),
    )
    told = msgspec.structs.replace(told, **changes)
    record.write(home / "dqm/public" / site / "site.json", told)
    return told


def tree(
    home: Path,
    jobs: int | list[Job] = 10,
    *,
    sites: Iterable[str] = ("production", "playback"),
    old_runs: int = 3,
    at: datetime | None = None,
) -> dict[str, Generation]:
    """A whole public area, all of it fresh: each site's live page, its old runs, its site.json. Gives the live generations."""
    at = at or clock.now()
    live = {}
    for number, site in enumerate(sites):
        first = 380001 + 120000 * number
        shown = some_jobs(jobs, first) if isinstance(jobs, int) else jobs
        runs = tuple(first - back for back in range(1, old_runs + 1))
        original = 379866 if site == "playback" else None
        for run in reversed(runs):
            publish(home, Source(some_jobs(4, run), run, at - timedelta(hours=1), runs=runs), site, run)
        live[site] = publish(home, Source(shown, first, at, runs=runs, original=original), site)
        says(home, site, at)
    return live
