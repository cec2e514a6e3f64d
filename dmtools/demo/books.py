"""The books as they lie on the disk: the sqlite file by SQL, the list files by their text. Nothing of dmtools reads them here."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

DONE = ("Okay", "Bad", "Missing")


def ask(home: Path, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query; the file is opened for reading only."""
    with closing(sqlite3.connect(f"file:{home}/dmtools.db?mode=ro", uri=True, timeout=30)) as database:
        return database.execute(query).fetchall()


def tally(home: Path, pipeline: str = "migrate") -> dict[str, int]:
    """What dm-monitoring counts by state; what there is none of is left out."""
    rows = ask(home, f"SELECT state, sum(n) FROM tally WHERE pipeline='{pipeline}' GROUP BY state")  # noqa: S608 - our own name
    return {state: n for state, n in rows if n}


def rows(home: Path) -> Iterator[tuple[str, bytes, str]]:
    """(state, LFN, error class) of every row of a file."""
    for state, name, error_class in ask(home, "SELECT state, name, error_class FROM transfer WHERE pipeline='migrate'"):
        yield state, unquote_to_bytes(name), error_class or ""


def open_jobs(home: Path) -> int:
    """Jobs of which the books say that they are not over."""
    return int(ask(home, "SELECT count(*) FROM ftsjob WHERE state NOT IN ('closed', 'abandoned')")[0][0])


def histories(home: Path) -> Counter[str]:
    """By state: how many files have a journal entry that brought them there."""
    query = """SELECT t.state, count(DISTINCT t.id) FROM transfer t JOIN journal j
               ON j.kind='file' AND j.item=t.id AND j.to_state=t.state WHERE t.pipeline='migrate' GROUP BY t.state"""
    return Counter(dict(ask(home, query)))


def listed(home: Path, folder: str, source: Path) -> list[tuple[bytes, str]]:
    """(LFN or rejected line, the comment above it) of all lists in DONE/folder; `source` is the root of the sources."""
    place = home / "migrate/DONE" / folder
    names = sorted(name for name in os.listdir(place) if not name.startswith("."))  # hidden: a killed command was writing it
    return [found for name in names for found in _entries(place / name, source)]


def _entries(path: Path, source: Path) -> Iterator[tuple[bytes, str]]:
    prefix, comment = b"file://" + os.fsencode(source), ""
    for line in path.read_bytes().splitlines():
        if line.startswith(b"#dm "):
            continue
        if line.startswith(b"# ! "):  # a line of a master list that names no file
            yield unquote_to_bytes(line[4:]), comment
        elif line.startswith(b"#"):
            comment = line[1:].strip().decode("ascii")
        else:
            yield unquote_to_bytes(line.partition(b"  ")[0]).removeprefix(prefix), comment
            comment = ""


def left_open(home: Path) -> list[str]:
    """What stands in the directories for open work; a hidden name is a killed command's unfinished file, and no work."""
    places = ("migrate/TODO", "migrate/TODO/ListOfLFNs", "migrate/DOING")
    known = {"migrate/TODO/ListOfLFNs", "migrate/TODO/ListOfLFNs/Done"}
    shown = [f"{place}/{name}" for place in places for name in os.listdir(home / place) if not name.startswith(".")]
    return [path for path in shown if path not in known]


def set_aside(home: Path, source: Path) -> set[bytes]:
    """The LFNs of the lists in run/set-aside: second copies, as a kill in the middle of a move leaves them."""
    return {lfn for path in (home / "run/set-aside").iterdir() for lfn, _ in _entries(path, source)}


def at_rest(home: Path) -> bool:
    """Is there nothing left to do, as far as the directories tell?"""
    return not left_open(home)
