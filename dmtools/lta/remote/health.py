"""How the remote site is: the tape, the buffer, the room that is left. What is looked at here, the heartbeat tells."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from dmtools.lta.remote.settings import Remote
from dmtools.lta.remote.tape import Tape


@dataclass
class Health:
    """`tape`, `buffer`, `room`: what is wrong, None: nothing. Bytes; None: not known. `lying`: what is in the buffer."""

    tape: str | None = None
    buffer: str | None = None
    room: str | None = None
    free: int | None = None
    quota: int | None = None
    lying: dict[str, os.stat_result] = field(default_factory=dict)

    @property
    def error(self) -> str | None:
        """All that is wrong, in a sentence; None: all is well."""
        return "; ".join(text for text in (self.tape, self.buffer, self.room) if text) or None


def look(settings: Remote, tape: Tape) -> Health:
    """Looks at all; changes nothing."""
    found = Health(tape=tape.trouble())
    place = Path(settings.remote_buffer)
    try:
        if not place.is_dir():
            found.buffer = f"the buffer {place} is not there"
            return found
        if not os.access(place, os.W_OK | os.X_OK):
            found.buffer = f"the buffer {place} can't be written"
        room = os.statvfs(place)
        found.free = room.f_bavail * room.f_frsize
        found.lying = lying(place)
    except OSError as problem:
        found.buffer = f"the buffer {place} can't be looked at: {problem.strerror}"
        return found
    here = sum(one.st_size for one in found.lying.values())
    least = settings.remote_free_bytes
    found.quota = settings.remote_quota_bytes or max(0, found.free + here - least)
    if found.free < least:
        found.room = f"the buffer {place} has {found.free:,} bytes free, less than the {least:,} of remote_free_bytes"
    return found


def lying(place: Path) -> dict[str, os.stat_result]:
    """Every file below the buffer, by its path there, which begins with /. Raises OSError: half a list is none."""
    found: dict[str, os.stat_result] = {}
    todo = [str(place)]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                    continue
                try:
                    seen = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # it went while we looked
                    continue
                if stat.S_ISREG(seen.st_mode):
                    found[entry.path[len(str(place)) :]] = seen
    return found
