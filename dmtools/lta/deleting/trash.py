"""ROOT/.dm-trash/DAY/bundle-ID/PATH: files that can be taken back for [lta] trash_days. A rename within one file system."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta

from dmtools import clock
from dmtools.lta.deleting.guards import Guards, Kept
from dmtools.storage.answers import Mark
from dmtools.storage.publish import fsync_directory, make_directories, rename_new

NAME = b".dm-trash"
_DAY = re.compile(rb"\d{4}-\d{2}-\d{2}")


def same_disk(root: bytes, path: bytes) -> bool:
    """Whether a file can be renamed into the trash of its root."""
    return os.stat(root).st_dev == os.lstat(path).st_dev


def put(root: bytes, path: bytes, bundle: int, mark: Mark) -> None:
    """Moves one file into the trash; one that is not the marked file any more is put back. Raises Kept, OSError."""
    target = os.path.join(root, NAME, f"{clock.now():%Y-%m-%d}".encode(), b"bundle-%d" % bundle, _below(root, path))
    make_directories(os.path.dirname(target))
    try:
        rename_new(path, target)
    except FileExistsError:
        raise Kept(f"{os.fsdecode(target)} is in the trash already; look at it, then move it away") from None
    found = os.lstat(target)
    if Mark(found.st_ino, found.st_size, found.st_mtime_ns) != mark:
        rename_new(target, path)
        raise Kept("it changed just now; it was put back")
    fsync_directory(os.path.dirname(target))
    fsync_directory(os.path.dirname(path))


def _below(root: bytes, path: bytes) -> bytes:
    """The path below its root, by its real directory."""
    directory, name = os.path.split(path)
    return os.path.join(os.path.realpath(directory), name)[len(root) :].lstrip(b"/")


def find(root: bytes, path: bytes, bundles: Sequence[int]) -> bytes | None:
    """Where a file of one of these bundles lies in the trash."""
    below = _below(root, path)
    for day in _days(root):
        for bundle in bundles:
            place = os.path.join(day, b"bundle-%d" % bundle, below)
            if os.path.lexists(place):
                return place
    return None


def _days(root: bytes) -> Iterator[bytes]:
    """The directories of the trash, the newest first."""
    try:
        found = sorted(os.listdir(os.path.join(root, NAME)), reverse=True)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in found:
        path = os.path.join(root, NAME, name)
        if _DAY.fullmatch(name) and os.path.isdir(path) and not os.path.islink(path):
            yield path


def content(root: bytes, bundle: int) -> Iterator[tuple[bytes, bytes]]:
    """(where it lies in the trash, where it was) of all files of a bundle below a root."""
    for day in _days(root):
        top = os.path.join(day, b"bundle-%d" % bundle)
        for directory, _, files in os.walk(top):
            for name in files:
                path = os.path.join(directory, name)
                yield path, os.path.join(root, path[len(top) :].lstrip(b"/"))


def take_back(place: bytes, path: bytes) -> None:
    """Puts a file back where it was, never over something. Raises FileExistsError, OSError."""
    make_directories(os.path.dirname(path))
    rename_new(place, path)
    fsync_directory(os.path.dirname(path))


def overdue(guards: Guards, days: int) -> list[bytes]:
    """The directories of the trash that are older than so many days."""
    last = f"{clock.now() - timedelta(days=days):%Y-%m-%d}".encode()
    return [day for root in guards.roots for day in _days(root) if os.path.basename(day) < last]


def empty(day: bytes) -> None:
    """Removes one of them for good; no link is followed. Raises OSError."""
    shutil.rmtree(day)
