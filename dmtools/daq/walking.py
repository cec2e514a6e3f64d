"""Every file below a disk's root, as it is found, from a thread that may hang without holding the caller."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from dmtools.daq.lfn import NO_FILES
from dmtools.names import encode, shown
from dmtools.storage.answers import StorageError
from dmtools.storage.errnos import error_of

BATCH = 2000
ASIDE = re.compile(rb"\.dm-del-[0-9]+")  # what a killed delete left: its file's row is there still
# name, size in bytes, mtime in ns, inode, mode
File = tuple[bytes, int, int, int, int]
# files of one directory: its path below the root (empty: the root itself), and some or all of its files
Files = tuple[bytes, list[File]]


@dataclass
class Walk:
    """One walk; complete when `files` has ended. `since_ns`: files of directories that didn't change since are passed over."""

    root: bytes
    stall: float
    since_ns: int = 0
    directories: list[bytes] = field(default_factory=list)  # below the root, parents first; only of a walk without `since_ns`
    unreadable: list[str] = field(default_factory=list)
    aside: list[bytes] = field(default_factory=list)

    def files(self) -> Iterator[list[Files]]:
        """All files, some directories at a time. Raises StorageError when the root can't be read or the disk hangs."""
        batches: queue.Queue[list[Files] | OSError | None] = queue.Queue(maxsize=4)
        stop = threading.Event()
        threading.Thread(target=self._run, args=(batches, stop), daemon=True, name="walk").start()
        subject = shown(encode(self.root))
        try:
            while True:
                try:
                    batch = batches.get(timeout=self.stall)
                except queue.Empty:
                    raise StorageError("timeout", f"{subject} could not be listed: the disk does not answer") from None
                if batch is None:
                    return
                if isinstance(batch, OSError):
                    raise error_of(batch, subject, "listed")
                yield batch
        finally:
            stop.set()

    def _run(self, batches: queue.Queue[list[Files] | OSError | None], stop: threading.Event) -> None:
        def hand_over(batch: list[Files] | OSError | None) -> None:
            while not stop.is_set():
                with contextlib.suppress(queue.Full):
                    return batches.put(batch, timeout=0.5)

        found: list[Files] = []
        number, waiting = 0, [b""]
        try:
            while waiting and not stop.is_set():
                directory = waiting.pop()
                for some in self._read(directory, waiting):
                    found.append((directory, some))
                    number += len(some)
                    if number >= BATCH or len(found) >= BATCH:
                        hand_over(found)
                        found, number = [], 0
            hand_over(found)
            hand_over(None)
        except OSError as problem:
            hand_over(problem)

    def _read(self, directory: bytes, waiting: list[bytes]) -> Iterator[list[File]]:
        """The files of one directory; its sub-directories go to `waiting`. An empty piece is a sign of life."""
        found: list[File] = []
        place = os.path.join(self.root, directory)
        before = directory + b"/" if directory else b""
        try:
            quiet = bool(self.since_ns) and os.stat(place).st_mtime_ns < self.since_ns
            with os.scandir(place) as entries:
                for entry in entries:
                    if not directory and entry.name in NO_FILES:
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

    def _take(self, entry: os.DirEntry[bytes], before: bytes, found: list[File]) -> None:
        if ASIDE.fullmatch(entry.name):
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


def kind(mode: int) -> str | None:
    """Why a file of this mode is no data; None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    return "a symbolic link" if stat.S_ISLNK(mode) else "no regular file"
