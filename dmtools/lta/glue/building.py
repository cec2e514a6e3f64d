"""A bundle in one read of its files: threads read, sum and write each piece at its place; the manifest is filled in last.

The bytes depend on the files alone, not on time, threads or who builds it. Then the bundle is read back for its own sums,
and must have the adler32 that its pieces have together.
"""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dmtools import durable, names
from dmtools.lta.glue import manifest
from dmtools.lta.glue.hashing import Sums, stream, sums_of
from dmtools.lta.glue.layout import File, Layout
from dmtools.lta.glue.manifest import Record
from dmtools.storage import checksum as sums
from dmtools.storage.answers import StorageError
from dmtools.storage.crew import Crew
from dmtools.storage.deadline import Pulse
from dmtools.storage.publish import acting
from dmtools.storage.zipformat import Member, directory

SMALL = 1 << 20  # larger ones go block by block
PIECE_BYTES, PIECE_FILES = 2 << 20, 250  # of small files that are written at once
WRITE_OUT_EACH = 8 << 20  # of a large file, in blocks of a MiB
LOOK_SECONDS = 0.5
Piece = Sequence[tuple[File, Member]]


@dataclass(frozen=True)
class Built:
    """A bundle that is durable under the name it was given: its sums and its records."""

    sums: Sums
    records: tuple[Record, ...]


class Mismatch(Exception):
    """A file is not what it must be: the directory needs a person. The text names it."""


def build(
    layout: Layout, handle: int, target: bytes, wanted: Mapping[str, tuple[int, str]], *, stall: float, each: Callable[[], None]
) -> Built:
    """Fills an open empty file, named `target`, with the bundle. `wanted`: LFN -> (size, sha512) by the catalogue.

    `each` is called again and again while it is built. Raises Mismatch, StorageError (also for what gives no sign of life for
    `stall` seconds), and what `each` raises.
    """
    os.ftruncate(handle, layout.end)
    found = _fill(layout, handle, target, wanted, stall, each)
    records = tuple(Record(f.name, f.size, s.sha512, s.adler, f.mtime_ns) for f, s in zip(layout.files, found, strict=True))
    first = manifest.render(layout.uuid, records)
    if len(first) != layout.first.size:
        raise AssertionError("the manifest became longer than was planned")
    layout.first.crc = sums.crc32(first)
    tail = directory([layout.first, *layout.members], layout.end)
    with acting(target, "written"):
        _write(handle, [layout.first.local(), first], layout.first.offset)
        _write(handle, [tail], layout.end)
    made = _in_turn(functools.partial(_sync_and_read, handle, target, layout.size), stall, each)
    if (made.size, made.adler32) != (layout.size, _together(layout, first, tail, found)):
        raise StorageError(
            "io", f"{names.shown(names.encode(target))} reads back other bytes than were written; it was taken away"
        )
    return Built(made, records)


def _fill(
    layout: Layout, handle: int, target: bytes, wanted: Mapping[str, tuple[int, str]], stall: float, each: Callable[[], None]
) -> list[Sums]:
    """All files at their places, in threads; their sums in the order of the layout."""
    workers, buffers = max(2, len(os.sched_getaffinity(0))), Buffers()
    found: dict[int, list[Sums]] = {}
    crew: Crew[list[Sums]] = Crew(workers)
    try:
        waiting = enumerate(_pieces(layout))
        more = True
        while more or crew.open:
            while more and crew.open < workers + 2:
                number, piece = next(waiting, (-1, ()))
                more = number >= 0
                if more:
                    crew.begin(number, functools.partial(_piece, piece, handle, target, wanted, buffers))
            each()
            _collect(crew, found, stall)
    finally:
        crew.close(lambda _: None)
    return [one for _, sums_of_piece in sorted(found.items()) for one in sums_of_piece]


def _collect(crew: Crew[list[Sums]], found: dict[int, list[Sums]], stall: float) -> None:
    """Takes what ended. Raises what a thread raised; StorageError when one is silent for too long."""
    ended = crew.ended(LOOK_SECONDS) if crew.open else None
    if ended is not None:
        number, result = ended
        if isinstance(result, BaseException):
            raise result
        found[number] = result
    for _, age, reading in crew.silent(stall):
        what = "a file could not be read" if reading else "the bundle could not be written"
        late = StorageError("timeout", f"{what} for {age:.0f} s; what was begun was given up")
        late.reading = reading
        raise late


def _in_turn(job: Callable[[Pulse], Sums], stall: float, each: Callable[[], None]) -> Sums:
    """One job in a thread beside who calls `each`."""
    crew: Crew[Sums] = Crew(1)
    crew.begin(0, job)
    try:
        while (ended := crew.ended(LOOK_SECONDS)) is None:
            each()
            if crew.silent(stall):
                raise StorageError("timeout", f"the bundle could not be read back for {stall:.0f} s")
    finally:
        crew.close(lambda _: None)
    if isinstance(ended[1], BaseException):
        raise ended[1]
    return ended[1]


def _pieces(layout: Layout) -> Iterator[Piece]:
    """Small files that lie one behind the other together; each large one alone."""
    piece: list[tuple[File, Member]] = []
    size = 0
    for file, member in zip(layout.files, layout.members, strict=True):
        if file.size > SMALL:
            if piece:
                yield piece
            yield [(file, member)]
            piece, size = [], 0
            continue
        piece.append((file, member))
        size += file.size
        if size >= PIECE_BYTES or len(piece) >= PIECE_FILES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


# ---- in threads


def _piece(
    piece: Piece, handle: int, target: bytes, wanted: Mapping[str, tuple[int, str]], buffers: Buffers, pulse: Pulse
) -> list[Sums]:
    """A piece of the bundle is made in memory, just as it is to lie there, and written at once."""
    if piece[0][0].size > SMALL:
        return [_large(*piece[0], handle, target, wanted, pulse)]
    found: list[Sums] = []
    (first, *_more), (_file, last) = piece, piece[-1]
    start, end = first[1].offset, last.offset + len(last.local()) + last.size
    with buffers.one(end - start) as view:
        for file, member in piece:
            data = member.offset - start + len(member.local())
            with pulse.reading():
                _read(file, view[data : data + file.size])
            one = sums_of(view[data : data + file.size])
            _refuse_other(file, one, wanted)
            member.crc = one.crc32
            view[member.offset - start : data] = member.local()
            found.append(one)
            pulse.beat()
        with acting(target, "written"):
            _write(handle, [view], start)
            durable.write_out(handle, start, end - start)
    pulse.beat()
    return found


class Buffers:
    """Memory that is used again and again: new pages for each piece would cost as much as its copy."""

    def __init__(self) -> None:
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()

    @contextlib.contextmanager
    def one(self, size: int) -> Iterator[memoryview]:
        """So many bytes."""
        try:
            buffer = self._free.get_nowait()
        except queue.Empty:
            buffer = bytearray(PIECE_BYTES)
        if len(buffer) < size:
            buffer = bytearray(size)
        with memoryview(buffer) as whole, whole[:size] as view:
            yield view
        self._free.put(buffer)


def _large(file: File, member: Member, handle: int, target: bytes, wanted: Mapping[str, tuple[int, str]], pulse: Pulse) -> Sums:
    start = member.offset + len(member.local())

    def write(view: memoryview, place: int) -> None:
        with acting(target, "written"):
            _write(handle, [view], start + place)
            if place and place % WRITE_OUT_EACH == 0:
                durable.write_out(handle, start + place - WRITE_OUT_EACH, WRITE_OUT_EACH)

    reader = _open(file)
    try:
        with acting(file.path, "read"):
            found = stream(reader, file.size, write, pulse)
            _refuse_changed(file, reader, found.size)
    finally:
        os.close(reader)
    _refuse_other(file, found, wanted)
    member.crc = found.crc32
    with acting(target, "written"):
        _write(handle, [member.local()], member.offset)
    return found


def _read(file: File, view: memoryview) -> None:
    reader = _open(file)
    try:
        with acting(file.path, "read"):
            done = 0
            while done < file.size and (count := os.readv(reader, [view[done:]])):
                done += count
            _refuse_changed(file, reader, done)
    finally:
        os.close(reader)


def _open(file: File) -> int:
    try:
        with acting(file.path, "read"):
            reader = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except StorageError as problem:
        if problem.cls == "missing":
            raise Mismatch(f"{_shown(file)} is gone since its directory was looked at") from None
        raise
    if not stat.S_ISREG(os.fstat(reader).st_mode):
        os.close(reader)
        raise Mismatch(f"{_shown(file)} is no regular file any more")
    return reader


def _refuse_changed(file: File, reader: int, length: int) -> None:
    now = os.fstat(reader)
    if length != file.size or (now.st_size, now.st_mtime_ns) != (file.size, file.mtime_ns):
        raise Mismatch(f"{_shown(file)} changed since its directory was looked at")


def _refuse_other(file: File, found: Sums, wanted: Mapping[str, tuple[int, str]]) -> None:
    size, sha512 = wanted.get(file.name, (found.size, found.sha512))
    if size != found.size:
        raise Mismatch(f"{_shown(file)} has {found.size} bytes, by the catalogue it must have {size}")
    if sha512 != found.sha512:
        raise Mismatch(f"{_shown(file)} has the sha512 {found.sha512[:16]}..., by the catalogue it must be {sha512[:16]}...")


def _shown(file: File) -> str:
    return names.shown(names.encode(file.path))


def _write(handle: int, parts: Sequence[bytes | memoryview], place: int) -> int:
    """Writes the parts one behind the other at a place; gives their length."""
    length = sum(map(len, parts))
    done = os.pwritev(handle, parts, place)
    if done < length:
        rest = memoryview(b"".join(parts))
        while done < length:
            done += os.pwrite(handle, rest[done:], place + done)
    return length


def _sync_and_read(handle: int, target: bytes, size: int, pulse: Pulse) -> Sums:
    with acting(target, "written"):
        os.fsync(handle)
    pulse.beat()
    with acting(target, "read back"):
        return stream(handle, size, None, pulse, source=False)


def _together(layout: Layout, first: bytes, tail: bytes, found: Sequence[Sums]) -> int:
    """The adler32 that the bundle must have, from those of its pieces."""
    value = sums.adler32(layout.first.local() + first)
    for member, one in zip(layout.members, found, strict=True):
        head = member.local()
        value = sums.combined(sums.adler32(head, value), one.adler32, one.size)
    return sums.adler32(tail, value)
