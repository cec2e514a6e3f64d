"""A file of samples or events -> the statistics of each of its tables, in one read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


def _pieces(path: Path, table: Any, seconds: str, values: str) -> Iterator[tuple[Any, Any]]:
    for first in range(0, len(table), PIECE):
        try:
            rows = table[first : first + PIECE]
        except OSError:
            raise Damaged(f"{path}: rows from {first} on of {table.name} can't be read: the file is damaged") from None
        yield rows[seconds].copy(), rows[values]
