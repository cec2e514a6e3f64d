"""What a comparison says: the JSON object, the summary for people, the warnings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dmtools import clock, names
from dmtools.command import Context
from dmtools.migrate.compare.guard import Guard
from dmtools.migrate.compare.judge import KINDS, Tally
from dmtools.migrate.compare.lists import NameList
from dmtools.migrate.compare.results import SUMMARY, Results

_MEANING = {
    "lost": "in the catalogue, not on storage: copy again",
    "dark": "on storage, not in the catalogue: candidates, nothing was deleted",
    "young": "in one list only, not judged",
    "different": "in both, with another size or checksum",
    "invalid": "lines that could not be used",
}
_FEW = 5


@dataclass(frozen=True)
class Listing:
    """A list, its time (None: unknown), and where that comes from or why it is unknown."""

    names: NameList
    time: datetime | None
    time_from: str

    def record(self, tally: Tally) -> dict[str, Any]:
        """The list in the JSON object."""
        found, title = self.names, self.names.title
        return {
            "path": str(found.path),
            "time": clock.iso(self.time),
            "time_from": self.time_from,
            "lines": found.lines,
            "names": found.names,
            "duplicates": tally.repeated[title],
            "first_duplicates": [shown(name) for name in tally.told[title]],
            "outside": found.outside,
            "invalid": found.invalid,
        }


def shown(name: bytes) -> str:
    """A raw name for people and JSON: itself where it is printable UTF-8, else percent-encoded."""
    return names.shown(names.encode(name))


def answer(dump: Listing, catalogue: Listing, tally: Tally, guard: Guard, results: Results) -> dict[str, Any]:
    """The object of `--json` and of summary.json."""
    invalid = dump.names.invalid + catalogue.names.invalid
    counts = {kind: tally.counts[kind] for kind in ("equal", *KINDS)} | {"invalid": invalid}
    return {
        "schema": 1,
        "pipeline": "migrate",
        "component": "compare",
        "equal": not any(counts[kind] for kind in (*KINDS, "invalid")),
        "dump": dump.record(tally),
        "catalogue": catalogue.record(tally),
        "counts": counts,
        "bytes": {kind: tally.sizes[kind] for kind in ("lost", "dark", "different")},
        "young": dict(tally.young),
        "dark_judged": not guard.blocked,
        "dark_not_judged_because": guard.blocked,
        "min_age_hours": guard.min_age / 3600,
        "first": {kind: [shown(name) for name in found] for kind, found in tally.first.items()},
        "files": {kind: str(results.path(kind)) for kind in _MEANING} | {"summary": str(results.directory / SUMMARY)},
    }


def summary(context: Context, found: dict[str, Any]) -> None:
    """The same for people, on stdout."""
    for title in ("dump", "catalogue"):
        one = found[title]
        told = f"{one['names']} names" + (f", {one['duplicates']} of them repeated" if one["duplicates"] else "")
        told += f", {one['outside']} not below the prefix" if one["outside"] else ""
        context.say(f"{title:10} {one['path']}: {told}; {one['time'] or 'time unknown'} ({one['time_from']})")
    context.say(f"{'equal':10} {found['counts']['equal']}")
    for kind, meaning in _MEANING.items():
        count = found["counts"][kind]
        size = f", {found['bytes'][kind]} bytes" if found["bytes"].get(kind) else ""
        context.say(f"{kind:10} {count}{size}: {meaning}; {found['files'][kind]}" if count else f"{kind:10} 0")
        why = ", ".join(f"{n} {reason}" for reason, n in found["young"].items() if n) if kind == "young" else ""
        if why:
            context.say(f"{'':10}   {why}")
        listed = found["first"].get(kind, [])
        for name in listed[:_FEW]:
            context.say(f"{'':10}   {name}")
        if listed and count > _FEW:
            context.say(f"{'':10}   and {count - _FEW} more")


def warnings(context: Context, dump: Listing, catalogue: Listing, tally: Tally, guard: Guard) -> None:
    """What a person must know before the lists are used; on stderr and in the report."""
    for listing in (dump, catalogue):
        _list_warnings(context, listing.names, tally)
    not_judged = tally.young["not judged"]
    if guard.blocked and not_judged:
        _note(
            context,
            f"{not_judged} files only on storage",
            guard.blocked,
            "none is called dark, they stand in young.txt",
            "see --help",
        )
    elif tally.young["age unknown"]:
        why = "not judged: their age is unknown, for the dump has no usable mtime column"
        step = "make the dump with one and name it in --dump-columns, or take all ages with --min-age 0"
        _note(context, f"{tally.young['age unknown']} files only on storage", why, "they stand in young.txt", step)
    if not tally.counts["equal"] and not tally.counts["different"]:
        why = "no name stands in both: the lists may write names in different ways"
        _note(
            context,
            "both lists",
            why,
            "they were compared as they are",
            "look at --strip and --percent-encoded before you use the result",
        )
    if tally.not_comparable:
        why = f"{tally.not_comparable} checksums are of another kind in each list"
        _note(context, "checksums", why, "those files count as equal by their sizes", "name one kind in both lists")


def _list_warnings(context: Context, found: NameList, tally: Tally) -> None:
    subject = os.fsdecode(found.path)
    as_is = "they were compared as they are"
    if found.unfinished:
        why = "its last line has no newline at the end: the list may be cut short"
        _note(context, subject, why, "the line was taken", f"make sure that the {found.title} is whole before you use the result")
    if found.with_cr:
        why = f"{found.with_cr} lines end with a carriage return, which is part of the name"
        _note(context, subject, why, as_is, "if it comes from Windows, take them out first")
    if found.with_tab:
        why = f"its names hold {found.with_tab} tabs"
        _note(context, subject, why, as_is, f"if these part columns, name the columns with --{found.title}-columns")
    if repeated := tally.repeated[found.title]:
        first = ", ".join(shown(name) for name in tally.told[found.title][:_FEW])
        _note(
            context,
            subject,
            f"{repeated} lines repeat a name, first {first}",
            "each name was compared once",
            "look why the list repeats names",
        )
    if found.outside:
        why = f"{found.outside} names are not below {os.fsdecode(found.form.strip)}/"
        _note(context, subject, why, "they were left out of the comparison", "correct --strip if they belong to it")


def _note(context: Context, subject: str, why: str, left: str, step: str) -> None:
    context.problem("note", subject, why=why, left=left, next=step, failed=False)
