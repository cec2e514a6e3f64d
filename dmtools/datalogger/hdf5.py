"""HDF5: a table a device or event, compressed; written once, then read only."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmtools import durable
from dmtools.datalogger.kinds import SAMPLES, Kind
from dmtools.storage import checksum

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.void]

FORMAT = "dmtools-datalogger 1"
CHUNK = 65_536  # rows that are compressed together: 1 MB
ROW_BYTES = SAMPLES.row_bytes
Attributes = Mapping[str, str | int | float]


class Damaged(Exception):
    """A file that is no whole HDF5 file of samples; the text says what is wrong with it."""


@dataclass(frozen=True)
class Table:
    """One device: its rows in pieces that may be of any length, how many they are together, and what is known of them."""

    name: str
    rows: int
    pieces: Callable[[], Iterable[Rows]]
    attributes: Attributes = field(default_factory=dict)
    kind: Kind = SAMPLES


def row_type() -> Any:
    """The type of a row of samples."""
    return SAMPLES.row_type()


def write(path: Path, tables: Iterable[Table], attributes: Attributes) -> None:
    """Makes the file whole or not at all; what stood there is replaced. Raises OSError, Damaged."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        counts = _write(temporary, tables, attributes)
        _check(temporary, counts)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
    except BaseException:  # a signal, too
        temporary.unlink(missing_ok=True)
        raise
    temporary.rename(path)
    durable.fsync_dir(path.parent)


def _write(path: Path, tables: Iterable[Table], attributes: Attributes) -> dict[str, int]:
    import h5py

    counts = {}
    try:
        with h5py.File(path, "w", libver=("v108", "v110")) as file:
            file.attrs.update({"format": FORMAT, **attributes})
            for table in tables:
                counts[table.name] = _table(file, table)
    except (RuntimeError, OSError) as problem:  # h5py has the errno of a full disk in its text alone
        number = getattr(problem, "errno", None) or _errno(problem)
        raise OSError(number, os.strerror(number), str(path)) from None
    return counts


def _table(file: Any, table: Table) -> int:
    """Chunks are compressed here, not by HDF5: isal does it ten times as fast, and others read it all the same."""
    chunk = max(1, min(CHUNK, table.rows))
    packed = {"chunks": (chunk,), "shuffle": True, "compression": "gzip", "compression_opts": 1} if table.rows else {}
    made = file.create_dataset(table.name, (table.rows,), table.kind.row_type(), track_times=False, **packed)
    made.attrs.update(table.attributes)
    squeeze, done = _squeezer(), 0
    for rows in _even(table.pieces(), chunk):
        made.id.write_direct_chunk((done,), squeeze(_shuffled(rows, chunk)))
        done += len(rows)
    if done != table.rows:
        raise Damaged(f"{table.name} has {done} rows where {table.rows} are booked")
    return done


def _even(pieces: Iterable[Rows], size: int) -> Iterator[Rows]:
    """The same rows in pieces of just this size, but for the last."""
    import numpy as np

    left: list[Rows] = []
    have = 0
    for piece in pieces:
        left.append(piece)
        have += len(piece)
        if have < size:
            continue
        whole = np.concatenate(left) if len(left) > 1 else left[0]
        for first in range(0, have - size + 1, size):
            yield whole[first : first + size]
        left = [whole[have - have % size :]] if have % size else []
        have %= size
    if have:
        yield np.concatenate(left) if len(left) > 1 else left[0]


def _shuffled(rows: Rows, chunk: int) -> bytes:
    """As HDF5's shuffle filter does it: first bytes of all rows, second bytes of all rows, ...; zeros fill the last chunk."""
    import numpy as np

    size = rows.dtype.itemsize
    flat = np.zeros((chunk, size), np.uint8)
    flat[: len(rows)] = np.ascontiguousarray(rows).view(np.uint8).reshape(-1, size)
    return flat.T.tobytes()


def _squeezer() -> Callable[[bytes], bytes]:
    try:
        from isal import isal_zlib
    except ImportError:
        return lambda data: zlib.compress(data, 1)
    return lambda data: isal_zlib.compress(data, 2)


def _errno(problem: Exception) -> int:
    import errno
    import re

    found = re.search(r"errno = (\d+)", str(problem))
    return int(found[1]) if found else errno.EIO


def _check(path: Path, counts: Mapping[str, int]) -> None:
    """What was written can be read: all chunks are there, and the last row of each table."""
    with opened(path) as file:
        for name, rows in counts.items():
            table = file[name]
            last = table[rows - 1] if rows else {}
            column = SAMPLES.columns[0][0]
            seconds = float(last[column]) if rows and column in table.dtype.names else 0.0
            if (
                len(table) != rows
                or (rows and table.id.get_num_chunks() != -(-rows // table.chunks[0]))
                or not math.isfinite(seconds)
            ):
                raise Damaged(f"{path}: the table {name} is not as it was written")


def opened(path: Path) -> Any:
    """The file, to read. Raises Damaged, OSError when it isn't there."""
    import h5py

    path.stat()
    try:
        return h5py.File(path, "r")
    except OSError as problem:
        why = str(problem).partition("(")[2].rstrip(")") or str(problem)
        raise Damaged(f"{path} is no whole HDF5 file: {why}") from None


def tables(path: Path) -> dict[str, int]:
    """The tables of a file of ours and their rows. Raises Damaged."""
    with opened(path) as file:
        if file.attrs.get("format") != FORMAT:
            raise Damaged(f"{path} is no file of this kind: it lacks format = {FORMAT!r}")
        return {name: len(file[name]) for name in file}


def pieces(path: Path, name: str, size: int = CHUNK) -> Iterator[Rows]:
    """The rows of one table, in pieces. Raises Damaged."""
    with opened(path) as file:
        table = file[name]
        for first in range(0, len(table), size):
            try:
                yield table[first : first + size]
            except OSError:
                raise Damaged(f"{path}: rows {first} to {first + size} of {name} can't be read: the file is damaged") from None


def adler32(path: Path) -> tuple[int, str]:
    """(bytes, checksum) of a file, in one read."""
    size, value = 0, 1
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            size, value = size + len(block), checksum.adler32(block, value)
    return size, f"{value:08x}"
