"""What is old leaves HOME/dqm/{raw,public}: by age, by quota, old runs that nobody wants, leftovers of killed writers.

Never the newest complete generation of a place that is kept, never what is younger than a minute, never outside the two
areas: links are not followed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from dmtools.dqm import generations, places
from dmtools.dqm.generations import Generation

LEFTOVER = timedelta(hours=1)  # a maker takes seconds
YOUNG = timedelta(minutes=1)  # somebody may just be reading it
_TEMPORARY = re.compile(r"\.[a-z]+\.json\.\d+\.tmp")


@dataclass(frozen=True)
class Rules:
    """`quota`: bytes that the area may have; `at`: now."""

    lifetime: timedelta
    quota: int
    at: datetime


@dataclass
class Account:
    """What was removed, and what remains; `over`: bytes more than the quota that can't be removed."""

    removed: int = 0
    freed: int = 0
    over: int = 0


@dataclass(frozen=True)
class _Kept:
    """A generation that is there; `is_newest` of its place."""

    generation: Generation
    is_newest: bool


def clean(area: Path, rules: Rules, wanted: dict[str, set[int]]) -> Account:
    """Cleans one area. `wanted`: of each site the old runs that are kept. Raises OSError."""
    account = Account()
    there: list[_Kept] = []
    for site in _directories(area):
        if not places.is_site(site.name):
            continue
        _sweep_files(site, rules.at)
        for place in _places(site):
            _sweep(place, rules)
            whole = list(generations.every(place))
            unwanted = place.parent.name == "runs" and site.name in wanted and int(place.name) not in wanted[site.name]
            if unwanted:
                for one in whole:
                    _remove(one, account)
                _rmdir(place)
                continue
            there += [_Kept(one, number == 0) for number, one in enumerate(whole)]
    _by_age(there, rules, account)
    _by_quota(there, rules, account)
    return account


def _by_age(there: list[_Kept], rules: Rules, account: Account) -> None:
    for one in list(there):
        if not one.is_newest and rules.at - one.generation.made > max(rules.lifetime, YOUNG):
            _remove(one.generation, account)
            there.remove(one)


def _by_quota(there: list[_Kept], rules: Rules, account: Account) -> None:
    """The oldest go first, of all sites."""
    size = sum(one.generation.size for one in there)
    for one in sorted(there, key=lambda kept: kept.generation.made):
        if size <= rules.quota:
            break
        if not one.is_newest and rules.at - one.generation.made > YOUNG:
            _remove(one.generation, account)
            size -= one.generation.size
    account.over = max(0, size - rules.quota)


def _remove(generation: Generation, account: Account) -> None:
    generations.remove(generation)
    account.removed += 1
    account.freed += generation.size


def _directories(place: Path) -> Iterator[Path]:
    """Real ones, no links."""
    try:
        with os.scandir(place) as entries:
            found = sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from map(Path, found)


def _places(site: Path) -> Iterator[Path]:
    for place in _directories(site):
        if place.name == "live":
            yield place
        elif place.name == "runs":
            yield from (run for run in _directories(place) if places.is_run(run.name))


def _sweep(place: Path, rules: Rules) -> None:
    """Hidden leftovers, and generations that never became whole."""
    for path in generations.leftovers(place, rules.at - LEFTOVER):
        _rmtree(path)
    newest = generations.newest(place)
    for path in _directories(place):
        if not generations.is_name(path.name) or generations.read(path) is not None:
            continue
        passed = newest is not None and path.name < newest.path.name
        if _age(path, rules.at) > (LEFTOVER if passed else max(rules.lifetime, LEFTOVER)):
            _rmtree(path)


def _sweep_files(site: Path, at: datetime) -> None:
    """Temporary files of writers that were killed."""
    with os.scandir(site) as entries:
        old = [entry.path for entry in entries if _TEMPORARY.fullmatch(entry.name) and not entry.is_dir(follow_symlinks=False)]
    for path in map(Path, old):
        if _age(path, at) > LEFTOVER:
            path.unlink(missing_ok=True)


def _age(path: Path, at: datetime) -> timedelta:
    try:
        return timedelta(seconds=at.timestamp() - path.lstat().st_mtime)
    except FileNotFoundError:
        return timedelta(0)


def _rmtree(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _rmdir(place: Path) -> None:
    try:
        place.rmdir()
    except OSError:
        return  # somebody is just writing there: the next time
