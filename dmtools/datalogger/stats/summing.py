"""A file of samples or events -> the statistics of each of its tables, in one read."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from dmtools import __version__, clock
from dmtools.datalogger import hdf5
from dmtools.datalogger.hdf5 import Damaged
from dmtools.datalogger.stats.figures import Disordered, Figures, Series
from dmtools.datalogger.stats.store import Statistics

COLUMNS = {"device": ("utc_seconds", "value"), "event": ("epoch", "SCmicrosec")}
PIECE = hdf5.CHUNK  # rows that are read at once: a compressed chunk


def of_file(path: Path, scratch: Path, at: float) -> Iterator[Statistics]:
    """The statistics of each table, as the file itself says what it is. Raises Damaged, OSError.

    `scratch`: where numbers too many for the memory are put in order. `at`: when, UTC epoch seconds.
    """
    with hdf5.opened(path) as file:
        if file.attrs.get("format") != hdf5.FORMAT:
            step = "files of the older layouts are converted by datalogger-params --convert"
            raise Damaged(f"{path} is no file of this kind: it lacks format = {hdf5.FORMAT!r}; {step}")
        for called in file:
            yield _of_table(path, file[called], scratch, dict(file.attrs), at)


def _of_table(path: Path, table: Any, scratch: Path, about: Mapping[str, Any], at: float) -> Statistics:
    called, known = table.name.lstrip("/"), {**about, **table.attrs}
    kind = "event" if "event" in known else "device"
    try:
        start, end = (clock.parse(known[key]).timestamp() for key in ("start", "end"))
        series = Series(start, end, float(known.get("hertz", 0)), scratch)
        for seconds, values in _pieces(path, table, *COLUMNS[kind]):
            series.add(seconds, values)
        found = series.figures()
    except Disordered as problem:
        raise Damaged(f"{path}: {called}: {problem}") from None
    except (KeyError, ValueError, TypeError) as problem:
        raise Damaged(f"{path}: the table {called} is not as dmtools writes it: {problem}") from None
    figures = {field.name: getattr(found, field.name) for field in fields(Figures)}
    figures["doubles"] += int(known.get("doubles", 0))
    return Statistics(
        kind=kind,
        name=str(known.get(kind, called)),
        start=start,
        end=end,
        file=path.name,
        series=int(known.get("series", 0)),
        units=str(known.get("units", "")) if kind == "device" else "us",
        state=str(known.get("state", "")),
        stars=int(known.get("stars", 0)),
        distilled=at,
        version=__version__,
        **figures,
    )


def _pieces(path: Path, table: Any, *names: str) -> Iterator[list[Any]]:
    """The columns of these names, a compressed chunk at a time; what we have written is unpacked here, as it was packed."""
    import numpy as np

    unpack, broken = _unpacker()
    ours = table.compression == "gzip" and table.shuffle and not table.fletcher32
    for first in range(0, len(table), table.chunks[0] if ours else PIECE):
        size = min(PIECE, len(table) - first)
        try:
            if ours:
                mask, packed = table.id.read_direct_chunk((first,))
                size = min(table.chunks[0], len(table) - first)
                plain = np.frombuffer(unpack(packed), np.uint8).reshape(table.dtype.itemsize, -1)
                if mask or plain.shape[1] != table.chunks[0]:
                    raise ValueError("a chunk is not packed as it should be")
                yield [_column(plain[:, :size], *table.dtype.fields[name]) for name in names]
            else:
                rows = table[first : first + size]
                yield [rows[name].copy() for name in names]
        except (OSError, ValueError, broken):
            raise Damaged(f"{path}: rows from {first} on of {table.name} can't be read: the file is damaged") from None


def _column(plain: Any, kind: Any, offset: int) -> Any:
    """One column of bytes as HDF5's shuffle filter has them: first bytes of all rows, second bytes of all rows, ..."""
    import numpy as np

    return np.ascontiguousarray(plain[offset : offset + kind.itemsize].T).view(kind).reshape(-1)


def _unpacker() -> tuple[Callable[[bytes], bytes], Any]:
    """What unpacks a chunk and what it raises for a damaged one; isal is three times as fast as zlib."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.decompress, zlib.error
    return isal_zlib.decompress, isal_zlib.error
