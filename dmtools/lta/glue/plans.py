"""The plan of a directory's bundles, and what was made by it: HOME/lta/plans/ID, so that a killed pass goes on from there.

A plan depends on the directory's files alone, so a lost one comes out the same again.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import DecodeError, Struct, json

from dmtools import durable, names
from dmtools.lta.glue import manifest
from dmtools.lta.glue.layout import File
from dmtools.lta.glue.manifest import Record
from dmtools.lta.glue.packing import pack
from dmtools.lta.warehouse import Content

SPACE = uuid.UUID("9d1f3c52-6d0e-5c7e-8d1c-0f4f3c0c2a11")  # of the UUIDs of bundles
PLAN = "plan.ndjson"


class Line(Struct, frozen=True):
    """One file of a plan: in which bundle it goes; its path below the directory, percent-encoded."""

    bundle: int
    path: str
    size: int
    mtime_ns: int


class Sum(Struct, frozen=True):
    """What a bundle is that was made."""

    uuid: str
    size: int
    sha512: str
    adler32: str


@dataclass(frozen=True)
class Made:
    """A bundle that was made: its sums and records."""

    sum: Sum
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Plan:
    """Which files of a directory go into which bundle. `ideal`: the directory's name."""

    ideal: str
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, ideal: str, content: Content, bytes_each: int) -> Plan:
        """The plan of what a directory holds."""
        files = [File(path, names.encode(path), size, mtime) for path, size, mtime in content.files]
        bundles = enumerate(pack(files, bytes_each))
        return cls(ideal, tuple(Line(n, one.name, one.size, one.mtime_ns) for n, some in bundles for one in some))

    @property
    def sum(self) -> str:
        """It names the plan: the same files, cut alike, have the same."""
        return "p" + hashlib.sha256(self.render()).hexdigest()[:40]

    @property
    def bundles(self) -> int:
        """How many."""
        return 1 + max((line.bundle for line in self.lines), default=-1)

    def uuid(self, number: int) -> str:
        """The name of a bundle: the same for the same plan."""
        return str(uuid.uuid5(SPACE, f"{self.ideal} {self.sum} {number}"))

    def files(self, number: int, directory: bytes) -> list[File]:
        """The files of a bundle."""
        some = [line for line in self.lines if line.bundle == number]
        return [
            File(directory + b"/" + names.decode(one.path), f"{self.ideal}/{one.path}", one.size, one.mtime_ns) for one in some
        ]

    def holds(self, content: Content) -> bool:
        """Is it a plan of just these files?"""
        mine = sorted((names.decode(line.path), line.size, line.mtime_ns) for line in self.lines)
        return mine == sorted(content.files)

    def render(self) -> bytes:
        """As it is kept."""
        return b"\n".join([json.encode({"directory": self.ideal}), *(json.encode(line) for line in self.lines), b""])


class Shelf:
    """The plan of one directory, and what was made by it, on disk."""

    def __init__(self, home: Path, number: int) -> None:
        self._place = home / "lta" / "plans" / str(number)

    def plan(self, ideal: str) -> Plan | None:
        """The plan that is kept for this directory; None: there is none, or it can't be read."""
        try:
            head, *lines = (self._place / PLAN).read_bytes().splitlines()
            if json.decode(head) != {"directory": ideal}:
                return None
            return Plan(ideal, tuple(json.decode(line, type=Line) for line in lines))
        except (FileNotFoundError, ValueError, DecodeError):
            return None

    def keep(self, plan: Plan) -> None:
        """Keeps the plan, in place of any other and of what was made by that."""
        self.drop()
        self._place.mkdir(parents=True, mode=0o750)
        durable.write_file(self._place / PLAN, plan.render())

    def made(self, uuid: str) -> Made | None:
        """What is kept of a bundle; None: it was not made yet."""
        try:
            head, _, rest = (self._place / f"{uuid}.ndjson").read_bytes().partition(b"\n")
            return Made(json.decode(head, type=Sum), manifest.read(rest).files)
        except (FileNotFoundError, DecodeError, manifest.BadManifest):
            return None

    def keep_made(self, made: Made) -> None:
        """Keeps what was made, before it gets its name."""
        data = json.encode(made.sum) + b"\n" + manifest.render(made.sum.uuid, made.records)
        durable.write_file(self._place / f"{made.sum.uuid}.ndjson", data)

    def drop(self) -> None:
        """All of it: it is in the tables now."""
        shutil.rmtree(self._place, ignore_errors=True)


def total(files: Sequence[File]) -> int:
    """Bytes of all."""
    return sum(file.size for file in files)
