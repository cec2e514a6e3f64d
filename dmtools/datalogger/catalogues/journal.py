"""The embedded catalogue: HOME/datalogger/declared.ndjson, a line of JSON a file, only ever appended to.

A line is fsynced before it counts. A line that a crash cut is taken off by the next one that writes; nobody was told of it.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmtools import clock, durable
from dmtools.datalogger.catalogues.entry import SETTINGS, Entry, Failed, Seen, judged

WRITTEN = "written"
LONGEST = 1 << 20  # bytes of a line


@dataclass
class Journal:
    """The file, and what was read of it so far."""

    path: Path
    name: str = "journal"
    _at: int = 0
    _known: dict[str, tuple[object, object]] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """For people."""
        return str(self.path)

    def open(self) -> None:
        """Nothing to sign in to."""

    def steps(self, entry: Entry) -> tuple[str, ...]:
        """One line."""
        return (WRITTEN,)

    def look(self, entry: Entry) -> Seen:
        """Reads what others wrote meanwhile. Raises Failed."""
        try:
            with self.path.open("rb") as file:
                self._read_on(file.read() if not self._at else _from(file, self._at))
        except FileNotFoundError:
            self._at, self._known = 0, {}
        except OSError as problem:
            raise _unusable(self.path, problem) from None
        if entry.name not in self._known:
            return Seen()
        differs = judged(entry, self.path.name, *self._known[entry.name])
        return Seen(differs=differs) if differs else Seen(frozenset({WRITTEN}))

    def act(self, step: str, entry: Entry) -> None:
        """Appends the line, unless another pass was quicker. Raises Failed; a full disk is told as such."""
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError as problem:
            raise _unusable(self.path, problem) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            mend(handle)
            seen = self.look(entry)
            if not seen.steps and not seen.differs:
                _append(handle, _line(entry))
            os.fsync(handle)
            durable.fsync_dir(self.path.parent)
        finally:
            os.close(handle)

    def _read_on(self, new: bytes) -> None:
        """Whole lines alone: the one after the last line's end is being written, or was cut."""
        whole = new[: new.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                found = json.loads(line)
                self._known[str(found["name"])] = (found["bytes"], found["adler32"])
            except (ValueError, KeyError, TypeError):
                step = "look at the line and take it out, or move the file away: --reconcile writes it anew"
                raise Failed(SETTINGS, f"{self.path}, line {number} from byte {self._at}: it is no declaration", step) from None
        self._at += len(whole)


def mend(handle: int) -> None:
    """Takes off what a crash left of a last line; to be called under the lock."""
    size = os.fstat(handle).st_size
    begin = max(0, size - LONGEST)
    keep = begin + os.pread(handle, size - begin, begin).rfind(b"\n") + 1
    if begin < keep < size or (not begin and keep < size):
        os.ftruncate(handle, keep)


def _append(handle: int, line: bytes) -> None:
    before = os.fstat(handle).st_size
    try:
        done = 0
        while done < len(line):
            done += os.write(handle, line[done:])
    except BaseException:  # a full disk, a signal: no half line stays
        os.ftruncate(handle, before)
        raise


def _line(entry: Entry) -> bytes:
    told: dict[str, Any] = {"name": entry.name, "path": entry.path, "bytes": entry.bytes, "adler32": entry.adler32}
    told |= {**entry.facts(), "made_by": entry.version, "declared": clock.iso(clock.now())}
    return json.dumps(told, ensure_ascii=True).encode() + b"\n"


def _from(file: Any, at: int) -> bytes:
    file.seek(at)
    found: bytes = file.read()
    return found


def _unusable(path: Path, problem: OSError) -> Failed:
    return Failed(SETTINGS, f"{path} can't be used: {problem.strerror}", "mend it; the next pass goes on")
