"""The manifest of a dumped disk, HOME/lta/disks/UUID.ndjson: a line for each file that is proved in the warehouse.

Lines are added and made durable in groups, after their files have their names. A killed dump goes on from there: what is
listed, unchanged on the disk and still in the warehouse is not copied again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from msgspec import DecodeError, Struct, json

from dmtools import durable


class Line(Struct, frozen=True):
    """One file: its path below the disk's directory (percent-encoded), size in bytes, sha512, mtime in ns."""

    name: str
    size: int
    sha512: str
    mtime_ns: int


def path_of(home: Path, uuid: str) -> Path:
    """Where the manifest of a disk is."""
    return home / "lta" / "disks" / f"{uuid}.ndjson"


class DiskRecord:
    """The manifest of one disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def known(self) -> dict[str, Line]:
        """The files that are listed. What a kill left of a last line is taken away."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            self._path.touch(0o640)
            durable.fsync_dir(self._path.parent)
            return {}
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(self._path, whole)
        found: dict[str, Line] = {}
        for text in data[:whole].splitlines():
            try:
                line = json.decode(text, type=Line)
            except (DecodeError, UnicodeDecodeError):
                continue  # it is copied, or compared, again
            found[line.name] = line
        return found

    def add(self, lines: Iterable[Line]) -> None:
        """Adds lines, durably. Raises OSError."""
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            data = b"".join(json.encode(line) + b"\n" for line in lines)
            while data:
                data = data[os.write(handle, data) :]
            os.fdatasync(handle)
        finally:
            os.close(handle)

    def forget(self) -> None:
        """No file is known any more: each is compared again."""
        durable.remove(self._path)
