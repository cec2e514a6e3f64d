"""The two older layouts of the archive, as pandas wrote them: one key `x`; columns `utc_seconds<dev>` and `<dev>` of each device.

What is pickled in them is read as plain lists of words; whatever else a pickle asks for is refused.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmtools.datalogger import hdf5
from dmtools.datalogger.hdf5 import Damaged
from dmtools.datalogger.reading import once

if TYPE_CHECKING:
    from dmtools.datalogger.reading import Floats

SECONDS = "utc_seconds"


@dataclass(frozen=True)
class Series:
    """One device of an older file: its samples by time, each once; how many rows were doubled there."""

    device: str
    seconds: Floats
    values: Floats
    doubles: int


def read(path: Path) -> Iterator[Series]:
    """The devices of an older file. Raises Damaged, which says what is wrong."""
    with hdf5.opened(path) as file:
        try:
            columns = {key: dict(_columns(file[key])) for key in file}
        except (OSError, KeyError, ValueError, TypeError) as problem:
            raise Damaged(f"{path} can't be read: {problem}") from None
        for key, found in columns.items():
            yield from _paired(path, key, found)


def _paired(path: Path, key: str, columns: dict[str, Any]) -> Iterator[Series]:
    times = [name for name in columns if name.startswith(SECONDS)]
    if not times:
        raise Damaged(f"{path}: {key} has no column {SECONDS}; its columns are {', '.join(columns) or 'none'}")
    for name in times:
        device = name.removeprefix(SECONDS)
        value = device if device in columns else "value"
        if value not in columns:
            raise Damaged(f"{path}: {key} has the column {name}, but none of its values")
        yield _series(path, device or _device(path, key), columns[name], columns[value])


def _device(path: Path, key: str) -> str:
    """The device of a table whose columns don't say it: its key, or a name that the file's name has."""
    if key != "x":
        return key
    if found := re.search(r"[A-Za-z]_[A-Za-z0-9]{2,12}(?=[-_.])", path.name):
        return found[0].replace("_", ":", 1)
    raise Damaged(
        f"{path}: its one key is x and nothing in it says of which device; call the file X_NAME-....h5, as B_VIMIN-2020.h5"
    )


def _series(path: Path, device: str, seconds: Any, values: Any) -> Series:
    import numpy as np

    both = [_numbers(path, device, column) for column in (seconds, values)]
    there = np.isfinite(both[0])  # shorter columns were filled up with NaN
    (at, value), doubles, _ = once(both[0][there], both[1][there])
    return Series(device, at, value, doubles)


def _numbers(path: Path, device: str, column: Any) -> Floats:
    """A column of numbers; one that `*****` turned into words has those left out as NaN."""
    import numpy as np

    if column.dtype.kind in "fiu":
        made: Floats = column.astype(np.float64)
        return made
    texts = [text.decode() if isinstance(text, bytes) else str(text) for text in column]
    try:
        return np.array([np.nan if set(text.strip()) == {"*"} else float(text) for text in texts])
    except ValueError as problem:
        raise Damaged(f"{path}: {device} holds what is no number: {problem}") from None


def _columns(place: Any) -> Iterator[tuple[str, Any]]:
    """(name, values) of each column: a plain table, or a frame of pandas in its fixed or its table format."""
    import h5py

    if isinstance(place, h5py.Dataset):
        rows = place[:]
        yield from ((name, rows[name]) for name in rows.dtype.names or ())
    elif "table" in place:
        yield from _of_table(place["table"])
    elif "axis0" in place:
        for n in range(int(place.attrs.get("nblocks", 0))):
            block, names = place[f"block{n}_values"], place[f"block{n}_items"][:]
            if block.dtype.kind == "O" or "VLArray" in str(block.attrs.get("CLASS", "")):
                yield from _of_objects(block, names)
                continue
            yield from ((_text(name), block[:, m]) for m, name in enumerate(names))
    else:
        for name in place:
            yield from ((f"{column}", values) for column, values in _columns(place[name]))


def _of_table(table: Any) -> Iterator[tuple[str, Any]]:
    rows = table[:]
    for field in rows.dtype.names or ():
        if field == "index":
            continue
        if rows[field].ndim == 1 and not field.startswith("values_block"):
            yield field, rows[field]
            continue
        kinds = table.attrs.get(f"{field}_kind")
        names = _plain(kinds) if kinds is not None else []
        values = rows[field] if rows[field].ndim == 2 else rows[field][:, None]
        yield from ((_text(name), values[:, m]) for m, name in enumerate(names))


def _of_objects(block: Any, names: Any) -> Iterator[tuple[str, Any]]:
    """Columns that `*****` had made words: pandas pickled them, whole."""
    import numpy as np

    found = np.asarray(_plain(bytes(block[0])), dtype=object)
    if found.ndim != 2 or len(names) not in found.shape:
        raise ValueError("its pickled columns are not as many as its names")
    values = found if found.shape[1] == len(names) else found.T
    yield from ((_text(name), values[:, m]) for m, name in enumerate(names))


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


class _Words(pickle.Unpickler):
    """Lists, texts and numbers; arrays of numpy, which are data as well."""

    def find_class(self, module: str, name: str) -> Any:
        """Nothing else is made."""
        import numpy as np

        allowed = {"_reconstruct": np.array(0).__reduce__()[0], "ndarray": np.ndarray, "dtype": np.dtype}
        if module.partition(".")[0] == "numpy" and name in allowed:
            return allowed[name]
        raise ValueError(f"it holds a pickle that asks for {module}.{name}, which is not read")


def _plain(pickled: Any) -> Any:
    data = pickled.encode("latin-1") if isinstance(pickled, str) else bytes(pickled)
    try:
        return _Words(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError) as problem:
        raise ValueError(f"its pickled words can't be read: {problem}") from None
