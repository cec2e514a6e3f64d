"""The samples of one window on the local disk, until they are in a file: rows of one size, one piece after the other.

HDF5 is not whole again after a kill in the middle of a write; this is: what is not booked is cut off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dmtools import durable
from dmtools.datalogger import wall
from dmtools.datalogger.kinds import SAMPLES, Kind
from dmtools.datalogger.windows import Window

if TYPE_CHECKING:
    from dmtools.datalogger.hdf5 import Rows
    from dmtools.datalogger.reading import Floats

PIECE = 65_536  # rows that are read at once


def place(directory: Path, home: str, window: Window) -> Path:
    """Where the rows of a window are drafted; nobody else's are there, though the directory may be shared."""
    return directory / f"{window.called.replace(':', '_')}-{wall.stamp(window.start)}-{home[:8]}-{window.id}.rows"


def cut(path: Path, rows: int, kind: Kind = SAMPLES) -> bool:
    """Cuts off what is not booked; False when some of what is booked is not there."""
    try:
        there = path.stat().st_size
    except FileNotFoundError:
        return rows == 0
    size = rows * kind.row_bytes
    if there > size:
        os.truncate(path, size)
    return there >= size


def append(path: Path, rows: int, seconds: Floats, values: Floats) -> None:
    """The same for samples in two columns."""
    import numpy as np

    made = np.empty(len(seconds), SAMPLES.row_type())
    made["utc_seconds"], made["value"] = seconds, values
    append_rows(path, rows, made)


def append_rows(path: Path, rows: int, made: Rows) -> None:
    """Writes rows behind the first `rows`, durably. Raises OSError; what is there beyond them is then of no account."""
    import numpy as np

    new = not path.exists()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        os.lseek(handle, rows * made.dtype.itemsize, os.SEEK_SET)
        left = memoryview(made.view(np.uint8).data)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    if new:
        durable.fsync_dir(path.parent)


def pieces(path: Path, rows: int, kind: Kind = SAMPLES) -> Iterator[Rows]:
    """The first `rows`, piece by piece."""
    import numpy as np

    done = 0
    with path.open("rb") if rows else Path(os.devnull).open("rb") as handle:
        while done < rows:
            piece = np.fromfile(handle, kind.row_type(), min(PIECE, rows - done))
            if not len(piece):
                return  # the writer counts, and tells
            done += len(piece)
            yield piece
