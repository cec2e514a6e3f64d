"""After a disturbed pass and plain ones: is every file where it must be, once, and do books, directories and servers agree?

Nothing here uses dmtools: the tables are read by sqlite3, the list files as the contract writes them. dm-check is asked last.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from tests.faults.machine import OUTCOMES, Machine
from tests.faults.warm import Done

FOLDERS = {"Okay": "DONE/Okay", "Bad": "DONE/Bad", "Missing": "DONE/Missing"}
HARMLESS = ("leftover", "dead-lease")
TROUBLE = re.compile(r"Traceback \(most recent call last\)|internal error")


def judge(machine: Machine, passes: Sequence[Done] = (), outcomes: dict[bytes, str] | None = None) -> list[str]:
    """What is wrong, a sentence each; nothing: all is well. The servers must run."""
    wanted = OUTCOMES if outcomes is None else outcomes
    found: list[str] = []
    with closing(machine.tables()) as db:
        found += [f"still open: {what}" for what in machine.open()]
        found += _places(machine, wanted)
        found += _trees(machine, wanted)
        found += _doubles(machine, db, wanted)
        found += _books(machine, db, wanted)
    return found + _talk(machine, passes) + _second_opinion(machine)


def _second_opinion(machine: Machine) -> list[str]:
    """dm-check's: leftovers of a killed command are no disagreement, all else is."""
    done = machine.run("dm-check", "--json", "--storage", "all")
    findings = [f for f in json.loads(done.out)["findings"] if f["rule"] not in HARMLESS] if done.out else [done.err]
    return [f"dm-check: {finding}" for finding in findings]


def copies(machine: Machine) -> int:
    """How many times a destination was opened."""
    return sum(row["opened_at"] is not None for row in machine.records("copies"))


def leftovers(home: Path) -> list[str]:
    """Hidden and temporary files below HOME: harmless, but counted."""
    return [
        str(p.relative_to(home)) for p in home.rglob("*") if p.is_file() and (p.name.startswith(".") or p.name.endswith(".tmp"))
    ]


def _entries(path: Path) -> list[bytes]:
    """The LFNs of a list file, decoded; a bad line is what follows `# ! `."""
    lfns = []
    for line in path.read_bytes().splitlines():
        if line.startswith(b"# ! "):
            lfns.append(unquote_to_bytes(line[4:]))
        elif line and not line.startswith(b"#"):
            source, _, destination = line.partition(b"  ")
            one, two = (unquote_to_bytes(url.partition(b"/demo/")[2]).partition(b"/") for url in (source, destination))
            lfns.append(b"/" + one[2] if one[2] == two[2] else b"pair " + line)
    return lfns


def _visible(path: Path) -> list[Path]:
    return [p for p in path.iterdir() if not p.name.startswith(".")]


def _places(machine: Machine, wanted: dict[bytes, str]) -> list[str]:
    root = machine.home / "migrate"
    found = []
    for state, folder in FOLDERS.items():
        there = Counter(lfn for path in _visible(root / folder) for lfn in _entries(path))
        should = Counter(lfn for lfn, outcome in wanted.items() if outcome == state)
        if there != should:
            found.append(f"DONE/{state} lacks {dict(should - there)} and has {dict(there - should)} too many")
    left = [p for folder in ("TODO", "DOING") for p in _visible(root / folder) if p.name != "ListOfLFNs"]
    masters = root / "TODO/ListOfLFNs"
    left += [p for p in masters.iterdir() if p.name != "Done"]
    found += [f"left behind: {p.relative_to(root)}" for p in left]
    if [p.name for p in (masters / "Done").iterdir()] != ["master.txt"]:
        found.append("the master list is not in ListOfLFNs/Done")
    return found


def _files(top: Path) -> dict[bytes, bytes]:
    root = os.fsencode(top)
    return {
        os.path.join(place, name)[len(root) :]: Path(os.fsdecode(os.path.join(place, name))).read_bytes()
        for place, _, names in os.walk(root)
        for name in names
    }


def _trees(machine: Machine, wanted: dict[bytes, str]) -> list[str]:
    demo = machine.home / "demo"
    sources = _files(demo / "castor")
    should = {lfn: sources[lfn] for lfn, outcome in wanted.items() if outcome == "Okay"}
    there = _files(demo / "echo")
    if there == should:
        return []
    wrong = sorted(lfn for lfn in should.keys() | there.keys() if should.get(lfn) != there.get(lfn))
    return [f"the destination's file {lfn!r} is not as its source" for lfn in wrong]


def _doubles(machine: Machine, db: Any, wanted: dict[bytes, str]) -> list[str]:
    """By the servers' own records: copies opened on each destination, and jobs that the books don't know."""
    found = []
    opened = Counter(row["destination"] for row in machine.records("copies") if row["opened_at"] is not None)
    number = sum(outcome == "Okay" for outcome in wanted.values())
    if any(n != 1 for n in opened.values()) or len(opened) != number:
        found.append(f"copies opened: {dict(opened)}, not once each of {number} destinations")
    taken = Counter((row["server"], row["job_id"]) for row in machine.records("submissions"))
    booked = Counter(tuple(row) for row in db.execute("SELECT server, job FROM ftsjob WHERE submitted IS NOT NULL"))
    if taken != booked:
        found.append(f"jobs at the servers: {dict(taken)}; in the books: {dict(booked)}")
    return found


def _books(machine: Machine, db: Any, wanted: dict[bytes, str]) -> list[str]:
    found = []

    def same(what: str, one: Any, other: Any) -> None:
        if one != other:
            found.append(f"{what}: {one}, but {other}")

    should = dict(Counter(wanted.values()))
    states = dict(db.execute("SELECT state, COUNT(*) FROM transfer GROUP BY state"))
    tally = {s: n for s, n in db.execute("SELECT state, SUM(n) FROM tally WHERE pipeline='migrate' GROUP BY state") if n}
    size = dict(db.execute("SELECT state, SUM(COALESCE(size, 0)) FROM transfer GROUP BY state"))
    counted = {s: n for s, n in db.execute("SELECT state, SUM(bytes) FROM tally GROUP BY state") if n}
    same("files by state in the tables", states, should)
    same("the counts by state", tally, should)
    same("the bytes by state", counted, {state: n for state, n in size.items() if n})
    ends = "SELECT to_state, COUNT(*) FROM journal WHERE kind='file' AND to_state IN ('Okay', 'Bad', 'Missing') GROUP BY to_state"
    same("the journal's ends of files", dict(db.execute(ends)), should)
    flow = db.execute("SELECT state, SUM(n) FROM flow WHERE state IN ('Okay', 'Bad', 'Missing') GROUP BY state")
    same("the flow into each end", dict(flow), should)
    jobs = db.execute("SELECT COUNT(*) FROM ftsjob WHERE state != 'closed'").fetchone()[0]
    same("jobs that are not closed", jobs, 0)
    master = db.execute("SELECT lfns, cut, state FROM master").fetchall()
    same("the master list's row", master, [(len(wanted), len(wanted), "read")])
    found += _folders(machine, db)
    return found


def _folders(machine: Machine, db: Any) -> list[str]:
    """Each list stands in exactly the folders that its files' states name, with as many lines."""
    by_row = Counter(
        (name, state) for name, state in db.execute("SELECT l.name, t.state FROM transfer t JOIN filelist l ON l.id = t.list_id")
    )
    by_file = Counter(
        (path.name, state)
        for state, folder in FOLDERS.items()
        for path in _visible(machine.home / "migrate" / folder)
        for _ in _entries(path)
    )
    return [] if by_row == by_file else [f"lines by list and folder: {dict(by_file)}; by the rows: {dict(by_row)}"]


def _talk(machine: Machine, passes: Sequence[Done]) -> list[str]:
    bad = [done for done in passes if done.code not in (0, 1) or TROUBLE.search(done.err)]
    found = [f"{done.command} ended with {done.code}: {done.err.strip()}" for done in bad]
    for path in sorted((machine.home / "log").glob("*.log")):
        found += [f"{path.name}: {line}" for line in path.read_text().splitlines() if TROUBLE.search(line)]
    return found


def said_badly(name: str, code: int, err: str) -> list[str]:
    """What is wrong with what a failed command said: one sentence a line under its name, no traceback, a known exit code."""
    found = [] if code in (0, 1, 75) else [f"exit code {code}"]
    lines = err.splitlines()
    found += [f"said on stderr: {line}" for line in lines if not line.startswith(f"{name}: ") or TROUBLE.search(line)]
    if code == 75 and not lines:
        found.append("exit code 75 without a word")
    return found


Check = Callable[[Machine, Sequence[Done]], list[str]]
