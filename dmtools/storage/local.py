"""Directories of this machine as a storage: looks in one read, durable copies, deletes that look twice."""

from __future__ import annotations

import errno
import mmap
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from dmtools.names import NameRefused, file_path, shown
from dmtools.storage import checksum as sums
from dmtools.storage.answers import RESIDENCIES, Copied, Entry, Look, Looks, Mark, Present, StorageError, Unknown
from dmtools.storage.asides import aside_of
from dmtools.storage.deadline import Hung, Pulse, guarded
from dmtools.storage.errnos import ABSENT, error_of, look_of
from dmtools.storage.publish import copy_file, fsync_directory, rename_new

STALL_SECONDS = 30.0  # no file looked at, no block read: the mount hangs
COPY_STALL_SECONDS = 600.0  # a copy's last fsync may take long; it is no sign of a hang before that
BLOCK = 1 << 20
SMALL = 1 << 18
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY  # a FIFO must not hold us
Answers = list[StorageError | None]
T = TypeVar("T")


def _path(url: str) -> bytes:
    try:
        return file_path(url)
    except NameRefused as refused:
        raise StorageError("invalid", str(refused)) from None


def look(url: str, checksum: bool, pulse: Pulse) -> Look:
    """One local file: absent (proved), present with its checksum by one read, or why it can't be known."""
    try:
        path = file_path(url)
    except NameRefused as refused:
        return Unknown(str(refused), wide=False)
    try:
        if not checksum:
            found = os.stat(path)
            return Present(found.st_size, None) if stat.S_ISREG(found.st_mode) else _no_file(url, found.st_mode)
        handle = os.open(path, OPEN_FLAGS)
    except OSError as problem:
        return look_of(problem, shown(url))
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            return _no_file(url, found.st_mode)
        value, length = _adler32(handle, found.st_size, pulse)
        after = os.fstat(handle)
    except OSError as problem:
        return look_of(problem, shown(url))
    finally:
        os.close(handle)
    if length != after.st_size or found.st_mtime_ns != after.st_mtime_ns or found.st_size != after.st_size:
        return Unknown(f"{shown(url)} changed while it was read", wide=False)
    return Present(length, f"adler32:{value:08x}")


def _answer(call: Callable[[], T]) -> T:
    """A short call that a hung mount can't hold: raises Hung."""
    return guarded(lambda _: call(), deadline=STALL_SECONDS, stall=STALL_SECONDS)


def _prompt(call: Callable[[], T], subject: str, act: str) -> T:
    """A short act on a file that must not hang. Raises StorageError."""
    try:
        return _answer(call)
    except Hung:
        raise StorageError("timeout", f"{subject} could not be {act}: the file system does not answer") from None
    except OSError as problem:
        raise error_of(problem, subject, act) from problem


def _no_file(url: str, mode: int) -> Unknown:
    return Unknown(f"{shown(url)} is {'a directory' if stat.S_ISDIR(mode) else 'no regular file'}", wide=False)


def _adler32(handle: int, size: int, pulse: Pulse) -> tuple[int, int]:
    if size < SMALL:
        data = os.read(handle, size + 1)
        if len(data) == size:
            return sums.adler32(data), size
        os.lseek(handle, 0, os.SEEK_SET)
    value, length = 1, 0
    with mmap.mmap(-1, BLOCK) as block, memoryview(block) as view:
        while count := os.readv(handle, [block]):
            value = sums.adler32(view[:count], value)
            length += count
            pulse.beat()
            if length > size:  # it grows; following it might never end
                break
    return value, length


class LocalStore:
    """`file://` URLs."""

    scheme = "file"

    def look_many(self, urls: Sequence[str], *, checksum: bool = True, deadline: float) -> Looks:
        """One answer for each URL, in order; a mount that hangs gives Unknown(wide=True) for what is left."""
        looks: Looks = []

        def every(pulse: Pulse) -> None:
            for url in urls:
                looks.append(look(url, checksum, pulse))
                pulse.beat()

        try:
            guarded(every, deadline=deadline, stall=STALL_SECONDS)
        except Hung:
            done = looks[:]
            first = shown(urls[len(done)]) if len(done) < len(urls) else ""
            late = Unknown(f"no answer from the file system within the time, first for {first}", wide=True)
            return done + [late] * (len(urls) - len(done))
        return looks

    def list(self, url: str) -> Iterator[Entry]:
        """Every file below a directory, found by scandir; a part that can't be read is told by StorageError at the end."""
        from dmtools.storage.listing import walk

        return walk(_path(url), STALL_SECONDS)

    def copy(
        self, source: str, destination: str, *, expect: str | None = None, overwrite: bool = False, fence: int | None = None
    ) -> Copied:
        """One read, adler32 on the way; hidden name, fsync, rename, fsync of the directory. Raises StorageError."""
        start, target = _path(source), _path(destination)
        try:
            wanted = sums.normal(expect) if expect else None
        except ValueError as problem:
            raise StorageError("unsupported", f"{shown(source)} was not copied: {problem}") from None
        number = str(fence) if fence is not None else f"{os.getpid()}-{threading.get_native_id()}"
        try:
            return guarded(
                lambda pulse: copy_file(start, target, wanted, overwrite, number, pulse),
                deadline=float(threading.TIMEOUT_MAX) / 2,
                stall=COPY_STALL_SECONDS,
            )
        except Hung:
            raise StorageError(
                "timeout", f"{shown(source)} was not copied to {shown(destination)}: no byte moved for {COPY_STALL_SECONDS:.0f} s"
            ) from None

    def mark(self, url: str) -> Mark | None:
        """inode, size and mtime of the file itself (a link is not followed); None when absent. Raises StorageError."""
        path = _path(url)
        found = _prompt(lambda: _lstat(path), shown(url), "looked at")
        return _mark(found) if found else None

    def delete(self, url: str, *, mark: Mark | None = None) -> None:
        """Renames to `.dm-del-N`, compares inode, size and mtime again, unlinks; a difference puts it back.

        N comes from the file's name, so that a delete that was killed is finished by its repeat.
        """
        path = _path(url)
        _prompt(lambda: self._delete(path, shown(url), mark), shown(url), "deleted")

    def delete_many(self, marked: Sequence[tuple[str, Mark]], pulse: Pulse) -> Answers:
        """The same for many, each with its mark, and each directory synced once; called inside a guard.

        One answer each, in order: None is gone. Raises StorageError when a directory can't be synced: nothing is certain then.
        """
        answers: Answers = []
        directories: dict[bytes, None] = {}
        for url, mark in marked:
            try:
                path = _path(url)
                self._delete(path, shown(url), mark, sync=False)
                directories[os.path.dirname(path)] = None
                answers.append(None)
            except StorageError as problem:
                answers.append(problem)
            except OSError as problem:
                answers.append(error_of(problem, shown(url), "deleted"))
            pulse.beat()
        for directory in directories:
            try:
                fsync_directory(directory)
            except FileNotFoundError:  # it went with its last file
                continue
            except OSError as problem:
                raise error_of(problem, os.fsdecode(directory), "synced") from problem
            pulse.beat()
        return answers

    def _delete(self, path: bytes, subject: str, mark: Mark | None, *, sync: bool = True) -> None:
        directory, aside = os.path.dirname(path), aside_of(path)
        found = _lstat(path)
        wanted = mark or (_mark(found) if found else None)
        if found is not None:
            if stat.S_ISDIR(found.st_mode):
                raise StorageError("invalid", f"{subject} is a directory and was left; only files are deleted")
            if _mark(found) != wanted:
                raise StorageError("changed", f"{subject} is not the file that was proved; it was left")
            try:
                rename_new(path, aside)
            except FileExistsError:
                left = f"{os.fsdecode(aside)} is left from an earlier delete; look at it, then remove it"
                raise StorageError("occupied", f"{subject} was left: {left}") from None
        now = _lstat(aside)
        if now is None:
            return
        if wanted is not None and _mark(now) != wanted:
            rename_new(aside, path)
            raise StorageError("changed", f"{subject} changed before it was deleted; it was put back")
        os.unlink(aside)
        if sync:
            fsync_directory(directory)

    def residency(self, url: str) -> str:
        """ONLINE, or what the file's extended attribute `user.status` says. Raises StorageError("missing")."""
        path = _path(url)

        def ask() -> str:
            os.stat(path)
            return os.getxattr(path, "user.status").decode("ascii", "replace").strip("\0 \n")

        try:
            status = _answer(ask)
        except Hung:
            return "UNKNOWN"
        except OSError as problem:
            if problem.errno in (errno.ENODATA, errno.EOPNOTSUPP):
                return "ONLINE"
            if look_of(problem, url) is ABSENT:
                raise StorageError("missing", f"{shown(url)} is not there") from None
            return "UNKNOWN"
        return status if status in RESIDENCIES else "UNKNOWN"

    def free(self, url: str) -> tuple[int, int] | None:
        """(free for us, total) bytes of the file system; of the nearest parent when the path isn't there yet."""
        path = _path(url)
        while True:
            try:
                found = _answer(partial(os.statvfs, path))
                return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
            except Hung:
                return None
            except OSError as problem:
                if look_of(problem, url) is not ABSENT or path == b"/":
                    return None
                path = os.path.dirname(path)

    def trouble(self, url: str) -> str | None:
        """Why a directory can't be worked with: it isn't there (unmounted?), isn't a directory, or doesn't answer."""
        path = _path(url)
        try:
            found = _answer(partial(os.stat, path))
        except Hung:
            return f"{shown(url)}: the file system does not answer"
        except OSError as problem:
            return f"{shown(url)}: {os.strerror(problem.errno or 0)}"
        return None if stat.S_ISDIR(found.st_mode) else f"{shown(url)} is no directory"


def _mark(found: os.stat_result) -> Mark:
    return Mark(found.st_ino, found.st_size, found.st_mtime_ns)


def _lstat(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
