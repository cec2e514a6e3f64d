"""Files that people or other programs give: how many files directories have, and the experiment's catalogue.

A line is `DIRECTORY COUNT` or `LFN SIZE SHA512` (names in raw bytes, blanks in them are no harm), or a JSON object. Plain or
gzip; empty lines and those that begin with # are passed over.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from dmtools import names
from dmtools.lta.api.directories import CatalogueFile, NewExpected

T = TypeVar("T")
MANY = 1000
LARGEST = 2**62
_SHA512 = re.compile(r"[0-9a-f]{128}")


class BadLine(ValueError):
    """A line that can't be understood; the text names its number and why."""


def expected(file: BinaryIO) -> Iterator[list[NewExpected]]:
    """How many files directories have, in hundreds. Raises BadLine, OSError."""
    return _parts(file, _expected)


def catalogue(file: BinaryIO) -> Iterator[list[CatalogueFile]]:
    """What files must be, in hundreds. Raises BadLine, OSError."""
    return _parts(file, _catalogue)


def opened(path: Path) -> BinaryIO:
    """The file, unpacked when it is gzip. Raises OSError."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast("BinaryIO", gzip.open(path, "rb")) if packed else path.open("rb")


def _parts(file: BinaryIO, understand: Callable[[bytes], T]) -> Iterator[list[T]]:
    part: list[T] = []
    try:
        for number, line in enumerate(file, 1):
            text = line.rstrip(b"\r\n")
            if not text.strip() or text.startswith(b"#"):
                continue
            try:
                part.append(understand(text))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
                raise BadLine(f"line {number}: {problem}") from None
            if len(part) == MANY:
                yield part
                part = []
    except EOFError:
        raise BadLine("it ends in the middle: it is a part of a gzip file") from None
    if part:
        yield part


def _expected(line: bytes) -> NewExpected:
    if line.startswith(b"{"):
        value = _object(line)
        name, count = _raw(value, "directory", "ideal", "name"), value.get("files", value.get("count", value.get("number")))
    else:
        name, count = _split(line, 2)
    number = _number(count, "the count of files")
    if number < 1:
        raise ValueError(f"the count of files is {number}: a directory that is full has one at least")
    return NewExpected(ideal=_name(name), files=number)


def _catalogue(line: bytes) -> CatalogueFile:
    if line.startswith(b"{"):
        value = _object(line)
        sums = value.get("checksum") or {}
        name, size = _raw(value, "lfn", "logical_name", "name"), value.get("size", value.get("file_size"))
        sha512 = value.get("sha512", sums.get("sha512") if isinstance(sums, dict) else None)
    else:
        name, size, sha512 = _split(line, 3)
    text = (sha512.decode("ascii", "replace") if isinstance(sha512, bytes) else str(sha512)).lower()
    if not _SHA512.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no sha512: 128 hex digits")
    return CatalogueFile(lfn=_name(name), size=_number(size, "the size"), sha512=text)


def _object(line: bytes) -> dict[str, Any]:
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def _raw(value: dict[str, Any], *keys: str) -> bytes:
    for key in keys:
        if isinstance(found := value.get(key), str):
            return os.fsencode(found)
    raise ValueError(f"it has no {keys[0]}")


def _split(line: bytes, parts: int) -> list[bytes]:
    found = line.rsplit(maxsplit=parts - 1)
    if len(found) < parts:
        raise ValueError(f"it has {len(found)} words, {parts} are needed")
    return found


def _number(text: Any, what: str) -> int:
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    if isinstance(text, str) and text.isascii() and text.isdecimal():
        text = int(text) if len(text) < 20 else LARGEST + 1
    if not isinstance(text, int) or isinstance(text, bool) or not 0 <= text <= LARGEST:
        raise ValueError(f"{what} is {str(text)[:40]!r}, and must be a number from 0 on")
    return text


def _name(raw: bytes) -> str:
    name = raw.rstrip(b"/")
    names.check_path(name, names.shown(names.encode(raw)))
    encoded = names.encode(re.sub(b"//+", b"/", name))
    if len(encoded) > 4096:
        raise ValueError("the name is longer than 4096 characters")
    if b"/./" in name + b"/":
        raise ValueError(f"{names.shown(encoded)} holds '.' as a part")
    return encoded
