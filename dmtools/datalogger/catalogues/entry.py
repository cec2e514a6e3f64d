"""What a catalogue is told of a file, what it says of it, and how it fails: the one way in which all catalogues are used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from dmtools.datalogger import wall

SERVER, REFUSED, CREDENTIALS, SETTINGS, DIFFERS = "server", "refused", "credentials", "settings", "differs"


@dataclass(frozen=True)
class Entry:
    """A finished file: `kind` is params or events, `names` are its devices or events; times are UTC, [start, end)."""

    name: str
    path: str
    bytes: int
    adler32: str
    kind: str
    start: datetime
    end: datetime
    series: int
    origin: str
    rows: int
    names: tuple[str, ...]
    timezone: str
    source: str
    version: str

    def facts(self) -> dict[str, str | int | list[str]]:
        """What is known of it beyond its name, size and checksum."""
        return {
            "kind": self.kind,
            "start": wall.text(self.start),
            "end": wall.text(self.end),
            "timezone": self.timezone,
            "devices": list(self.names),
            "rows": self.rows,
            "series": self.series,
            "origin": self.origin,
            "source": self.source,
        }

    def dataset(self, pattern: str) -> str:
        """The dataset that it belongs to: {kind}, {month} and {year} of its first day, at the logger."""
        local = self.start.astimezone(ZoneInfo(self.timezone))
        return pattern.replace("{kind}", self.kind).replace("{month}", f"{local:%Y-%m}").replace("{year}", f"{local:%Y}")


@dataclass(frozen=True)
class Seen:
    """What a catalogue has of a file: the steps that are done; `differs`: why what it has under the name is another file."""

    steps: frozenset[str] = frozenset()
    differs: str = ""


class Away(Exception):
    """The catalogue can't be reached, or did not answer in time: what was asked of it may have been done."""


class Failed(Exception):
    """The catalogue refused, or its answer can't be understood.

    `kind` is one of server, refused, credentials, settings; with the last two no other file fares better. `step`: what to do.
    """

    def __init__(self, kind: str, why: str, step: str = "look at the reason; the file is tried again by itself") -> None:
        super().__init__(why)
        self.kind = kind
        self.step = step

    @property
    def of_all(self) -> bool:
        """Would every other file fail as well?"""
        return self.kind in (CREDENTIALS, SETTINGS)


class Catalogue(Protocol):
    """One place where files are declared. Every call may raise Away or Failed; each step may be done again."""

    name: str

    @property
    def shown(self) -> str:
        """For people."""

    def open(self) -> None:
        """Signs in."""

    def steps(self, entry: Entry) -> tuple[str, ...]:
        """What must be there of a file, in the order in which it is done."""

    def look(self, entry: Entry) -> Seen:
        """What is there. Changes nothing."""

    def act(self, step: str, entry: Entry) -> None:
        """Does one step; one that somebody else was quicker with is well."""


def judged(entry: Entry, what: str, size: object, adler32: object) -> str:
    """Why what stands under the name is another file; empty when size and checksum are the same."""
    if not isinstance(adler32, str) or not adler32:
        return f"{what} has {entry.name} without an adler32 checksum, so nothing proves that it is this file"
    if size != entry.bytes or adler32.lower().rjust(8, "0") != entry.adler32:
        return f"{what} has {entry.name} with {size} bytes and adler32 {adler32}; ours has {entry.bytes} and {entry.adler32}"
    return ""
