"""One file of a DAQ disk -> the site, in a thread: read once with its checksum, and only while nobody writes it.

Nothing is booked here. A directory of this machine gets a hidden file that is put in place with its group (storage.grouped);
any other site is filled by its client, under a hidden name, too. What stands at the destination is never written over: equal
bytes are taken for the copy, and only the copy that our own books name is taken away for a newer one.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from dmtools import names
from dmtools.daq.files import File
from dmtools.storage import checksum as sums
from dmtools.storage.answers import Copied, Present, StorageError, Store, Unknown
from dmtools.storage.deadline import Pulse
from dmtools.storage.errnos import class_of
from dmtools.storage.grouped import Staged, stage
from dmtools.storage.writers import is_written

LOOK_SECONDS = 600.0
BLOCK = 1 << 20
# staged: hidden at the site. sent: under its name. there: equal bytes stood there. growing: not now. gone: not on its disk.
# same, other: the bytes of its twin, or not. failed: see the problem.
# left: not begun, for its disk or the site came into trouble.
How = Literal["staged", "sent", "there", "growing", "gone", "same", "other", "failed", "left"]


@dataclass
class Outcome:
    """What became of one file."""

    file: File
    how: How
    copied: Copied | None = None
    staged: Staged | None = None
    now: os.stat_result | None = None
    problem: StorageError | None = None
    at_disk: bool = False  # the problem is the disk's, not the site's

    def discard(self) -> None:
        """Takes along what was begun."""
        if self.staged is not None:
            self.staged.discard()


class Growing(Exception):
    """Somebody writes the file, or it isn't any more what was recorded; `now` is what it is."""

    def __init__(self, now: os.stat_result) -> None:
        super().__init__()
        self.now = now


class Gone(Exception):
    """The file is not there."""


class Failed(Exception):
    """The disk's side of the act failed."""

    def __init__(self, problem: StorageError) -> None:
        super().__init__()
        self.problem = problem


def copy(file: File, source: bytes, destination: str, store: Store, fence: int, pulse: Pulse) -> Outcome:
    """Copies one file to the site. Raises only what ends the thread's job: Hung."""

    def act(reader: int, before: os.stat_result) -> Outcome:
        return _copy(file, reader, before, source, destination, store, fence, pulse)

    try:
        return _with_source(file, source, act, pulse)
    except StorageError as problem:
        if problem.cls == "changed":
            return Outcome(file, "growing", now=_now(source))
        if problem.wide and not problem.reading and not _is_sound(file, source, pulse):
            problem.reading = True
        if problem.reading and problem.cls == "io":
            problem.wide = False  # one bad block is no bad disk
        return Outcome(file, "failed", problem=problem, at_disk=problem.reading)


def compare(file: File, source: bytes, checksum: str, pulse: Pulse) -> Outcome:
    """Has a second file of an LFN the bytes of the first?"""

    def act(reader: int, before: os.stat_result) -> Outcome:
        copied = _sum(reader, before.st_size, source, pulse)
        _refuse_changed(reader, source, before, pulse)
        return Outcome(file, "same" if copied.checksum == checksum else "other", copied)

    return _with_source(file, source, act, pulse)


def _with_source(file: File, source: bytes, act: Callable[[int, os.stat_result], Outcome], pulse: Pulse) -> Outcome:
    """Acts on the open file; what is the disk's side of a failure is an outcome."""
    try:
        with _opened(file, source, pulse) as (reader, before):
            return act(reader, before)
    except Gone:
        return Outcome(file, "gone")
    except Growing as found:
        return Outcome(file, "growing", now=found.now)
    except Failed as failure:
        return Outcome(file, "failed", problem=failure.problem, at_disk=True)


def _copy(
    file: File,
    reader: int,
    before: os.stat_result,
    source: bytes,
    destination: str,
    store: Store,
    fence: int,
    pulse: Pulse,
) -> Outcome:
    local = destination.startswith("file://")
    if local and not os.path.lexists(names.file_path(destination)):
        return _stage(file, reader, before, source, destination, fence, pulse)
    if not local:
        try:
            copied = store.copy(names.file_url(source), destination, fence=fence)
            _refuse_changed(reader, source, before, pulse)
            return Outcome(file, "sent", copied)
        except StorageError as problem:
            if problem.cls != "occupied":
                raise
    found = store.look_many([destination], deadline=LOOK_SECONDS)[0]
    if isinstance(found, Unknown):
        raise StorageError("io" if found.wide else "occupied", found.reason, wide=found.wide)
    copied = _sum(reader, before.st_size, source, pulse)
    _refuse_changed(reader, source, before, pulse)
    if isinstance(found, Present) and (found.size, found.checksum) == (copied.size, copied.checksum):
        return Outcome(file, "there", copied)
    if isinstance(found, Present):
        if file.checksum is None or found.checksum != file.checksum:
            why = f"{names.shown(destination)} is there already with other bytes ({found.checksum}; ours {copied.checksum})"
            raise StorageError("occupied", f"{why}; it was left")
        store.delete(destination, mark=store.mark(destination))  # our own copy of what the file was before it changed
    os.lseek(reader, 0, os.SEEK_SET)
    if local:
        return _stage(file, reader, before, source, destination, fence, pulse)
    sent = store.copy(names.file_url(source), destination, expect=copied.checksum, fence=fence)
    return Outcome(file, "sent", sent)


def _stage(file: File, reader: int, before: os.stat_result, source: bytes, destination: str, fence: int, pulse: Pulse) -> Outcome:
    staged = stage(reader, source, before, names.file_path(destination), str(fence), pulse)
    try:
        _refuse_changed(reader, source, before, pulse)
    except BaseException:
        staged.discard()
        raise
    return Outcome(file, "staged", staged.copied, staged)


@contextmanager
def _opened(file: File, source: bytes, pulse: Pulse) -> Iterator[tuple[int, os.stat_result]]:
    """The file, open, when it is still what was recorded and nobody writes it. Raises Growing, Gone, Failed."""
    try:
        with pulse.reading():
            reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Gone from None
    except OSError as problem:
        raise Failed(_error(file, problem)) from None
    try:
        before = os.fstat(reader)
        if not stat.S_ISREG(before.st_mode):
            raise Failed(StorageError("invalid", f"{file.shown} is no regular file any more"))
        if (before.st_size, before.st_mtime_ns, before.st_ino) != (file.size, file.mtime_ns, file.inode):
            raise Growing(before)
        if is_written(reader):
            raise Growing(before)
        yield reader, before
    finally:
        os.close(reader)


def _error(file: File, problem: OSError) -> StorageError:
    why = f"{file.shown} could not be read: {os.strerror(problem.errno or 0)}"
    cls = class_of(problem.errno)
    return StorageError(cls, why, wide=False if problem.errno == errno.EIO else None)  # one bad block is no bad disk


def _refuse_changed(reader: int, source: bytes, before: os.stat_result, pulse: Pulse) -> None:
    """Raises Growing or Gone when the file isn't what it was when its reading began."""
    with pulse.reading():
        now = _now(source)
    if now is None:
        raise Gone
    same = (before.st_size, before.st_mtime_ns, before.st_ino)
    if same != (now.st_size, now.st_mtime_ns, now.st_ino) or is_written(reader):
        raise Growing(now)


def _now(source: bytes) -> os.stat_result | None:
    try:
        return os.lstat(source)
    except OSError:
        return None


def _sum(reader: int, size: int, source: bytes, pulse: Pulse) -> Copied:
    value, place = 1, 0
    try:
        while place <= size and (block := _block(reader, place, pulse)):
            value = sums.adler32(block, value)
            place += len(block)
            pulse.beat()
    except OSError as problem:
        why = f"{names.shown(names.encode(source))} could not be read: {os.strerror(problem.errno or 0)}"
        raise Failed(StorageError(class_of(problem.errno), why, wide=False if problem.errno == errno.EIO else None)) from None
    return Copied(place, sums.text(value))


def _block(reader: int, place: int, pulse: Pulse) -> bytes:
    with pulse.reading():
        return os.pread(reader, BLOCK, place)


def _is_sound(file: File, source: bytes, pulse: Pulse) -> bool:
    """After a copy failed by trouble that may be the storage's: can the disk's file be read?"""
    try:
        with _opened(file, source, pulse) as (reader, before):
            _sum(reader, before.st_size, source, pulse)
    except (Gone, Growing):
        return True
    except Failed:
        return False
    return True
