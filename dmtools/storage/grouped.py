"""Many copies made durable together: hidden files first, one sync for all of them, the renames, one more sync.

The sync of a file by itself is what copies of small files cost. A group's hidden files stay locked until they have their
names, so that nobody takes them for what a killed copy left.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmtools.durable import syncfs
from dmtools.names import encode, shown
from dmtools.storage import checksum as sums
from dmtools.storage.answers import Copied, StorageError
from dmtools.storage.deadline import Pulse
from dmtools.storage.publish import (
    BLOCK,
    acting,
    fsync_directory,
    hidden,
    is_at,
    open_temporary,
    prepare,
    pump,
    put_in_place,
)

SMALL = 256 << 10  # read and written at once
LARGE = 8 << 20  # synced by the thread that copied it
FEW = 4  # files or directories: syncing each costs less than syncing the whole file system


@dataclass
class Staged:
    """A copy under its hidden name, read back and found equal; not durable yet. `handle` holds its lock."""

    temporary: bytes
    target: bytes
    handle: int
    copied: Copied
    synced: bool = False

    def discard(self) -> None:
        """Takes the hidden file away."""
        with contextlib.suppress(OSError):
            if is_at(self.handle, self.temporary):
                os.unlink(self.temporary)
        self.close()

    def close(self) -> None:
        """Gives the lock back."""
        with contextlib.suppress(OSError):
            os.close(self.handle)


@contextlib.contextmanager
def staging(target: bytes, number: str) -> Iterator[Staged]:
    """A hidden file beside `target`, to be filled; when that fails it is taken away. Raises StorageError."""
    prepare(target, False)
    temporary = hidden(target, number)
    with acting(target, "written"):
        handle = open_temporary(temporary)
    made = Staged(temporary, target, handle, Copied(0, ""))
    try:
        yield made
    except BaseException:
        made.discard()
        raise


def stage(reader: int, source: bytes, before: os.stat_result, target: bytes, number: str, pulse: Pulse) -> Staged:
    """Copies an open source to a hidden file beside `target` and reads it back. Raises StorageError; then nothing is left.

    `before` is what the source was when its reading began; `number` goes into the hidden name.
    """
    with staging(target, number) as made:
        made.copied = _fill(reader, made.handle, source, target, before.st_size, pulse)
        with acting(target, "written"):
            os.fchmod(made.handle, before.st_mode & 0o777)
            if made.copied.size >= LARGE:
                os.fsync(made.handle)
                made.synced = True
        _read_back(made, pulse)
        pulse.beat()
    return made


def _fill(reader: int, writer: int, source: bytes, target: bytes, size: int, pulse: Pulse) -> Copied:
    if size > SMALL:
        return pump(reader, writer, source, target, size, pulse)
    with acting(source, "read"), pulse.reading():
        data = os.read(reader, size + 1)
    if len(data) != size:
        raise StorageError("changed", f"{shown(encode(source))} changed while it was read; nothing was copied")
    with acting(target, "written"):
        done = os.write(writer, data) if data else 0
        while done < size:
            done += os.write(writer, data[done:])
    return Copied(size, sums.text(sums.adler32(data)))


def _read_back(made: Staged, pulse: Pulse) -> None:
    value, place = 1, 0
    with acting(made.target, "read back"):
        while block := os.pread(made.handle, BLOCK, place):
            value = sums.adler32(block, value)
            place += len(block)
            pulse.beat()
    found = Copied(place, sums.text(value))
    if found != made.copied:
        why = f"{shown(encode(made.target))} has {found.size} bytes and {found.checksum}, but {made.copied} were written"
        raise StorageError("checksum", f"{why}; it was taken away")


def sync(staged: Sequence[Staged]) -> None:
    """Makes the hidden files durable. Raises StorageError; then none of them is safe."""
    open_ones = [one for one in staged if not one.synced]
    if len(open_ones) < FEW:
        for one in open_ones:
            with acting(one.target, "written"):
                os.fsync(one.handle)
        return
    for directory in _one_a_disk([os.path.dirname(one.target) for one in open_ones]):
        with acting(directory, "synced"):
            syncfs(Path(os.fsdecode(directory)))


def publish(staged: Sequence[Staged]) -> dict[int, StorageError]:
    """Gives the synced files their names, durably; the errors of those that could not have it, by place in `staged`."""
    errors: dict[int, StorageError] = {}
    for place, one in enumerate(staged):
        try:
            with acting(one.target, "written"):
                put_in_place(one.temporary, one.target, False)
        except StorageError as problem:
            errors[place] = problem
            one.discard()
    named = [one for place, one in enumerate(staged) if place not in errors]
    directories = list(dict.fromkeys(os.path.dirname(one.target) for one in named))
    if len(directories) < FEW:
        for directory in directories:
            with acting(directory, "synced"):
                fsync_directory(directory)
    else:
        for directory in _one_a_disk(directories):
            with acting(directory, "synced"):
                syncfs(Path(os.fsdecode(directory)))
    for one in named:
        one.close()
    return errors


def _one_a_disk(directories: Sequence[bytes]) -> list[bytes]:
    """One directory of each file system among these."""
    found: dict[int, bytes] = {}
    for directory in dict.fromkeys(directories):
        with acting(directory, "synced"):
            found.setdefault(os.stat(directory).st_dev, directory)
    return list(found.values())
