"""Directories of the warehouse: what lies in them, and their names. Hidden names and links are none of ours."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dmtools import names
from dmtools.command import Unavailable
from dmtools.lta.api import Books, answer
from dmtools.lta.api.directories import Full, Seen, Verdict, Verdicts
from dmtools.settings import Settings
from dmtools.storage.answers import StorageError
from dmtools.storage.walking import Walk, facts, kind

MANY = 1000  # in one ask
# path below the directory, size in bytes, mtime in ns
Found = tuple[bytes, int, int]


@dataclass
class Content:
    """What a directory holds, with all below it: its files, and what is no file and can't be bundled, with why."""

    files: list[Found] = field(default_factory=list)
    others: list[tuple[bytes, str]] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(size for _path, size, _mtime in self.files)


def root(settings: Settings) -> bytes:
    """The directory of the warehouse. Raises Unavailable when it isn't there."""
    path = settings.path(settings.lta.warehouse)
    if not path.is_dir():
        raise Unavailable("no warehouse", str(path), "it is no directory", "mount it, or mend [lta] warehouse")
    return os.fsencode(path)


def path_of(warehouse: bytes, ideal: str) -> bytes:
    """Where a directory or file is, by its name below the warehouse (percent-encoded, with a leading slash)."""
    return warehouse + names.decode(ideal)


def content(path: bytes, stall: float) -> Content:
    """All that lies in a directory, links not followed. Raises StorageError: it can't be read whole, or hangs."""
    found = Content()
    walk = Walk(path, stall, facts, hidden=False)
    for rows in walk.rows():
        for name, size, mtime_ns, mode in rows:
            if stat.S_ISREG(mode):
                found.files.append((name, size, mtime_ns))
            else:
                found.others.append((name, kind(mode)))
    if walk.unreadable:
        raise StorageError("permission", f"{walk.unreadable[0]}: {len(walk.unreadable)} directories could not be read")
    return found


def register(books: Books, home: str, warehouse: bytes, ideals: Iterable[str], stall: float) -> Iterator[Verdict]:
    """Asks which of these directories, and of those around them, are full now; yields the verdict on each that somebody expects.

    Only those with an expected number are counted. Raises StorageError.
    """
    wanted = sorted({around for ideal in ideals for around in _with_parents(ideal)})
    for start in range(0, len(wanted), MANY):
        part = wanted[start : start + MANY]
        for verdict in _ask(books, home, warehouse, dict.fromkeys(part, (0, 0))):  # what holds nothing is never full
            if verdict.expected is None or not os.path.isdir(path_of(warehouse, verdict.ideal)):
                continue
            found = content(path_of(warehouse, verdict.ideal), stall)
            yield from _ask(books, home, warehouse, {verdict.ideal: (len(found.files), found.bytes)})


def _with_parents(ideal: str) -> list[str]:
    parts = ideal.strip("/").split("/")
    return ["/" + "/".join(parts[:n]) for n in range(1, len(parts) + 1)] if ideal.strip("/") else []


def _ask(books: Books, home: str, warehouse: bytes, counts: dict[str, tuple[int, int]]) -> tuple[Verdict, ...]:
    seen = tuple(
        Seen(ideal=ideal, path=names.encode(path_of(warehouse, ideal)), files=files, bytes=size)
        for ideal, (files, size) in counts.items()
    )
    return answer(books, Full(home=home, seen=seen), Verdicts).verdicts
