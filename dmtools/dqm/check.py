"""dm-check for dqm: grabs and pages against their manifests, what killed commands left, the rows of the pages. Reads only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, select

from dmtools import clock
from dmtools.control import checking
from dmtools.control.checking import Finding, Inspection
from dmtools.dqm import generations, pages, places, standing
from dmtools.dqm.generations import Generation, Torn
from dmtools.ledger import tables
from dmtools.settings import Settings

SETTLED = timedelta(minutes=10)  # what is older is made, or brought, by nobody any more
EXAMPLES = 20


def finding(rule: str, subject: str, says: str, mend: str = "", next: str = "", item: int = 0) -> Finding:
    """A disagreement of dqm."""
    return Finding("dqm", rule, subject, says, mend, next, item=item)


def note(rule: str, subject: str, says: str, next: str = "", mend: str = "") -> Finding:
    """Something that harms nobody."""
    return Finding("dqm", rule, subject, says, mend, next, note=True)


def check(inspection: Inspection) -> Iterator[Finding]:
    """By the sizes of the manifests; with storage=sample the newest of each place, with all every file by its sum."""
    this = inspection.this
    yield from checking.leftovers(this, "dqm", site_places(this.settings))
    for place in all_places(this.settings):
        yield from _left(this.settings, place)
        yield from _torn(this.settings, place, inspection.storage)
    yield from _rooms(this.settings)
    yield from _strangers(this.settings)
    with this.ledger.read() as connection:
        yield from checking.compare_counts("dqm", checking.tally_of(connection, "dqm"), pages.counted(connection))
        yield from _rows(connection, this.settings)


# ---- directories


def site_places(settings: Settings) -> list[Path]:
    """The directories of the sites, in which robber.json and site.json are replaced."""
    known = standing.known(settings)
    return [path for area in places.areas(settings) for site in known if (path := area.path / site).is_dir()]


def all_places(settings: Settings) -> Iterator[Path]:
    """All places of generations that are here."""
    for site in site_places(settings):
        yield places.live(site)
        yield from (places.run(site, number) for number in places.runs(site))


def shown(settings: Settings, path: Path) -> str:
    """A path below HOME."""
    return str(path.relative_to(settings.home))


def _left(settings: Settings, place: Path) -> Iterator[Finding]:
    for path in generations.leftovers(place, clock.now() - SETTLED):
        says = "a generation in the making, or on its way out, left by a command that is gone"
        yield note("leftover", shown(settings, path), says, mend="it is removed")


def _torn(settings: Settings, place: Path, storage: str) -> Iterator[Finding]:
    """A half one is never shown: the one before it is. While it is brought, it is no finding."""
    first = True
    for path in numbered(place):
        found = generations.read(path)
        if found is None:
            if is_settled(path):
                says = "it is not what its manifest says: files are missing, or have other sizes; nobody shows it"
                yield finding("half", shown(settings, path), says, "it is removed: the next grab or page comes by itself")
            continue
        if storage == "all" or (storage == "sample" and first):
            yield from _sums(settings, found)
        first = False


def _sums(settings: Settings, found: Generation) -> Iterator[Finding]:
    try:
        generations.load(found)
    except Torn as problem:
        if found.path.exists():
            yield finding(
                "damaged", shown(settings, found.path), str(problem), "it is removed: the next grab or page comes by itself"
            )


def numbered(place: Path) -> list[Path]:
    """All that have the name of a generation, the newest first."""
    names = os.listdir(place) if place.is_dir() else []
    return [place / name for name in sorted(names, reverse=True) if generations.is_name(name)]


def is_settled(path: Path) -> bool:
    """Has nothing been written there for a while? rsync may give files old times of change, but not of their inode."""
    try:
        newest = max((entry.stat(follow_symlinks=False).st_ctime for entry in os.scandir(path)), default=path.lstat().st_ctime)
    except OSError:
        return False
    return newest < (clock.now() - SETTLED).timestamp()


def _rooms(settings: Settings) -> Iterator[Finding]:
    """Directories of browsers whose keepers are dead."""
    from dmtools.dqm.robbing import rooms

    for path in rooms.dead(settings.home):
        says = "the directory of a browser whose keeper is gone"
        yield note(
            "room", shown(settings, path), says, mend="who is in it is ended, and it is removed; so does the next dqm-robber"
        )


def _strangers(settings: Settings) -> Iterator[Finding]:
    named = {site.name for site in settings.dqm.sites}
    for place in site_places(settings):
        if place.name not in named:
            says = "the settings name no such page, so nothing cleans it"
            step = f"dqm-cfg --set sites.{place.name}=URL, or remove that directory, when no other machine names it"
            yield note("stranger", shown(settings, place), says, step)


# ---- rows


def _rows(connection: Connection, settings: Settings) -> Iterator[Finding]:
    named = {site.name for site in settings.dqm.sites}
    for row in connection.execute(select(tables.dqm_page).order_by(tables.dqm_page.c.id)):
        if row.site not in named:
            says = f"the tables count it as {row.state}, and the settings name no such page"
            yield finding("row", row.site, says, "its row is taken away", item=row.id)
