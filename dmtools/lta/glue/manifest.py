"""The manifest of a bundle: its first member, `UUID.metadata.ndjson`: a line of its own, then one record a file.

Its length is known before a file is read, for sums have a fixed length. Manifests that IceCube's lta wrote (version 2, one
JSON object; version 3, ndjson with the records of its catalogue) are read, too.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any

from msgspec import DecodeError, Struct, ValidationError, convert, json

from dmtools import names

VERSION = 3
TAIL, OLD_TAIL = ".metadata.ndjson", ".metadata.json"
NO_SHA512, NO_ADLER32 = "0" * 128, "0" * 8


class BadManifest(ValueError):
    """What should be a manifest is none; the text says where."""


class Record(Struct, frozen=True):
    """One file. `name`: its LFN, percent-encoded, with a leading slash; size in bytes; sums in hex, None: not recorded."""

    name: str
    size: int
    sha512: str | None = NO_SHA512
    adler32: str | None = NO_ADLER32
    mtime_ns: int | None = None

    @property
    def member(self) -> bytes:
        """Its name in the zip."""
        return member_name(self.name)


@dataclass(frozen=True)
class Manifest:
    """A whole manifest."""

    uuid: str
    version: int
    files: tuple[Record, ...]


class _Checksum(Struct, frozen=True):
    sha512: str | None = None
    adler32: str | None = None


class _Foreign(Struct, frozen=True):
    """A record of the catalogue of IceCube's lta; it holds more."""

    logical_name: str
    file_size: int
    checksum: _Checksum = _Checksum()


class _Head(Struct):
    uuid: str
    version: int
    file_count: int = -1
    files: list[Any] | None = None


def member_name(lfn: str) -> bytes:
    """An LFN, percent-encoded -> the name in the zip: its raw bytes without the leading slash."""
    return names.decode(lfn).lstrip(b"/")


def file_name(uuid: str) -> bytes:
    """The name of the manifest in the zip of the bundle."""
    return uuid.encode("ascii") + TAIL.encode("ascii")


def is_manifest(member: bytes) -> bool:
    """Has a member of a zip the name of a manifest?"""
    return b"/" not in member and member.endswith((TAIL.encode("ascii"), OLD_TAIL.encode("ascii")))


def render(uuid: str, files: Iterable[Record]) -> bytes:
    """The manifest; as long for the same names, sizes and times whatever the sums."""
    lines = [json.encode(record) for record in files]
    head = {"uuid": uuid, "component": "lta-glue", "version": VERSION, "file_count": len(lines)}
    return b"\n".join([json.encode(head), *lines, b""])


def read(data: bytes) -> Manifest:
    """A manifest of ours, or of IceCube's lta. Raises BadManifest."""
    first, _, rest = data.partition(b"\n")
    try:
        head = json.decode(first, type=_Head)
    except (DecodeError, UnicodeDecodeError):
        head, rest = _decoded(data, "it"), b""  # one object over many lines
    if head.files is not None:
        if rest.strip():
            raise BadManifest("something stands behind its end")
        return Manifest(head.uuid, head.version, tuple(_record(value, n) for n, value in enumerate(head.files, 1)))
    lines = [line for line in rest.split(b"\n") if line.strip()]
    if head.file_count != len(lines):
        raise BadManifest(f"it says that it has {head.file_count} records, and has {len(lines)}")
    return Manifest(head.uuid, head.version, tuple(_line(line, n) for n, line in enumerate(lines, 2)))


def place_of(record: Record, members: Container[bytes]) -> bytes | None:
    """Where a file is in its zip: by its whole name, or by the longest end of it; None: it isn't there."""
    parts = record.member.split(b"/")
    ends = (b"/".join(parts[n:]) for n in range(len(parts)))
    return next((end for end in ends if end in members), None)


def _decoded(data: bytes, what: str) -> _Head:
    try:
        return json.decode(data, type=_Head)
    except (DecodeError, UnicodeDecodeError) as problem:
        raise BadManifest(f"{what} is no manifest: {problem}") from None


def _line(line: bytes, number: int) -> Record:
    try:
        return _record(json.decode(line), number)
    except (DecodeError, UnicodeDecodeError) as problem:
        raise BadManifest(f"line {number} is no JSON: {problem}") from None


def _record(value: Any, number: int) -> Record:
    try:
        if isinstance(value, dict) and "logical_name" in value:
            foreign = convert(value, _Foreign)
            name, sums = names.encode(os.fsencode(foreign.logical_name)), foreign.checksum
            return _checked(Record(name, foreign.file_size, sums.sha512, sums.adler32), number)
        return _checked(convert(value, Record), number)
    except (ValidationError, UnicodeEncodeError) as problem:
        raise BadManifest(f"record {number} is none of a file: {problem}") from None


def _checked(record: Record, number: int) -> Record:
    try:
        names.check_path(names.decode(record.name), record.name)
    except names.NameRefused as problem:
        raise BadManifest(f"record {number}: {problem}") from None
    if record.size < 0:
        raise BadManifest(f"record {number}: {record.name} has a size below 0")
    return record
