"""Sorts records with GNU sort in flat memory and walks two sorted streams side by side."""

from __future__ import annotations

import os
import subprocess
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import eq
from pathlib import Path
from threading import Thread

from dmtools.command import Unavailable

CHUNK = 1 << 20
MEMORY = "32M"  # of each of the two sorts
TOLD = 20


class Sorter:
    """One `sort` in bytes order: fed with blocks of lines, then read as blocks of lines."""

    def __init__(self, temporary: Path) -> None:
        self.temporary = temporary
        cores = min(4, os.cpu_count() or 1)
        command = ["sort", "-S", MEMORY, "-T", str(temporary), f"--parallel={cores}", "--batch-size=32"]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        except FileNotFoundError:
            raise Unavailable("can't sort", "sort", "GNU sort is not on PATH", "install coreutils") from None

    def feed(self, blocks: Iterable[bytes]) -> None:
        """Gives it all there is. Raises Unavailable when sort gave up, for instance on a full disk."""
        stdin = self._process.stdin
        assert stdin is not None
        for block in blocks:
            try:
                stdin.write(block)
            except BrokenPipeError:
                raise self._failed() from None
        try:
            stdin.close()
        except BrokenPipeError:
            raise self._failed() from None

    def read(self) -> bytes:
        """The next block of sorted bytes, empty at the end. Raises Unavailable when the stream isn't whole."""
        stdout = self._process.stdout
        assert stdout is not None
        data = stdout.read(CHUNK)
        if not data and self._process.wait() != 0:
            raise self._failed()
        return data

    def close(self) -> None:
        """Ends it, whatever it does."""
        process = self._process
        if process.poll() is None:
            process.terminate()  # not kill: sort removes its temporary files
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    pass
        process.wait()

    def _failed(self) -> Unavailable:
        stderr = self._process.stderr
        assert stderr is not None
        said = stderr.read(2000).decode("utf-8", "replace").strip() or f"sort ended with {self._process.wait()}"
        return Unavailable("can't sort", str(self.temporary), said, "make room there, or give another place with --tmp DIR")


def feed_at_once(pairs: Iterable[tuple[Sorter, Iterator[bytes]]]) -> None:
    """Feeds all sorters at the same time: they wait for each other's sorting otherwise. Raises what the first to fail raised.

    Daemon threads: one that hangs on a pipe without an end can't keep a stopped command alive.
    """
    problems: list[BaseException] = []

    def feed(sorter: Sorter, blocks: Iterator[bytes]) -> None:
        try:
            sorter.feed(blocks)
        except BaseException as problem:  # noqa: BLE001 raised again below, in the thread that waits
            problems.append(problem)

    threads = [Thread(target=feed, args=pair, daemon=True) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


class Side:
    """A sorted stream of records, held a block at a time; a record that repeats is counted and dropped."""

    def __init__(self, sorter: Sorter) -> None:
        self._sorter = sorter
        self._rest = b""
        self._last = b""
        self.lines: list[bytes] = []
        self.ended = False
        self.repeated = 0
        self.told: dict[bytes, None] = {}

    def more(self) -> None:
        """Reads on by a block; sets `ended` at the end."""
        data = self._sorter.read()
        if not data:
            self.ended = True
            return
        data = self._rest + data
        cut = data.rfind(b"\n")
        if cut < 0:
            self._rest = data
            return
        self._rest = data[cut + 1 :]
        found = data[:cut].split(b"\n")
        if self._last == found[0] or any(map(eq, found, islice(found, 1, None))):
            found = self._without_repeats(found)
        self.lines = self.lines + found if self.lines else found
        if found:
            self._last = found[-1]

    def tell(self, record: bytes) -> None:
        """Keeps the name of a record that stands twice, for the first few."""
        if len(self.told) < TOLD:
            self.told.setdefault(name_of(record))

    def take(self, bound: bytes | None) -> list[bytes]:
        """Removes and gives the records whose names sort before `bound` (None: all)."""
        if bound is None:
            taken, self.lines = self.lines, []
            return taken
        cut = bisect_left(self.lines, bound)
        taken, self.lines = self.lines[:cut], self.lines[cut:]
        return taken

    def _without_repeats(self, found: list[bytes]) -> list[bytes]:
        if len(self.told) < TOLD:
            for before, record in zip([self._last, *found], found, strict=False):
                if before == record:
                    self.tell(record)
        unique = dict.fromkeys(found)
        unique.pop(self._last, None)
        self.repeated += len(found) - len(unique)
        return list(unique)


def name_of(record: bytes) -> bytes:
    """The name in a record."""
    return record.partition(b"\0")[0]


def windows(first: Side, second: Side) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Pairs of record lists that cover the same stretch of names, in order; a name is never cut in two."""
    while True:
        for side in (first, second):
            while not side.lines and not side.ended:
                side.more()
        open_ends = [name_of(side.lines[-1]) for side in (first, second) if not side.ended]
        bound = min(open_ends) if open_ends else None
        pair = first.take(bound), second.take(bound)
        if pair[0] or pair[1]:
            yield pair
        if bound is None:
            return
        for side in (first, second):
            if not side.ended and name_of(side.lines[-1]) == bound:
                side.more()
