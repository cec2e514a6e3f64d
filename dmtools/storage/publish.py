"""A file appears whole or not at all: hidden name, one read with its checksum, fsync, rename, fsync of the directory."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import itertools
import mmap
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

from dmtools import durable
from dmtools.names import encode, shown
from dmtools.storage import checksum as sums
from dmtools.storage.answers import Copied, StorageError
from dmtools.storage.deadline import Pulse
from dmtools.storage.errnos import error_of

BLOCK = 1 << 20  # it stays in the processor's cache between its read and its write
WRITE_OUT_EACH = 8 << 20
TEMPORARY = re.compile(rb"\..*\.[0-9-]+\.dmtmp", re.DOTALL)
_NAME_MAX = 255
_LOCK_SECONDS = 2.0
_WRITE_OUT = 2  # SYNC_FILE_RANGE_WRITE
_LIBC = ctypes.CDLL(None, use_errno=True)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_swept: set[bytes] = set()
_sweeping = threading.Lock()


def hidden(target: bytes, number: str) -> bytes:
    """The name under which a copy is made: `.NAME.NUMBER.dmtmp` beside it; a hash stands for a NAME too long for that."""
    directory, name = os.path.split(target)
    made = b".%b.%b.dmtmp" % (name, number.encode("ascii"))
    if len(made) > _NAME_MAX:
        made = b".%b.%b.dmtmp" % (hashlib.sha256(name).hexdigest()[:32].encode("ascii"), number.encode("ascii"))
    return os.path.join(directory, made)


def fsync_directory(directory: bytes) -> None:
    """Makes the directory's entries durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directories(directory: bytes) -> None:
    """Makes the directory and its parents, as mkdir -p; each new entry is durable. Raises OSError."""
    missing = []
    while not os.path.isdir(directory):
        missing.append(directory)
        parent = os.path.dirname(directory)
        if parent == directory:
            break
        directory = parent
    for new in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(new)
        fsync_directory(os.path.dirname(new))


def rename_new(source: bytes, target: bytes) -> None:
    """Renames, never over something (FileExistsError), also where the file system has no such rename (NFS)."""
    try:
        durable.rename_new(Path(os.fsdecode(source)), Path(os.fsdecode(target)))
        return
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    os.link(source, target, follow_symlinks=False)
    os.unlink(source)


def sweep(directory: bytes) -> None:
    """Removes what killed copies left, once a process and directory: hidden names that nobody holds locked."""
    with _sweeping:
        if directory in _swept:
            return
        _swept.add(directory)
    with os.scandir(directory) as entries:
        left = [entry.path for entry in entries if TEMPORARY.fullmatch(entry.name)]
    for path in left:
        with contextlib.suppress(OSError):
            _remove_unheld(path)


def _remove_unheld(path: bytes) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stat.S_ISREG(os.fstat(handle).st_mode) and is_at(handle, path):
            os.unlink(path)
    finally:
        os.close(handle)


def is_at(handle: int, path: bytes) -> bool:
    """Whether the open file still stands under its name."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as problem:
        if problem.errno not in _NO_LOCKS:
            raise


def open_temporary(path: bytes) -> int:
    """Creates, or takes over from a dead copy, the hidden file: locked, empty, 0600, also to be read. BlockingIOError: held."""
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _lock(handle)
            if is_at(handle, path):
                os.ftruncate(handle, 0)
                os.fchmod(handle, 0o600)
                return handle
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(handle)
                raise
        except OSError:
            os.close(handle)
            raise
        os.close(handle)
        time.sleep(0.005)


@contextlib.contextmanager
def acting(path: bytes, act: str) -> Iterator[None]:
    """An OSError inside is told as the failed act on this file."""
    try:
        yield
    except BlockingIOError:
        raise StorageError("occupied", f"{shown(encode(path))} is just being written by another copy") from None
    except OSError as problem:
        failed = error_of(problem, shown(encode(path)), act)
        failed.reading = act == "read"
        raise failed from problem


def copy_file(source: bytes, target: bytes, wanted: str | None, overwrite: bool, number: str, pulse: Pulse) -> Copied:
    """Copies one regular file durably; see LocalStore.copy. `number` goes into the hidden name. Raises StorageError."""
    with open_source(source) as reader:
        before = os.fstat(reader)

        def fill(writer: int) -> Copied:
            copied = pump(reader, writer, source, target, before.st_size, pulse)
            refuse_changed(reader, source, before, copied.size)
            if wanted is not None and copied.checksum != wanted:
                raise StorageError(
                    "checksum", f"{shown(encode(source))} was not copied: its checksum is {copied.checksum}, expected {wanted}"
                )
            return copied

        return make_file(target, overwrite, number, before.st_mode & 0o777, fill, pulse)


@contextlib.contextmanager
def open_source(source: bytes) -> Iterator[int]:
    """A regular file open for reading; a FIFO or a device can't hold us. Raises StorageError."""
    with acting(source, "read"):
        reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(reader).st_mode):
            raise StorageError("invalid", f"{shown(encode(source))} is no regular file; it was not copied")
        yield reader
    finally:
        os.close(reader)


def make_file(
    target: bytes, overwrite: bool, number: str, mode: int, fill: Callable[[int], Copied], pulse: Pulse | None = None
) -> Copied:
    """The new file: `fill(handle)` writes it under its hidden name; then fsync, rename, fsync of the directory.

    Raises StorageError, or what `fill` raises; then the hidden file is gone and the target as it was.
    """
    directory, temporary = prepare(target, overwrite), hidden(target, number)
    with acting(target, "written"):
        writer = open_temporary(temporary)
    try:
        copied = fill(writer)
        with acting(target, "written"):
            os.fchmod(writer, mode)
            os.fsync(writer)
            if pulse is not None:
                pulse.beat()
            put_in_place(temporary, target, overwrite)
            fsync_directory(directory)
    except BaseException:
        with contextlib.suppress(OSError):
            if is_at(writer, temporary):  # a failed fsync can't be repeated: the data are gone
                os.unlink(temporary)
        raise
    finally:
        os.close(writer)
    return copied


def adopt(temporary: bytes, target: bytes, overwrite: bool) -> None:
    """Publishes a file that another tool wrote beside its target: fsync, rename, fsync of the directory."""
    with acting(target, "written"):
        handle = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        put_in_place(temporary, target, overwrite)
        fsync_directory(os.path.dirname(target))


def prepare(target: bytes, overwrite: bool) -> bytes:
    """The directory of a target that may be written, made if need be. Raises StorageError."""
    with acting(target, "written"):
        _refuse_occupied(target, overwrite)
        make_directories(os.path.dirname(target))
        sweep(os.path.dirname(target))
    return os.path.dirname(target)


def _refuse_occupied(target: bytes, overwrite: bool) -> None:
    try:
        there = os.lstat(target)
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(there.st_mode):
        raise StorageError("invalid", f"{shown(encode(target))} is a directory; it was left, nothing was copied")
    if not overwrite:
        raise StorageError("occupied", f"{shown(encode(target))} is there already; it was left, nothing was copied")


def refuse_changed(reader: int, source: bytes, before: os.stat_result, length: int) -> None:
    """A source that is not, or no longer, what it was when its reading began is StorageError `changed`."""
    with acting(source, "read"):
        after = os.fstat(reader)
        named = os.stat(source)
    same = (before.st_size, before.st_mtime_ns, before.st_ino)
    if length != before.st_size or any((now.st_size, now.st_mtime_ns, now.st_ino) != same for now in (after, named)):
        raise StorageError("changed", f"{shown(encode(source))} changed while it was read; nothing was copied")


def put_in_place(temporary: bytes, target: bytes, overwrite: bool) -> None:
    """Gives a hidden file its name; never over something, but with `overwrite`. Raises OSError."""
    if overwrite:
        os.rename(temporary, target)
    else:
        rename_new(temporary, target)


def pump(reader: int, writer: int, source: bytes, target: bytes, most: int, pulse: Pulse | None = None) -> Copied:
    """All bytes from one handle to the other in one read, adler32 on the way; the disk starts to write at once.

    While one block is written the next is read and summed. It stops when more than `most` bytes came: following a file that
    grows might never end.
    """
    value, length = 1, 0
    pulse = pulse or Pulse()
    with contextlib.ExitStack() as stack:
        blocks = [stack.enter_context(memoryview(stack.enter_context(mmap.mmap(-1, BLOCK)))) for _ in range(2)]
        out = stack.enter_context(_Writer(writer, target))
        for view in itertools.cycle(blocks):
            with acting(source, "read"), pulse.reading():
                count = os.readv(reader, [view])
            if count and length <= most:
                value = sums.adler32(view[:count], value)
            out.wait()
            if not count or length > most:
                return Copied(length, sums.text(value))
            length += count
            out.begin(view[:count], last=count < BLOCK or length >= most)
            pulse.beat()
    raise AssertionError("a cycle has no end")


class _Writer:
    """Writes one block at a time; in a thread of its own, for a file that has more than one."""

    def __init__(self, handle: int, target: bytes) -> None:
        self._handle, self._target = handle, target
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: Future[None] | None = None
        self._length = self._told = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The buffers are free again."""
        if self._pool is not None:
            self._pool.shutdown()

    def begin(self, piece: memoryview, *, last: bool) -> None:
        """Begins to write the piece, which must stay as it is until `wait`."""
        if last and self._pool is None:
            self._write(piece)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1)
        self._under_way = self._pool.submit(self._write, piece)

    def wait(self) -> None:
        """Until the piece is written. Raises StorageError."""
        if self._under_way is not None:
            done, self._under_way = self._under_way, None
            done.result()

    def _write(self, piece: memoryview) -> None:
        with piece, acting(self._target, "written"):
            done = 0
            while done < len(piece):
                with piece[done:] as rest:
                    done += os.write(self._handle, rest)
            self._length += done
        if self._length - self._told >= WRITE_OUT_EACH:  # so that the fsync at the end finds little left to do
            span = (ctypes.c_int64(self._told), ctypes.c_int64(self._length - self._told))
            _LIBC.sync_file_range(self._handle, *span, _WRITE_OUT)
            self._told = self._length
