"""Where the mirror's files lie: HOME/dqm/{raw,public}/SITE/{live,runs/N}; each of the last two is a place of generations."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from dmtools.settings import Settings
from dmtools.settings.dqm import NAME

RUN = "[1-9][0-9]{0,8}"  # a run's number, as it stands in names and addresses
_RUN, _SITE = re.compile(RUN), re.compile(NAME)


def raw(home: Path) -> Path:
    """The robber's grabs."""
    return home / "dqm" / "raw"


def public(home: Path) -> Path:
    """What is served."""
    return home / "dqm" / "public"


@dataclass(frozen=True)
class Area:
    """One of the two trees: what it is called, and how many bytes it may take."""

    name: str
    path: Path
    quota: int


def areas(settings: Settings) -> tuple[Area, Area]:
    """Both, raw first."""
    home, dqm = settings.home, settings.dqm
    return Area("raw", raw(home), dqm.raw_bytes), Area("public", public(home), dqm.public_bytes)


def live(site: Path) -> Path:
    """The place of a site's live page."""
    return site / "live"


def run(site: Path, number: int) -> Path:
    """The place of one of its old runs."""
    return site / "runs" / str(number)


def runs(site: Path) -> list[int]:
    """The old runs that have a place there, the newest first; other names are nobody's."""
    try:
        names = os.listdir(site / "runs")
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((int(name) for name in names if is_run(name)), reverse=True)


def is_run(name: str) -> bool:
    """Is it the number of a run?"""
    return _RUN.fullmatch(name) is not None


def is_site(name: str) -> bool:
    """Can a site have this name?"""
    return _SITE.fullmatch(name) is not None
