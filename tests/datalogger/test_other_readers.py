"""Files are compressed by us, chunk by chunk, and read by others: HDF5's own library, PyTables, MATLAB.

PyTables read such a file when this was written (3.10, by hand: too many packages for a test). What MATLAB can do is known by the
filters and the version of the format: shuffle and deflate are part of every HDF5 since 1.6.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from dmtools.datalogger import hdf5

ROWS = hdf5.CHUNK + 1234


@pytest.fixture
def rows() -> np.ndarray:
    found = np.zeros(ROWS, [("utc_seconds", "<f8"), ("value", "<f8")])
    found["utc_seconds"] = 1_795_719_600 + np.arange(ROWS) / 15
    found["value"] = np.sin(np.arange(ROWS))
    found["value"][7] = np.nan
    return found


def test_every_reader_of_hdf5_can_read_a_file(tmp_path: Path, rows: np.ndarray) -> None:
    path = tmp_path / "params.h5"
    pieces = [rows[:100], rows[100:70_000], rows[70_000:]]
    tables = [hdf5.Table("B:VIMIN", ROWS, lambda: pieces, {"units": "A"}), hdf5.Table("B:NONE", 0, list)]
    hdf5.write(path, tables, {"source": "here"})
    assert path.read_bytes()[8] in (0, 2)  # the superblock of HDF5 1.8, which MATLAB and PyTables have had for long
    with h5py.File(path) as file:
        table = file["B:VIMIN"]
        filters = table.id.get_create_plist()
        wanted = [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]
        assert [filters.get_filter(n)[0] for n in range(filters.get_nfilters())] == wanted
        assert table.dtype == rows.dtype
        assert table[:].tobytes() == rows.tobytes()  # as HDF5's library undoes the filters
        by_hand = b"".join(unpacked(table, n) for n in range(table.id.get_num_chunks()))
        assert by_hand[: rows.nbytes] == rows.tobytes()  # as anybody does who knows the two filters
        assert set(by_hand[rows.nbytes :]) == {0}
        assert (len(file["B:NONE"]), table.attrs["units"], file.attrs["source"]) == (0, "A", "here")


def unpacked(table: h5py.Dataset, number: int) -> bytes:
    mask, packed = table.id.read_direct_chunk(table.id.get_chunk_info(number).chunk_offset)
    assert mask == 0
    planes = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(table.dtype.itemsize, -1)
    return planes.T.tobytes()
