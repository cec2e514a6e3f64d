"""The files of a site: what each may be called, how it is written, when an old one goes.

index.html is the last to come, by rename; it names all others by their content, so a page that is open keeps its own. What it
names no more stays for KEEP_HOURS. data/NAME.json is for programs: its address is always the same; it is replaced by rename, too.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from dmtools import durable
from dmtools.datalogger.plots.catalogue import Entry
from dmtools.datalogger.plots.rows import Key
from dmtools.datalogger.windows import EVENT

INDEX, LISTING, HELP, STATE = "index.html", "index.json", "help.html", ".made.json"
DATA, ASSETS = "data", "assets"
KEEP_HOURS = 24
LEFT_SECONDS = 3600  # a hidden file of a pass that was killed
NAME = r"[A-Za-z0-9][A-Za-z0-9_\[\]@.,$-]{0,99}\.(?:html|js|json|css|svg)"
FORM = 1  # another one when the figures are made in another way: all are made anew
_MARKED = re.compile(r"-[0-9a-f]{16}\.(?:js|css|svg)$")
_MODE, _PLACE_MODE = 0o640, 0o750


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What the last pass made, and since when (ISO) files are not named any more. It is not part of the site."""

    form: int
    made: str = ""
    devices: dict[str, Entry] = {}
    left: dict[str, str] = {}


def stem(key: Key) -> str:
    """`B:VIMIN` -> `B_VIMIN`: a name that every file share takes; an event's: `event-0c`."""
    return f"event-{key.name}" if key.kind == EVENT else key.name.replace(":", "_", 1)


def marked(name: str, data: bytes) -> str:
    """`plots.js` -> `plots-0123456789abcdef.js`: by its content."""
    head, _, tail = name.rpartition(".")
    return f"{head}-{hashlib.sha256(data).hexdigest()[:16]}.{tail}"


def read(site: Path) -> State:
    """What the last pass made there; nothing, when that can't be read or was made in another way: then all is made anew."""
    try:
        found = msgspec.json.decode((site / STATE).read_bytes(), type=State)
    except (FileNotFoundError, msgspec.MsgspecError, ValueError):
        return State(form=FORM)
    return found if found.form == FORM else State(form=FORM, left=found.left)


def prepare(site: Path) -> None:
    """Makes the directories, and takes away what killed passes left. The site's own parent must be there."""
    for place in (site, site / DATA, site / ASSETS):
        place.mkdir(exist_ok=True, mode=_PLACE_MODE)
        for path in place.glob(".*.tmp"):
            if path.stat().st_mtime < time.time() - LEFT_SECONDS:
                path.unlink(missing_ok=True)


def is_there(path: Path, size: int) -> bool:
    """Is a file of this size there? Those that are named by their content need no other proof."""
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def put(place: Path, files: Iterable[tuple[str, bytes]]) -> int:
    """Writes those that aren't there yet with their content; gives how many. All at once durable."""
    new = [(name, data) for name, data in files if not _has(place / name, data)]
    if new:
        durable.publish(place, new, _MODE)
    return len(new)


def _has(path: Path, data: bytes) -> bool:
    return is_there(path, len(data)) and (bool(_MARKED.search(path.name)) or path.read_bytes() == data)


def sweep(site: Path, named: Collection[str], left: dict[str, str], now: datetime) -> dict[str, str]:
    """Takes away what is not named since KEEP_HOURS; gives what is left and since when. Files of others are not touched."""
    still: dict[str, str] = {}
    for place in (DATA, ASSETS):
        for entry in os.scandir(site / place):
            name = f"{place}/{entry.name}"
            if name in named or not re.fullmatch(NAME, entry.name):
                continue
            since = left.get(name, now.isoformat())
            if now - datetime.fromisoformat(since) > timedelta(hours=KEEP_HOURS):
                Path(entry.path).unlink(missing_ok=True)
            else:
                still[name] = since
    return still
