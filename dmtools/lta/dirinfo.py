"""lta-dirinfo: bundles and directories by a part of their name, and which bundle has a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dmtools import clock, names
from dmtools.command import Context, Refused
from dmtools.lta import pages
from dmtools.lta.api import Books, answer
from dmtools.lta.api.bundles import Bundle, GetBundle, ListBundles
from dmtools.lta.api.directories import ListDirectories
from dmtools.lta.api.files import FindFiles
from dmtools.lta.typed import spellings

SCHEMA = 1
Found = dict[str, list[dict[str, Any]]]


def of_books(context: Context, fragments: Sequence[str], *, exact: bool, files: bool) -> Found:
    """By the tables, each thing once."""
    from dmtools.lta.office import books_of

    books = books_of(context)
    bundles: dict[int, dict[str, Any]] = {}
    directories: dict[int, dict[str, Any]] = {}
    in_files: dict[int, dict[str, Any]] = {}
    for spelt in dict.fromkeys(one for fragment in fragments for one in spellings(fragment)):
        how: dict[str, Any] = {"name": spelt} if exact else {"like": spelt}
        for bundle in pages.bundles(books, ListBundles(**how)):
            bundles[bundle.id] = _bundle(bundle)
        for directory in pages.directories(books, ListDirectories(**how)):
            one = {"name": directory.ideal, "id": directory.id, "state": directory.state, "files": directory.files}
            directories[directory.id] = one | {"since": clock.iso(directory.since), "reason": directory.reason}
        if files:
            in_files |= dict(_files(books, FindFiles(**how)))
    return {"bundles": list(bundles.values()), "directories": list(directories.values()), "files": list(in_files.values())}


def _bundle(one: Bundle) -> dict[str, Any]:
    found = {"name": one.ideal, "id": one.id, "state": one.state, "destination": one.destination, "size": one.size}
    return found | {"files": one.files, "since": clock.iso(one.since), "tape": one.tape, "reason": one.reason}


def _files(books: Books, ask: FindFiles) -> Iterator[tuple[int, dict[str, Any]]]:
    known: dict[int, Bundle] = {}
    for file in pages.files(books, ask):
        if file.bundle_id not in known:
            known[file.bundle_id] = answer(books, GetBundle(id=file.bundle_id), Bundle)
        bundle = known[file.bundle_id]
        found = {"name": file.name, "size": file.size, "sha512": file.sha512, "bundle": bundle.ideal, "bundle_id": bundle.id}
        yield file.id, found | {"state": bundle.state, "destination": bundle.destination}


def offline(context: Context, fragments: Sequence[str], top: Path, *, exact: bool) -> Found:
    """By the manifests below a directory; one that can't be read is told, the others go on. Raises Refused."""
    from dmtools.lta import offline as without

    if not top.exists():
        raise Refused(f"{top} is not there; --offline takes a directory with zips or manifests, or one of them")
    wanted = {one for fragment in fragments for one in spellings(fragment)}
    found: list[dict[str, Any]] = []
    for listed in without.below(top):
        if listed.problem:
            step = "look at it: what it lists is not among what was found"
            context.problem("no manifest read", listed.shown, why=listed.problem, left="it was left out", next=step)
        for record in listed.records:
            if record.name in wanted if exact else any(one in record.name for one in wanted):
                one = {"name": record.name, "size": record.size, "sha512": record.sha512}
                found.append(one | {"bundle": names.encode(listed.path)})
    return {"bundles": [], "directories": [], "files": found}


def show(context: Context, found: Found, fragments: Sequence[str]) -> None:
    """A line each for people: name, id, state; the object for --json."""
    for kind in ("bundles", "directories"):
        for one in found[kind]:
            site = f"  {one['destination']}" if kind == "bundles" else ""
            context.say(f"{_shown(one['name'])}  {one['id']}  {one['state']}{site}")
    for one in found["files"]:
        where = f"  {one['bundle_id']}  {one['state']}  {one['destination']}" if "state" in one else ""
        context.say(f"{_shown(one['name'])}  in {_shown(one['bundle'])}{where}")
    if not any(found.values()):
        named, step = ", ".join(map(repr, fragments)), "try a shorter part, or --files for what is in bundles"
        context.problem("nothing found", named, why="no name holds it", left="nothing was changed", next=step)
    context.answer = {"schema": SCHEMA, **found, "errors": [one.record() for one in context.report.errors]}


def _shown(name: str) -> str:
    from dmtools.command.report import one_line

    return one_line(names.shown(name))
