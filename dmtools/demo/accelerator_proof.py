"""The proof of the demo's fifth act: every value computed again from the formula of docs/datalogger.md, file by file.

It reads HDF5 by h5py and the books by SQL; of dmtools it uses nothing.
"""

from __future__ import annotations

import json
import math
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from dmtools.demo import books
from dmtools.demo.proof import Check

ZONE = ZoneInfo("America/Chicago")
SECONDS = 10  # between two samples
Samples = list[tuple[float, float]]


def days(number: int, today: date) -> list[tuple[datetime, datetime]]:
    """The last so many whole local days, as UTC; one may have 23 or 25 hours."""
    nights = [datetime(d.year, d.month, d.day, tzinfo=ZONE) for d in (today - timedelta(n) for n in range(number, -1, -1))]
    utc = [night.astimezone(UTC) for night in nights]
    return list(pairwise(utc))


def samples(name: str, start: datetime, end: datetime) -> Samples:
    """What a device that is logged every ten seconds read in [start, end)."""
    c = zlib.crc32(name.encode())
    period = 600 + c % 4001
    first, last = (math.ceil(at.timestamp() / SECONDS) for at in (start, end))
    return [(float(k * SECONDS), _value(k, c, period)) for k in range(first, last)]


def _value(k: int, c: int, period: int) -> float:
    noise = ((k % 2**32) * 2654435761 + 97 * c) % 2**32 >> 20
    triangle = abs((k + c) % (2 * period) - period)
    return (((c >> 8) % 2000 - 1000) * 100 + 37 * triangle - noise + 2048) / 10000


def _tables(path: Path) -> Iterator[tuple[str, Samples]]:
    import h5py

    with h5py.File(path) as file:
        for name, table in file.items():
            yield name, [tuple(row) for row in table[:].tolist()]


def files(out: Path, names: Sequence[str], wanted: Sequence[tuple[datetime, datetime]]) -> list[Check]:
    """Each day of each device is in one file, and has just the samples that it should have."""
    found: Counter[tuple[str, str]] = Counter()
    against, number = [], 0
    begins = {f"{start:%Y%m%dT%H%M%SZ}-{end:%Y%m%dT%H%M%SZ}": (start, end) for start, end in wanted}
    for path in sorted(out.glob("params-*.h5")):
        day = path.name.removeprefix("params-")[:33]
        for name, has in _tables(path):
            found[name, day] += 1
            number += len(has)
            if day not in begins or has != samples(name, *begins[day]):
                against.append(f"{name} in {path.name} is not what the formula gives: {len(has)} samples")
    once = Counter({(name, day): 1 for name in names for day in begins})
    twice = [f"{name} of {day} is there {n} times" for (name, day), n in found.items() if n != once[name, day]]
    twice += [f"{name} of {day} is not there" for name, day in once - found]
    hidden = [path.name for path in out.iterdir() if path.name.startswith(".")]
    said = f"{len(wanted)} days of {len(names)} devices: {number} samples, each as the formula gives it, bit for bit"
    return [
        Check(said, against),
        Check("each day of each device is in one file, once; no other table, no hidden file", twice + hidden),
    ]


def tables(home: Path, names: Sequence[str], unknown: str, number: int) -> Check:
    """The books say so, too: all that was owed is done, the device that isn't there is in error, and says why."""
    query = "SELECT name, state, count(*) FROM datalogger_window WHERE kind = 'device' GROUP BY name, state"
    found = {(name, state): n for name, state, n in books.ask(home, query)}
    wanted = {**{(name, "done"): number for name in names}, (unknown, "error"): number}
    why = {row[0] for row in books.ask(home, f"SELECT reason FROM datalogger_window WHERE name = '{unknown}'")}  # noqa: S608
    against = [] if found == wanted else [f"they say {found}"]
    against += [text or "it says no reason" for text in why if "DIO_NO_SUCH" not in (text or "")]
    return Check(f"the tables say the same; {unknown}, which no node has, is told with the logger's own words", against)


def cut_short(asked: Sequence[str], name: str, other: str) -> Check:
    """A device whose answers were cut short had to be asked for again and again; `other`: one whose answers were whole."""
    times = {one: sum(f"+{one}" in text for text in asked) for one in (name, other)}
    against = [] if times[name] >= 2 * times[other] > 0 else [f"it was asked for as often as others: {times}"]
    return Check(f"the logger cut each answer of {name} short, {times[name]} times, and all of it is here", against)


def declared(home: Path) -> Check:
    """The journal has a line a file, with the size and checksum that the file has."""
    there = {path.name: path.read_bytes() for path in (home / "datalogger/out").iterdir()}
    wanted = Counter((name, len(data), f"{zlib.adler32(data):08x}") for name, data in there.items())
    journal = home / "datalogger/declared.ndjson"
    lines = [json.loads(line) for line in journal.read_text("utf-8").splitlines()] if journal.exists() else []
    found = Counter((line["name"], line["bytes"], line["adler32"]) for line in lines)
    against = [f"the journal lacks {one}" for one in wanted - found] + [
        f"the journal has {one} too often" for one in found - wanted
    ]
    return Check(f"each of the {len(there)} files is declared to the journal, once, with its checksum", against)


def statistics(home: Path, names: Sequence[str], wanted: Sequence[tuple[datetime, datetime]]) -> Check:
    """Mean, smallest and largest value of each day, by the view that the original's readers know."""
    against = []
    with closing(sqlite3.connect(home / "datalogger/GMPSAI.db")) as database:
        found = {row[:3]: row[3] for row in database.execute("SELECT epoch, parameter, stat, value FROM stats")}
    for name in names:
        for start, end in wanted:
            values = [value for _, value in samples(name, start, end)]
            true = {"mean": math.fsum(values) / len(values), "min": min(values), "max": max(values)}
            for stat, value in true.items():
                has = found.get((start.timestamp(), name, stat))
                if has is None or not math.isclose(has, value, rel_tol=1e-9, abs_tol=1e-9):
                    against.append(f"{stat} of {name} at {start:%Y-%m-%d} is {has}, should be {value}")
    return Check(f"{len(found)} figures in GMPSAI.db; mean, min and max of each day are those of the formula", against)


def site(place: Path, names: Sequence[str]) -> Check:
    """The plot site is there, whole: a page, and a figure a device that is JSON."""
    against = [] if (place / "index.html").is_file() else ["there is no index.html"]
    figures = [json.loads(path.read_bytes()) for path in place.rglob("*.json")]
    drawn = json.dumps(figures)
    against += [f"{name} is in no figure" for name in names if name not in drawn]
    return Check(f"the plot site is made: index.html and {len(figures)} files of JSON", against)
