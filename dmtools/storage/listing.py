"""Every file below a directory, as it is found, from a thread that may hang without holding the caller."""

from __future__ import annotations

import contextlib
import os
import queue
import stat
import threading
import time
from collections.abc import Iterator

from dmtools.names import encode, shown
from dmtools.storage.answers import Entry, StorageError
from dmtools.storage.asides import ASIDE
from dmtools.storage.errnos import error_of
from dmtools.storage.publish import TEMPORARY

BATCH = 256


def walk(root: bytes, stall: float) -> Iterator[Entry]:
    """The entries below `root`, directories themselves not told; links are not followed.

    Raises StorageError: at once when `root` can't be read, at the end when parts of the tree couldn't, and when
    the file system gave no answer for `stall` seconds.
    """
    finder = _Finder(root)
    subject = shown(encode(root))
    threading.Thread(target=finder.run, daemon=True, name="list").start()
    try:
        while True:
            try:
                batch = finder.batches.get(timeout=stall)
            except queue.Empty:
                raise StorageError("timeout", f"{subject} could not be listed: the file system does not answer") from None
            if batch is None:
                break
            yield from batch
    finally:
        finder.stop.set()
    if finder.failure is not None:
        raise error_of(finder.failure, subject, "listed") from finder.failure
    if parts := finder.troubles:
        more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
        raise StorageError("permission", f"{subject} was listed, but not {'; '.join(parts[:3])}{more}")


class _Finder:
    """The thread's side: walks, hands over batches, remembers what it could not read."""

    def __init__(self, root: bytes) -> None:
        self.root = root
        self.batches: queue.Queue[list[Entry] | None] = queue.Queue(maxsize=8)
        self.stop = threading.Event()
        self.troubles: list[str] = []
        self.failure: OSError | None = None
        self._found: list[Entry] = []
        self._told = time.monotonic()

    def run(self) -> None:
        """Walks the whole tree; None is the last batch, whatever happens."""
        waiting = [self.root]
        try:
            while waiting and not self.stop.is_set():
                self._read(waiting.pop(), waiting)
        except OSError as problem:
            self.failure = problem
        finally:
            self._hand_over(None)

    def _read(self, directory: bytes, waiting: list[bytes]) -> None:
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        self._take(entry)
        except OSError as problem:
            if directory == self.root:
                raise
            if not isinstance(problem, FileNotFoundError):  # gone since is no trouble
                self.troubles.append(f"{shown(encode(directory))} ({os.strerror(problem.errno or 0)})")
        self._tell()

    def _take(self, entry: os.DirEntry[bytes]) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError as problem:
            self.troubles.append(f"{shown(encode(entry.path))} ({os.strerror(problem.errno or 0)})")
            return
        kind = _kind(entry.name, status.st_mode)
        self._found.append(Entry("file://" + encode(entry.path), status.st_size, status.st_mtime, kind))
        if len(self._found) >= BATCH:
            self._tell()

    def _tell(self) -> None:
        """Hands over what is due; an empty batch now and then says that the walk is alive."""
        if len(self._found) >= BATCH or time.monotonic() - self._told > 0.5:
            self._hand_over(self._found)
            self._found = []

    def _hand_over(self, batch: list[Entry] | None) -> None:
        rest = [self._found, None] if batch is None else [batch]
        for part in rest:
            while not self.stop.is_set():
                with contextlib.suppress(queue.Full):
                    self.batches.put(part, timeout=0.5)
                    break
        self._told = time.monotonic()


def _kind(name: bytes, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "link"
    if not stat.S_ISREG(mode):
        return "other"
    return "temporary" if TEMPORARY.fullmatch(name) or ASIDE.fullmatch(name) else "file"
