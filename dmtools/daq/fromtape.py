"""One zip back from tape: fetched whole, proved by its checksum, unzipped, each file proved by the books."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from dmtools.daq.jobfile import MANIFEST, Manifest, member_name
from dmtools.daq.ziptest import BadZip, Sink, prove
from dmtools.names import file_url, shown
from dmtools.settings import Settings
from dmtools.storage import StorageError, client_for, client_reason
from dmtools.storage.errnos import error_of

FETCHED = "fetched.zip"
MOST_MANIFEST = 1 << 28


@dataclass(frozen=True)
class Member:
    """A file of a zip, and its bytes by the books: size in bytes, adler32."""

    lfn: str
    size: int
    checksum: str
    mtime_ns: int | None = None


@dataclass(frozen=True)
class TapeZip:
    """A zip on tape, and its bytes by the books; None where there are none."""

    url: str
    size: int | None = None
    checksum: str | None = None

    @property
    def shown(self) -> str:
        """Its URL for people."""
        return shown(self.url)


def fetch(wanted: TapeZip, directory: Path, settings: Settings) -> Path:
    """The zip, in this directory. Raises StorageError: `checksum` when the tape gives other bytes than it was given."""
    store = client_for(wanted.url, settings)
    if store is None:
        raise StorageError("unsupported", client_reason(wanted.url, settings) or wanted.url, wide=True)
    path = directory / FETCHED
    copied = store.copy(wanted.url, file_url(path), expect=wanted.checksum, overwrite=True)
    if wanted.size is not None and copied.size != wanted.size:
        raise StorageError("checksum", f"{wanted.shown} has {copied.size} bytes, expected {wanted.size}")
    return path


def check(wanted: TapeZip, path: Path, members: Iterable[Member], sink: Sink | None = None) -> None:
    """Unzips all of it; the zip and these files must be as the books say. Raises StorageError, class `checksum`.

    `sink` gets (raw name, piece) on the way: what it got may be used only when nothing was raised.
    """
    try:
        proved = prove(path, sink)
    except BadZip as problem:
        raise StorageError("checksum", f"{wanted.shown} is damaged: {problem}") from None
    if wanted.checksum is not None and proved.checksum != wanted.checksum:
        raise StorageError("checksum", f"{wanted.shown} is damaged: its checksum is {proved.checksum}, not {wanted.checksum}")
    for member in members:
        size, checksum, _ = proved.members.get(member_name(member.lfn), (None, None, None))
        if size is None:
            raise StorageError("checksum", f"{wanted.shown} does not hold {shown(member.lfn)}")
        if (size, checksum) != (member.size, member.checksum):
            said = f"{size} bytes, {checksum}; the books say {member.size} bytes, {member.checksum}"
            raise StorageError("checksum", f"{shown(member.lfn)} in {wanted.shown} is not the original: {said}")


def unzip(wanted: TapeZip, path: Path, members: Mapping[str, Member], directory: Path) -> dict[str, Path]:
    """Unzips these files (by LFN) below hidden names and proves them, and the zip as a whole. Raises StorageError."""
    places = {lfn: directory / f"file-{number}" for number, lfn in enumerate(members)}
    try:
        with ExitStack() as stack:
            out = _Files({member_name(lfn): stack.enter_context(place.open("wb")) for lfn, place in places.items()})
            check(wanted, path, members.values(), out.write)
    except OSError as problem:
        raise error_of(problem, f"the hidden files in {directory}", "written and read") from None
    return places


class _Files:
    """The files that are unzipped, by their raw names."""

    def __init__(self, files: dict[bytes, BinaryIO]) -> None:
        self._files = files

    def write(self, name: bytes, piece: bytes) -> None:
        """A piece of a member; those that nobody asked for are only proved."""
        if name in self._files:
            self._files[name].write(piece)


def manifest(wanted: TapeZip, path: Path) -> dict[str, Member]:
    """What the zip says of its files, by LFN: for a zip that no table knows. Raises StorageError."""
    try:
        with zipfile.ZipFile(path) as found, found.open(MANIFEST.lstrip("/")) as file:
            said = msgspec.json.decode(file.read(MOST_MANIFEST), type=Manifest)
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError, NotImplementedError, OSError) as problem:
        raise StorageError("checksum", f"{wanted.shown} has no manifest that can be read: {problem}") from None
    return {entry.lfn: Member(entry.lfn, entry.size, f"adler32:{entry.adler32}") for entry in said.files}
