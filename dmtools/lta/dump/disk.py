"""One disk, in a thread of its own: its wanted trees are listed, and each file is copied, proved and recorded, in groups.

It asks no table: what it has done stands in its fields, for the pass to book. A file that fails is tried again at the end, a
few times; then it is named, and the others are done.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dmtools import names
from dmtools.lta.dump.copying import Copy, copy
from dmtools.lta.dump.record import DiskRecord, Line
from dmtools.lta.dump.wanted import Pattern, trees
from dmtools.storage import grouped
from dmtools.storage.answers import StorageError
from dmtools.storage.crew import Crew
from dmtools.storage.deadline import Pulse
from dmtools.storage.errnos import error_of
from dmtools.storage.grouped import Staged
from dmtools.storage.walking import Walk, facts, kind

COPIERS = 3  # at once; a disk that turns is not quicker by more
AHEAD, AHEAD_BYTES = 64, 256 << 20  # files, and bytes of them, that are given to the copiers
GROUP, GROUP_BYTES = 256, 1 << 30  # files that get their names together
MOST_FAILED = 100  # more is no bad file, but a bad disk
LOOK_SECONDS = 0.5
NO_OTHER_TRY = ("occupied", "invalid")
File = tuple[bytes, int, int]  # path below the disk's directory, size in bytes, mtime in ns


class DiskTrouble(Exception):
    """The disk can't be dumped: it is set aside."""


class WarehouseTrouble(Exception):
    """The warehouse can't be written: no disk can be dumped now."""


@dataclass
class DiskDump:
    """The dump of one disk. `number` goes into hidden names; `stall`: seconds without a sign of life."""

    root: bytes
    warehouse: bytes
    wanted: Sequence[Pattern]
    record: DiskRecord
    number: str
    attempts: int
    stall: float
    files: int | None = None
    size: int | None = None  # bytes of all files
    files_done: int = 0
    bytes_done: int = 0
    there: int = 0  # equal files that stood in the warehouse already, of files_done
    others: list[str] = field(default_factory=list)  # what is no file and was left
    failed: dict[bytes, str] = field(default_factory=dict)
    filled: set[bytes] = field(default_factory=set)  # directories below the warehouse
    _root: os.stat_result | None = None
    _tries: Counter[bytes] = field(default_factory=Counter)
    _staged: list[tuple[File, Copy]] = field(default_factory=list)

    def run(self, pulse: Pulse) -> None:
        """Dumps it. Raises DiskTrouble, WarehouseTrouble, OSError of the manifest; Hung when it was given up."""
        with _home_trouble():
            known = self.record.known()
        with pulse.reading():
            found = self._list(pulse)
        self.files, self.size = len(found), sum(size for _path, size, _mtime in found)
        todo = deque(file for file in found if not self._is_done(file, known.get(names.encode(file[0]))))
        crew: Crew[Copy] = Crew(COPIERS)
        try:
            self._copy_all(crew, todo, pulse)
        finally:
            crew.close(Copy.discard)
            for _file, made in self._staged:
                made.discard()

    # ---- what is there

    def _list(self, pulse: Pulse) -> list[File]:
        """All files of the wanted trees. Raises DiskTrouble."""
        found: list[File] = []
        try:
            self._root = os.stat(self.root)
            for tree in trees(self.root, self.wanted):
                walk = Walk(os.path.join(self.root, tree) if tree else self.root, self.stall, facts)
                for rows in walk.rows():
                    found += self._files(os.path.join(tree, b"") if tree else b"", rows)
                    pulse.beat()
                if walk.unreadable:
                    raise DiskTrouble(f"{len(walk.unreadable)} of its directories can't be read: {walk.unreadable[0]}")
        except (OSError, StorageError) as problem:
            why = problem.reason if isinstance(problem, StorageError) else os.strerror(problem.errno or 0)
            raise DiskTrouble(f"it can't be listed: {why}") from None
        return found

    def _files(self, before: bytes, rows: Iterable[Sequence[object]]) -> Iterator[File]:
        for name, size, mtime_ns, mode in rows:
            assert isinstance(name, bytes)
            assert isinstance(size, int)
            assert isinstance(mtime_ns, int)
            assert isinstance(mode, int)
            path = before + name
            if stat.S_ISREG(mode):
                self.filled.add(os.path.dirname(path))
                yield path, size, mtime_ns
            else:
                self.others.append(f"{names.shown(names.encode(path))} is {kind(mode)}")

    def _is_done(self, file: File, line: Line | None) -> bool:
        """Was it proved before, and is it unchanged here and still there?"""
        if line is None or (line.size, line.mtime_ns) != file[1:]:
            return False
        try:
            there = os.lstat(self._target(file))
        except OSError:
            return False
        if not stat.S_ISREG(there.st_mode) or there.st_size != file[1]:
            return False
        self._count(file)
        return True

    def _count(self, file: File) -> None:
        self.files_done += 1
        self.bytes_done += file[1]

    def _target(self, file: File) -> bytes:
        return self.warehouse + b"/" + file[0]

    # ---- copies

    def _copy_all(self, crew: Crew[Copy], todo: deque[File], pulse: Pulse) -> None:
        under_way: dict[int, File] = {}
        number, ahead = 0, 0
        while todo or under_way or self._staged:
            while todo and len(under_way) < AHEAD and (not under_way or ahead < AHEAD_BYTES):
                file = todo.popleft()
                number += 1
                under_way[number] = file
                ahead += file[1]
                source = os.path.join(self.root, file[0])
                crew.begin(number, functools.partial(copy, source, file[1], file[2], self._target(file), self.number))
            pulse.beat()
            self._refuse_silent(crew)
            ended = crew.ended(LOOK_SECONDS) if under_way else None
            if ended is not None:
                file = under_way.pop(ended[0])
                ahead -= file[1]
                self._take(file, ended[1], todo, pulse)
            last = not todo and not under_way
            if last or len(self._staged) >= GROUP or sum(made.size for _f, made in self._staged) >= GROUP_BYTES:
                self._publish(todo, pulse)

    def _refuse_silent(self, crew: Crew[Copy]) -> None:
        for _number, age, reading in crew.silent(self.stall):
            if reading:
                raise DiskTrouble(f"it hangs: no byte came for {age:.0f} s")
            raise WarehouseTrouble(f"the warehouse hangs: no byte could be written for {age:.0f} s")

    def _take(self, file: File, result: Copy | BaseException, todo: deque[File], pulse: Pulse) -> None:
        if isinstance(result, Copy):
            self._staged.append((file, result))
            return
        if not isinstance(result, StorageError | OSError):
            raise result
        problem = result if isinstance(result, StorageError) else error_of(result, names.shown(names.encode(file[0])), "copied")
        if problem.wide and not problem.reading:
            raise WarehouseTrouble(problem.reason)
        self._refuse_gone(pulse)
        self._failed(file, problem, todo, last=problem.cls in NO_OTHER_TRY)

    def _failed(self, file: File, problem: StorageError, todo: deque[File], *, last: bool) -> None:
        """One more try at the end, or it is named."""
        self._tries[file[0]] += 1
        tries = self._tries[file[0]]
        if not last and tries < self.attempts:
            todo.append(file)
            return
        self.failed[file[0]] = problem.reason + (f" ({tries} attempts)" if tries > 1 else "")
        if len(self.failed) >= MOST_FAILED:
            raise DiskTrouble(f"{len(self.failed)} of its files could not be copied, the last: {problem.reason}")

    def _refuse_gone(self, pulse: Pulse) -> None:
        """Is it still the disk that was listed?"""
        assert self._root is not None
        try:
            with pulse.reading():
                now = os.stat(self.root)
        except OSError as problem:
            raise DiskTrouble(f"it is gone in the middle of its dump: {os.strerror(problem.errno or 0)}") from None
        if (now.st_dev, now.st_ino) != (self._root.st_dev, self._root.st_ino):
            raise DiskTrouble("it is gone in the middle of its dump: another directory stands at its place")

    def _publish(self, todo: deque[File], pulse: Pulse) -> None:
        """Makes a group durable, gives the names, and writes them into the manifest."""
        group, self._staged = self._staged, []
        staged: list[Staged] = [made.staged for _file, made in group if made.staged is not None]
        try:
            grouped.sync(staged)
            pulse.beat()
            errors = grouped.publish(staged)
        except BaseException as problem:
            for _file, made in group:
                made.discard()
            if isinstance(problem, StorageError):
                raise WarehouseTrouble(problem.reason) from None
            raise
        lost = {id(staged[place]): error for place, error in errors.items()}
        lines = []
        for file, made in group:
            if made.staged is not None and (error := lost.get(id(made.staged))) is not None:
                self._failed(file, error, todo, last=False)  # another disk was quicker with its name: it is compared now
                continue
            self.there += made.staged is None
            lines.append(Line(names.encode(file[0]), file[1], made.sha512, file[2]))
            self._count(file)
        if lines:
            with _home_trouble():
                self.record.add(lines)
        pulse.beat()


@contextlib.contextmanager
def _home_trouble() -> Iterator[None]:
    """A manifest that can't be kept is no disk's fault."""
    try:
        yield
    except OSError as problem:
        raise WarehouseTrouble(
            f"the manifest can't be kept: {problem.filename or ''} {os.strerror(problem.errno or 0)}"
        ) from None
