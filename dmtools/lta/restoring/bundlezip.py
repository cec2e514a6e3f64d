"""A bundle as a zip: proved whole, its manifest, and which member is which file. Nothing here writes."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from dmtools import names
from dmtools.lta.glue import manifest
from dmtools.lta.glue.manifest import BadManifest, Record
from dmtools.storage import StorageError
from dmtools.storage.errnos import error_of

BLOCK = 1 << 20
MOST_MANIFEST = 1 << 30  # bytes; a record has some hundreds
ZIP_ERRORS = (zipfile.BadZipFile, struct.error, NotImplementedError, EOFError, OverflowError, RuntimeError, ValueError)
_SHA512 = re.compile(r"[0-9a-f]{128}")


class BadBundle(Exception):
    """The zip is not the bundle that was archived, or holds what must not be unpacked; the text says why."""


@dataclass(frozen=True)
class Found:
    """A file in an open bundle, and what the manifest says of it."""

    member: zipfile.ZipInfo
    record: Record


@dataclass
class BundleZip:
    """An open bundle: `files` by LFN, as its manifest says; `unlisted`: members that it does not list."""

    zip: zipfile.ZipFile
    files: dict[str, Found]
    unlisted: list[bytes]

    def pieces(self, found: Found) -> Iterator[bytes]:
        """The bytes of a file, in order. Raises BadBundle."""
        try:
            with self.zip.open(found.member) as file:
                while piece := file.read(BLOCK):
                    yield piece
        except ZIP_ERRORS as problem:
            raise BadBundle(f"{names.shown(found.record.name)} can't be read out of it: {problem}") from None


def sha512_of(path: bytes) -> tuple[int, str]:
    """(size, sha512) of a file, in one read. Raises StorageError."""
    try:
        with open(path, "rb", buffering=0, opener=_regular) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha512").hexdigest()
    except OSError as problem:
        raise error_of(problem, _shown(path), "read") from problem


def _shown(raw: bytes) -> str:
    return names.shown(names.encode(raw))


def _regular(path: str | bytes, flags: int) -> int:
    """A FIFO or a device must not hold us."""
    handle = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise StorageError("invalid", f"{_shown(os.fsencode(path))} is no regular file")
    return handle


@contextmanager
def opened(path: bytes) -> Iterator[BundleZip]:
    """The bundle, its names judged. Raises BadBundle, and StorageError when it can't be read."""
    try:
        with open(path, "rb", opener=_regular) as file:
            try:
                content = zipfile.ZipFile(file)
            except ZIP_ERRORS as problem:
                raise BadBundle(f"it is no zip: {problem}") from None
            with content:
                yield _bundle(content)
    except OSError as problem:
        raise error_of(problem, _shown(path), "read") from problem


def records(path: bytes) -> list[Record]:
    """What the manifest of a zip lists. Raises BadBundle, StorageError."""
    with opened(path) as bundle:
        return [found.record for found in bundle.files.values()]


def _bundle(content: zipfile.ZipFile) -> BundleZip:
    members = sorted(content.infolist(), key=lambda member: member.header_offset)
    raw = [_raw_name(member) for member in members]
    if not members or not manifest.is_manifest(raw[0]):
        raise BadBundle("it has no manifest as its first member")
    listed = _listed(content, members[0])
    by_name = _files(members[1:], raw[1:])
    chosen = match(list(by_name), listed)
    used = set(chosen.values())
    files = {record.name: Found(by_name[chosen[record.name]], record) for record in listed}
    for found in files.values():
        if found.member.file_size != found.record.size:
            said = f"{found.member.file_size} bytes in the zip, {found.record.size} in the manifest"
            raise BadBundle(f"{names.shown(found.record.name)} has {said}")
    return BundleZip(content, files, [name for name in by_name if name not in used])


def _listed(content: zipfile.ZipFile, member: zipfile.ZipInfo) -> list[Record]:
    if member.file_size > MOST_MANIFEST:
        raise BadBundle(f"its manifest has more than {MOST_MANIFEST} bytes")
    try:
        return judged(content.read(member))
    except BadManifest as problem:
        raise BadBundle(f"its manifest: {problem}") from None
    except ZIP_ERRORS as problem:
        raise BadBundle(f"its manifest can't be read: {problem}") from None


def judged(data: bytes) -> list[Record]:
    """The records of a manifest: each a name below a directory, once, with its sha512. Raises BadManifest."""
    found: dict[str, Record] = {}
    for record in manifest.read(data).files:
        name, shown = names.decode(record.name), names.shown(record.name)
        if names.encode(name) != record.name:
            raise BadManifest(f"{record.name!r} is not written as names are")
        if not is_below(name):
            raise BadManifest(f"{shown!r} is no name that a file below a directory can have")
        if record.sha512 is None or not _SHA512.fullmatch(record.sha512):
            raise BadManifest(f"it does not say the sha512 of {shown}")
        if record.name in found:
            raise BadManifest(f"it lists {shown} twice")
        found[record.name] = record
    return list(found.values())


def is_below(name: bytes) -> bool:
    """Whether b"/a/b" leads to a place below the directory to which it is appended."""
    parts = name[1:].split(b"/")
    return name.startswith(b"/") and b"\0" not in name and not any(part in (b"", b".", b"..") for part in parts)


def _raw_name(member: zipfile.ZipInfo) -> bytes:
    """The bytes of a member's name, which zipfile has decoded."""
    return member.orig_filename.encode("utf-8" if member.flag_bits & 1 << 11 else "cp437")


def _files(members: Sequence[zipfile.ZipInfo], raw: Sequence[bytes]) -> dict[bytes, zipfile.ZipInfo]:
    """The files among them, by name; links and names that lead out of a directory are refused. Raises BadBundle."""
    found: dict[bytes, zipfile.ZipInfo] = {}
    for member, name in zip(members, raw, strict=True):
        shown = _shown(name)
        if not is_below(b"/" + name.removesuffix(b"/")):
            raise BadBundle(f"it holds {shown!r}, which would lead out of the directory")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if name.endswith(b"/") or kind == stat.S_IFDIR:
            continue
        if kind not in (0, stat.S_IFREG):
            raise BadBundle(f"it holds {shown!r}, which is a link or a device")
        if name in found:
            raise BadBundle(f"it holds {shown!r} twice")
        found[name] = member
    return found


def match(members: Sequence[bytes], listed: Sequence[Record]) -> dict[str, bytes]:
    """The member of each listed file. Raises BadBundle when one has none, or it can't be told which.

    A member's name is the LFN, or the LFN below a directory that all of them share; in old bundles only its last part, which
    must then be the only one.
    """
    have = set(members)
    lfns = {record.name: names.decode(record.name) for record in listed}
    if not lfns:
        return {}
    first = min(lfns.values(), key=lambda raw: raw.count(b"/"))
    for base in [base for base, name in _ends(first) if name in have]:  # the longest names first
        if all(raw.startswith(base) and raw[len(base) :] in have for raw in lfns.values()):
            return {lfn: raw[len(base) :] for lfn, raw in lfns.items()}
    return _one_by_one(lfns, have)


def _ends(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """b"/a/b" -> (b"/", b"a/b"), (b"/a/", b"b")."""
    at = raw.find(b"/")
    while at >= 0:
        yield raw[: at + 1], raw[at + 1 :]
        at = raw.find(b"/", at + 1)


def _one_by_one(lfns: dict[str, bytes], have: set[bytes]) -> dict[str, bytes]:
    chosen: dict[str, bytes] = {}
    taken: dict[bytes, str] = {}
    for lfn, raw in lfns.items():
        fitting = [name for _, name in _ends(raw) if name in have]
        if not fitting:
            raise BadBundle(f"its manifest lists {names.shown(lfn)}, which is not in the zip")
        if len(fitting) > 1 or fitting[0] in taken:
            other = taken.get(fitting[0])
            both = f" and {names.shown(other)}" if other else ""
            raise BadBundle(f"it can't be told which member is {names.shown(lfn)}{both}")
        chosen[lfn] = fitting[0]
        taken[fitting[0]] = lfn
    return chosen
