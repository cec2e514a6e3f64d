"""How the mirrored pages stand by the files of this machine, whichever of robber, parser and server it has. Reads only."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dmtools.command import Refused
from dmtools.dqm import freshness, generations, places, record
from dmtools.dqm.freshness import BROKEN, DOWN, FRESH, STALE, Verdict
from dmtools.dqm.generations import Generation
from dmtools.dqm.record import Page, RobberSays, SiteSays
from dmtools.settings import Dqm, Settings
from dmtools.settings.dqm import Site

_WORDS = {
    record.AWAY: "the page does not answer: look whether it is up inside, and reachable from the robber's machine",
    record.REFUSED: "the page refuses us: look at [dqm] cookie_file on the robber's machine",
    record.SLOW: "the page takes longer than [dqm] grab_seconds: open it in a browser there",
    record.NO_BROWSER: "the robber has no browser it can use: run dqm-cfg on its machine",
}


@dataclass(frozen=True)
class Stands:
    """One site. `says` None: no parser's file is here; `robber` None: no robber's. `todo`: what to do, empty when all is well."""

    site: Site
    says: SiteSays | None
    robber: RobberSays | None
    verdict: Verdict
    todo: str

    @property
    def name(self) -> str:
        """Of the site."""
        return self.site.name


def named(settings: Settings, names: Collection[str]) -> list[Site]:
    """The sites of these names, in their order; none named: all. Raises Refused with the near name."""
    from difflib import get_close_matches

    sites = {site.name: site for site in settings.dqm.sites}
    for name in names:
        if name not in sites:
            near = get_close_matches(name, sites, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            raise Refused(f"[dqm] sites has no {name!r}{hint} there are: {', '.join(sites)}")
    return [sites[name] for name in dict.fromkeys(names or sites)]


def works(settings: Settings) -> bool:
    """Has anything of dqm ever been written here, or brought here?"""
    return any(next(_names(area.path), None) is not None for area in places.areas(settings))


def sites(settings: Settings, at: datetime) -> list[Stands]:
    """How the pages of the settings stand at an instant, in their order."""
    parsed = next(_names(places.public(settings.home)), None) is not None
    return [_stands(settings, site, at, parsed) for site in settings.dqm.sites]


def _stands(settings: Settings, site: Site, at: datetime, parsed: bool) -> Stands:
    says = record.read(places.public(settings.home) / site.name / "site.json", SiteSays)
    robber = record.read(places.raw(settings.home) / site.name / "robber.json", RobberSays)
    if says is None and robber is not None and not parsed:  # a machine of the robber's alone
        verdict = _of_robber(site, robber, settings.dqm, at)
        return Stands(site, None, robber, verdict, _todo(site.name, verdict, None, robber, settings.dqm, at))
    verdict = freshness.judge(says, settings.dqm, at)
    return Stands(site, says, robber, verdict, _todo(site.name, verdict, says, robber, settings.dqm, at))


def _of_robber(site: Site, robber: RobberSays, limits: Dqm, at: datetime) -> Verdict:
    """The same judge, of what a robber can know: whether it lives, and gets the page."""
    half = SiteSays(
        site=site.name, title=site.title, at=at, heard=robber.at, confirmed=robber.confirmed, trouble=robber.trouble
    )  # fmt: skip
    return freshness.judge(half, limits, at)


def _todo(site: str, verdict: Verdict, says: SiteSays | None, robber: RobberSays | None, limits: Dqm, at: datetime) -> str:
    """What a person does about it, the first cause first."""
    if verdict.state == FRESH:
        return ""
    patience = limits.stale_seconds if verdict.state == STALE else limits.down_seconds
    heard = (says.heard if says is not None else None) or (robber.at if robber is not None else None)
    if says is None and robber is None:
        return "start dqm-robber --loop and dqm-parser --loop, or what brings HOME/dqm here: dm-crontab install dqm"
    if says is not None and (at - says.at).total_seconds() > patience:
        return "start dqm-parser --loop, or what brings HOME/dqm/public here, again: dm-crontab check; HOME/log/dqm-parser.log"
    if heard is None or (at - heard).total_seconds() > patience:
        return (
            "start dqm-robber --loop, or what brings HOME/dqm/raw to the parser, again: dm-crontab check; HOME/log/dqm-robber.log"
        )
    if verdict.state == BROKEN:
        return (
            f"the page has changed: HOME/dqm/raw/{site}/broken.json has the place; "
            "what is shown stays old until the parser knows it"
        )
    trouble = says.trouble if says is not None else robber.trouble if robber is not None else ""
    if trouble:
        return _WORDS.get(trouble, "look at HOME/log/dqm-robber.log on the robber's machine")
    if verdict.state == STALE and says is not None and says.link not in ("", record.OPEN):
        return "the page inside has lost its own source: tell those who run it"
    if verdict.state == STALE:
        return "look at the page inside: is it as old? Then tell those who run it; else HOME/log/dqm-robber.log"
    return "look at HOME/log/dqm-robber.log on the robber's machine"


# ---- what is kept


def live(settings: Settings, site: str) -> tuple[Generation, Page] | None:
    """The public live page in force, and its record."""
    return _page(places.live(places.public(settings.home) / site))


def run(settings: Settings, site: str, number: int) -> tuple[Generation, Page] | None:
    """A public old run."""
    return _page(places.run(places.public(settings.home) / site, number))


def _page(place: Path) -> tuple[Generation, Page] | None:
    found = generations.newest(place)
    if found is None:
        return None
    page = record.read(found.path / "page.json", Page)
    return None if page is None else (found, page)


def known(settings: Settings) -> list[str]:
    """The sites of the settings, and all that have files here."""
    there = [name for area in places.areas(settings) for name in sorted(_names(area.path))]
    return list(dict.fromkeys([*(site.name for site in settings.dqm.sites), *there]))


def _names(tree: Path) -> Iterator[str]:
    try:
        with os.scandir(tree) as entries:
            yield from (entry.name for entry in entries if places.is_site(entry.name) and entry.is_dir())
    except OSError:
        return


def bytes_of(tree: Path) -> int:
    """What the files below a directory take together."""
    total = 0
    try:
        with os.scandir(tree) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += bytes_of(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    except OSError:  # it was cleaned away meanwhile
        return total
    return total


def is_alarm(state: str) -> bool:
    """Must somebody come?"""
    return state in (DOWN, BROKEN)
