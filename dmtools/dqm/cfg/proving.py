"""What is wrong with the settings on this machine: directories, browser and driver, the cookie file, the simulator."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from dmtools.dqm import places
from dmtools.dqm.robbing import addresses
from dmtools.dqm.robbing.browsers import NoBrowser, Tools
from dmtools.settings import Settings, SettingsError


def problems(settings: Settings) -> list[str]:
    """Sentences: what is wrong, and what to do. What the file itself has wrong is told when it is read."""
    return [*_directories(settings), *_browser(settings), *_cookies(settings)]


def _directories(settings: Settings) -> Iterator[str]:
    for place in (area.path for area in places.areas(settings)):
        if not place.is_dir():
            yield f"the directory {place} is not there; make it with: dm-config init {settings.home}, or mount it"
        elif not os.access(place, os.R_OK | os.X_OK):
            yield f"the directory {place} can't be read by this user; mend its owner or mode"


def _browser(settings: Settings) -> Iterator[str]:
    """Only what is named and can't be used: a browser that is not installed is wanted on the robber's machine alone."""
    for key in ("browser_path", "driver_path") if settings.dqm.backend == "browser" else ():
        text = getattr(settings.dqm, key)
        path = Path(text).expanduser()
        if text and not path.is_file():
            yield f"dqm.{key}: there is no program {path}; mend it, or leave the key out"
        elif text and not os.access(path, os.X_OK) and key == "browser_path":
            yield f"dqm.{key}: {path} can't be run; chmod +x {path}, or name another"


def _cookies(settings: Settings) -> Iterator[str]:
    try:
        addresses.cookies(settings)
    except SettingsError as problem:
        yield from (f"dqm.cookie_file: {text}" for text in problem.problems)


def doubts(settings: Settings) -> Iterator[str]:
    """What may be meant so."""
    dqm = settings.dqm
    if dqm.backend == "browser" and not any(_browser(settings)):
        try:
            Tools(dqm)
        except NoBrowser as problem:
            yield f"dqm-robber can't work on this machine: {problem}; where only parser or server run, that is well"
    for place in (area.path for area in places.areas(settings)):
        if place.is_dir() and not os.access(place, os.W_OK):
            yield f"{place} can't be written by this user: well for dqm-server, not for who fills it"
    if dqm.stale_seconds <= dqm.robber_seconds + dqm.sleep_seconds:
        seconds = dqm.robber_seconds + dqm.sleep_seconds
        yield f"dqm.stale_seconds = {dqm.stale_seconds}: a page may be got only every {seconds:g} s, so it would often be Stale"
    for site in dqm.sites:
        if site.url.startswith("sim:") and not (settings.home / "run/sim/dqm.json").exists():
            yield f"the site {site.name} is the simulator's, which does not run: dm-sim dqm"
    yield from _room(settings)


def _room(settings: Settings) -> Iterator[str]:
    """Is there room for what the quotas allow?"""
    for area in places.areas(settings):
        if area.path.is_dir() and shutil.disk_usage(area.path).free < area.quota:
            yield f"dqm.{area.name}_bytes = {area.quota}, and less is free on the disk of {area.path}"
