"""Every file below a directory, in a process of its own: it may hang with its disk, and uses the second processor.

The child reads directories and makes rows; the parent, which has the database, gets them by a pipe, and gives a child up that
shows no sign of life. The child touches nothing of its parent's and ends with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
import select
import signal
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dmtools.names import encode, shown
from dmtools.storage.answers import StorageError
from dmtools.storage.asides import ASIDE
from dmtools.storage.errnos import error_of

BATCH = 2000  # files
SIGN_SECONDS = 0.5
END_SECONDS = 1.0
LENGTH = 8  # bytes before each message
# name, size in bytes, mtime in ns, inode, mode
File = tuple[bytes, int, int, int, int]
# files of one directory: its path below the root (empty: the root itself), and some or all of its files
Files = tuple[bytes, list[File]]
Made = list[tuple[Any, ...]]


@dataclass
class Walk:
    """One walk; what it found beside rows stands in it when `rows` has ended.

    `make` turns files into rows. `since_ns`: files of directories that didn't change since are passed over; 0: none are.
    `skip`: names at the root that are passed over; `hidden`: names that begin with a dot are read, too.
    """

    root: bytes
    stall: float
    make: Callable[[Files], Made]
    since_ns: int = 0
    skip: frozenset[bytes] = frozenset()
    hidden: bool = True
    directories: list[bytes] = field(default_factory=list)  # below the root, parents first; only of a walk without `since_ns`
    unreadable: list[str] = field(default_factory=list)
    aside: list[bytes] = field(default_factory=list)

    def rows(self) -> Iterator[Made]:
        """The rows of all files, in batches. Raises StorageError when the root can't be read or the disk hangs."""
        reader, child = self._begin()
        try:
            while True:
                word, value = marshal.loads(self._receive(reader))  # noqa: S302 - from our own child
                if word == "error":
                    raise error_of(OSError(value, ""), shown(encode(self.root)), "listed")
                if word == "end":
                    self.directories, self.unreadable, self.aside = value
                    return
                yield value
        finally:
            os.close(reader)
            _end(child)

    def _begin(self) -> tuple[int, int]:
        reader, writer = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
        stopping = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, stopping)  # the parent's handlers must not run in the child
        child = os.fork()
        if child == 0:
            try:
                for number in stopping:
                    signal.signal(number, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, stopping)
                os.close(reader)
                self._walk(writer)
            finally:
                os._exit(0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stopping)
        os.close(writer)
        return reader, child

    def _receive(self, reader: int) -> bytes:
        return self._bytes(reader, int.from_bytes(self._bytes(reader, LENGTH)))

    def _bytes(self, reader: int, length: int) -> bytes:
        whole = bytearray()
        while len(whole) < length:
            ready, _, _ = select.select([reader], [], [], self.stall)
            piece = os.read(reader, min(length - len(whole), 1 << 20)) if ready else b""
            if not piece:
                why = "its reader ended" if ready else "the disk does not answer"
                raise StorageError("timeout", f"{shown(encode(self.root))} could not be listed: {why}")
            whole += piece
        return bytes(whole)

    # ---- the child

    def _walk(self, writer: int) -> None:
        made: Made = []
        waiting, told = [b""], time.monotonic()
        try:
            while waiting:
                directory = waiting.pop()
                for some in self._read(directory, waiting):
                    made += self.make((directory, some)) if some else []
                    if len(made) >= BATCH or time.monotonic() - told > SIGN_SECONDS:
                        _send(writer, "rows", made)
                        made, told = [], time.monotonic()
            _send(writer, "rows", made)
            _send(writer, "end", [self.directories, self.unreadable, self.aside])
        except OSError as problem:
            with contextlib.suppress(OSError):
                _send(writer, "error", problem.errno or 0)

    def _read(self, directory: bytes, waiting: list[bytes]) -> Iterator[list[File]]:
        """The files of one directory, in pieces; its sub-directories go to `waiting`."""
        found: list[File] = []
        place = os.path.join(self.root, directory)
        before = directory + b"/" if directory else b""
        try:
            quiet = bool(self.since_ns) and os.stat(place).st_mtime_ns < self.since_ns
            with os.scandir(place) as entries:
                for entry in entries:
                    if self._passes_over(entry.name, directory):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(before + entry.name)
                        if not self.since_ns:
                            self.directories.append(before + entry.name)
                    elif not quiet:
                        self._take(entry, before, found)
                        if len(found) >= BATCH:
                            yield found
                            found = []
        except OSError as problem:
            if not directory:
                raise
            if not isinstance(problem, FileNotFoundError):  # gone since is no trouble
                self.unreadable.append(f"{shown(encode(place))}: {os.strerror(problem.errno or 0)}")
        yield found

    def _passes_over(self, name: bytes, directory: bytes) -> bool:
        return (not directory and name in self.skip) or (not self.hidden and name.startswith(b"."))

    def _take(self, entry: os.DirEntry[bytes], before: bytes, found: list[File]) -> None:
        if ASIDE.fullmatch(entry.name):  # what a killed delete left: its file's row is there still
            self.aside.append(before + entry.name)
            return
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError as problem:
            self.unreadable.append(f"{shown(encode(entry.path))}: {os.strerror(problem.errno or 0)}")
            return
        found.append((entry.name, status.st_size, status.st_mtime_ns, status.st_ino, status.st_mode))


def _send(writer: int, word: str, value: Any) -> None:
    message = marshal.dumps((word, value))
    whole = memoryview(len(message).to_bytes(LENGTH) + message)
    while whole:
        whole = whole[os.write(writer, whole) :]


def _end(child: int) -> None:
    """Ends the child; one that hangs in its disk stays behind until the disk lets it go."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    end = time.monotonic() + END_SECONDS
    while os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < end:
        time.sleep(0.002)


def facts(some: Files) -> Made:
    """In the child: (path below the root, size in bytes, mtime in ns, mode) of each file of a directory."""
    directory, files = some
    before = directory + b"/" if directory else b""
    return [(before + name, size, mtime, mode) for name, size, mtime, _inode, mode in files]


def kind(mode: int) -> str:
    """Why what is no regular file can't be taken."""
    return "a symbolic link" if stat.S_ISLNK(mode) else "no regular file"
