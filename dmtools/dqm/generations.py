"""Generations: directories that appear whole and are never changed, so that no reader ever sees half of one.

A place (as raw/SITE/live) holds g0000000001, g0000000002, ...; the highest complete one is in force. There is no link
that says which: so the places can be mounted or brought by rsync, in any order, and a half-brought one is not seen.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from dmtools import clock, durable

MANIFEST = "manifest.json"
_NAME = re.compile(r"g(\d{10})")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HIDDEN = re.compile(r"\.(?:new|gone)-\d+-.*")
_MODE = 0o750


class Listed(msgspec.Struct, frozen=True):
    """One file of a generation: bytes and sha256 (hex)."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a generation is: when it was made, its files, and what its maker says of it (`facts`, texts alone)."""

    schema: int = 1
    made: Annotated[datetime, msgspec.Meta(tz=True)]
    files: dict[str, Listed]
    facts: dict[str, str] = {}


class Torn(Exception):
    """A generation whose files are not what its manifest says: it is half brought, or was damaged."""


@dataclass(frozen=True)
class Generation:
    """A complete one. `number` orders those of a place; `made` (UTC) tells two of one number apart."""

    path: Path
    number: int
    manifest: Manifest

    @property
    def made(self) -> datetime:
        """When it was made, by its maker's clock."""
        return self.manifest.made

    @property
    def mark(self) -> str:
        """What names it for good, also when somebody emptied the place and the numbers began anew."""
        return f"{self.path.name}@{clock.iso(self.made)}"

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.manifest.files.values())


def publish(place: Path, files: Mapping[str, bytes], facts: Mapping[str, str] | None = None) -> Generation:
    """Makes the next generation of a place. Raises OSError; then nothing of it is seen. File names are plain ones."""
    if wrong := [name for name in files if not _FILE.fullmatch(name) or name == MANIFEST]:
        raise ValueError(f"a generation can't have a file called {wrong[0]!r}")
    place.mkdir(parents=True, exist_ok=True, mode=_MODE)
    listed = {name: Listed(len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()}
    manifest = Manifest(made=clock.now(), files=listed, facts=dict(facts or {}))
    made = place / f".new-{os.getpid()}-{os.urandom(6).hex()}"
    made.mkdir(mode=_MODE)
    try:
        for name, data in {**files, MANIFEST: msgspec.json.encode(manifest)}.items():
            (made / name).write_bytes(data)
        durable.syncfs(made)
        number = _rename_to_next(place, made)
    except BaseException:  # a signal, too
        shutil.rmtree(made, ignore_errors=True)
        raise
    durable.fsync_dir(place)
    return Generation(place / f"g{number:010}", number, manifest)


def _rename_to_next(place: Path, made: Path) -> int:
    number = top(place)
    while True:
        number += 1
        try:
            durable.rename_new(made, place / f"g{number:010}")
        except FileExistsError:  # another maker was quicker
            continue
        return number


def numbers(place: Path) -> list[int]:
    """The numbers of all generations of a place, complete or not; none when there is no such place."""
    try:
        names = os.listdir(place)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [int(found[1]) for name in names if (found := _NAME.fullmatch(name))]


def top(place: Path) -> int:
    """The number of its newest generation, complete or not; 0: it has none."""
    return max(numbers(place), default=0)


def is_name(name: str) -> bool:
    """Is a directory of this name a generation, complete or not?"""
    return _NAME.fullmatch(name) is not None


def every(place: Path) -> Iterator[Generation]:
    """The complete generations of a place, the newest first."""
    for number in sorted(numbers(place), reverse=True):
        if (found := read(place / f"g{number:010}")) is not None:
            yield found


def newest(place: Path) -> Generation | None:
    """The one in force; None when there is none yet."""
    return next(every(place), None)


def read(path: Path) -> Generation | None:
    """One generation; None when it is not (yet) complete: a file of its manifest is not there with its size."""
    name = _NAME.fullmatch(path.name)
    try:
        if not name or path.is_symlink():
            return None
        manifest = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
        whole = all(_FILE.fullmatch(one) and _is_of(path / one, listed.size) for one, listed in manifest.files.items())
    except (OSError, msgspec.MsgspecError, ValueError):
        return None
    return Generation(path, int(name[1]), manifest) if whole else None


def _is_of(path: Path, size: int) -> bool:
    found = path.lstat()
    return found.st_size == size and (found.st_mode & 0o170000) == 0o100000


def load(generation: Generation, names: Collection[str] | None = None) -> dict[str, bytes]:
    """Its files, or those of `names`, each proved by its sum. Raises Torn; so also when it was cleaned away meanwhile."""
    wanted = generation.manifest.files if names is None else [one for one in generation.manifest.files if one in names]
    found = {}
    for name in wanted:
        try:
            data = (generation.path / name).read_bytes()
        except OSError as problem:
            raise Torn(f"{generation.path / name} can't be read: {problem.strerror or problem}") from None
        if hashlib.sha256(data).hexdigest() != generation.manifest.files[name].sha256:
            raise Torn(f"{generation.path / name} is not what its manifest says")
        found[name] = data
    return found


def load_newest(place: Path) -> tuple[Generation, dict[str, bytes]] | None:
    """The newest generation that is whole and proves so, with its files; None when there is none."""
    for generation in every(place):
        try:
            return generation, load(generation)
        except Torn:
            continue
    return None


def remove(generation: Generation) -> None:
    """Takes a generation away: it vanishes at once, then its files go. Raises OSError."""
    discard(generation.path)


def discard(path: Path) -> None:
    """The same, of one that perhaps is not whole. Raises OSError."""
    gone = path.with_name(f".gone-{os.getpid()}-{os.urandom(6).hex()}")
    try:
        os.rename(path, gone)
    except FileNotFoundError:
        return  # another cleaner was quicker
    shutil.rmtree(gone)


def leftovers(place: Path, before: datetime) -> list[Path]:
    """What killed makers and cleaners left there before an instant: hidden, so nobody else looks at it."""
    try:
        entries = list(os.scandir(place))
    except (FileNotFoundError, NotADirectoryError):
        return []
    old = []
    for entry in entries:
        try:
            if _HIDDEN.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_mtime < before.timestamp():
                old.append(Path(entry.path))
        except FileNotFoundError:
            continue
    return sorted(old)
