"""dm-trace for migrate: names by the rules, and lines that have no row yet: in a master list, or in a list that waits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Row

from dmtools import clock, names
from dmtools.control import traces
from dmtools.control.entry import Entry, Match, Question, Trace
from dmtools.control.hindrances import Hindrance
from dmtools.ledger import tables
from dmtools.migrate import masters
from dmtools.migrate.masters import MasterRefused
from dmtools.migrate.rules import Rules
from dmtools.migrate.states import DOING, LISTED, OKAY, TODO
from dmtools.spool.folders import known_id
from dmtools.spool.listfile import Pair

F, M = tables.filelist.c, tables.master.c


def advice(error_class: str) -> str:
    """What helps against an error class."""
    from dmtools.transfers import errors

    return errors.advice(error_class)


def no_room(q: Question, listed: Row[Any]) -> str:
    """Why a list that is due may not go yet: all jobs are open that may be, or its rule's window, jobs or bytes."""
    from dmtools.migrate.no_room import why_not

    return why_not(q, listed.name)


WORDS = traces.Words(
    *("migrate", TODO, DOING, OKAY, "consumer", "monitor", "migrate-triage"),
    advice=advice,
    cancel="migrate-cancel",
    abandon="migrate-cancel --abandon",
    no_room=no_room,
)


def trace(q: Question) -> Iterator[Trace]:
    """Everything that has just this name."""
    wanted = set(_lfns(q))
    found = False
    for one in traces.exact(q, WORDS, wanted):
        found = True
        yield _from_the_start(q, one)
    if found:
        return
    for one in (*_master(q), *(traces.by_source(q, WORDS) if "://" in q.text else ())):
        found = True
        yield one
    if not found:
        yield from _without_row(q, wanted)


def search(q: Question) -> list[Match]:
    """What holds the text in its name; then lines of master lists that have no row yet."""
    found = traces.search(q, WORDS)
    known = {match.subject for match in found}
    for match in _lines_with(q) if len(found) < q.limit else ():
        if match.subject not in known:
            known.add(match.subject)
            found.append(match)
        if len(found) >= q.limit:
            break
    return found


def _lines_with(q: Question) -> Iterator[Match]:
    """Lines that hold the text: of the master lists, and of those in Done whose lists still wait."""
    part = q.text.encode("utf-8", "surrogateescape")
    root = q.settings.home / "migrate" / "TODO" / "ListOfLFNs"
    waiting = select(F.master_id).where(F.pipeline == "migrate", F.state.in_(("cut", "TODO")), F.planned == 0).distinct()
    rows = q.connection.execute(select(M.name, M.read_bytes, M.id).where(M.home == known_id(q.settings.home)))
    read = {row.name: (row.read_bytes, row.id) for row in rows}
    open_ids = set(q.connection.execute(waiting).scalars())
    for path in (*masters.entries(root), *masters.entries(root / "Done")):
        cut, master = read.get(names.encode(path.name.encode("utf-8", "surrogateescape")), (0, None))
        if path.parent == root or master in open_ids:
            yield from _lines_of(path, part, cut)


def _lines_of(path: Path, part: bytes, cut: int) -> Iterator[Match]:
    offset = 0
    try:
        with masters.open_master(path) as stream:
            for line in stream:
                if part in line and masters.is_lfn_line(line):
                    yield Match(names.shown(names.encode(line.rstrip(b"\n"))), "file", TODO if offset < cut else LISTED)
                offset += len(line)
    except (MasterRefused, OSError, EOFError):
        return


def _from_the_start(q: Question, one: Trace) -> Trace:
    """The journal knows a file from its first submission on; that it was cut before stands in its first list's name."""
    name = one.facts.get("list")
    if one.kind != "file" or name is None:
        return one
    row = q.connection.execute(
        select(F.name, F.parent_id, F.master_id).where(F.home == known_id(q.settings.home), F.name_key == names.key(name))
    ).first()
    while row is not None and row.parent_id is not None:
        row = q.connection.execute(select(F.name, F.parent_id, F.master_id).where(F.id == row.parent_id)).first()
    found = re.search(r"-(\d{8}T\d{6}\.\d{6})Z-", row.name) if row is not None and row.master_id is not None else None
    if row is not None and found and one.history and one.history[0].start is None and one.history[0].end:
        master = q.connection.execute(select(M.name).where(M.id == row.master_id)).scalar()
        at = datetime.strptime(found[1] + "+0000", "%Y%m%dT%H%M%S.%f%z")
        cut = Entry(at, LISTED, TODO, "migrate-producer", f"cut from {names.shown(str(master))} into the list {row.name}")
        one.history[:1] = [cut, replace(one.history[0], start=TODO)]
    return one


def near(q: Question) -> list[Match]:
    """What looks like the text."""
    return traces.near(q, lambda part: traces.search(part, WORDS))


def _lfns(q: Question) -> Iterator[str]:
    """The LFNs that the text may name: itself, or a source or destination URL, or a local path of one."""
    rules = Rules(q.settings)
    for text in names.spellings(q.text):
        yield text
        url = text if "://" in text else f"file://{text}"
        for rule in q.settings.migrate.rules:
            for base in (rule.source.removesuffix("/"), rule.destination.removesuffix("/")):
                if url.startswith(f"{base}/"):
                    yield rules.lfn(Pair(rule.source.removesuffix("/") + url[len(base) :], url))


def _master(q: Question) -> Iterator[Trace]:
    """A master list by its name."""
    keys = [names.key(text) for text in names.spellings(q.text.rpartition("/")[2])]
    for row in q.connection.execute(select(tables.master).where(M.home == known_id(q.settings.home), M.name_key.in_(keys))):
        facts = {"lfns": row.lfns, "cut": row.cut, "bytes": row.read_bytes, "since": clock.iso(row.since)}
        stands = _why_master(q, row)
        said = (stands.said, stands.step, facts, [_since(row)], stands.see)
        yield Trace(names.shown(row.name), "migrate", "master list", row.state, *said)


def _since(row: Row[Any]) -> Entry:
    return Entry(row.since, None, row.state, "migrate-producer", f"{row.cut} of {row.lfns} LFNs are cut")


def _why_master(q: Question, row: Row[Any]) -> Hindrance:
    if row.state == "refused":
        return Hindrance(f"it {row.reason}", "put it right, or move it away", "A master list is refused")
    if row.cut >= row.lfns:
        return Hindrance("all its LFNs are cut into list files", "")
    said = [f"{row.lfns - row.cut} of its {row.lfns} LFNs are not cut yet"]
    return traces.kept(q, WORDS, "producer", said, "nothing: the next pass of migrate-producer goes on")


def _without_row(q: Question, wanted: set[str]) -> Iterator[Trace]:
    """A file that was not submitted yet has no row: it is a line of a master list or of a list in TODO."""
    for name in sorted(wanted):
        raw = names.decode(name)
        if not raw.startswith(b"/") or b"\n" in raw:
            continue
        found = _in_masters(q, raw) or _in_lists(q, name)
        if found:
            yield found
            return


def _in_masters(q: Question, raw: bytes) -> Trace | None:
    root = q.settings.home / "migrate" / "TODO" / "ListOfLFNs"
    for path in (*masters.entries(root), *masters.entries(root / "Done")):
        try:
            offset = _find_line(path, raw)
        except (MasterRefused, OSError):
            continue
        if offset is not None:
            return _listed(q, path, offset, raw)
    return None


def _find_line(path: Path, raw: bytes) -> int | None:
    """The offset of the line in the list's bytes (unpacked)."""
    needle = b"\n" + raw + b"\n"
    stream = masters.open_master(path)
    try:
        before, start = b"\n", -1
        for block in masters.read_blocks(stream, 0):
            data = before + block
            if (at := data.find(needle)) >= 0:
                return start + at + 1
            before = data[-len(needle) :]
            start += len(data) - len(before)
        return start + len(before) - len(raw) if before.endswith(needle[:-1]) else None
    finally:
        stream.close()


def _listed(q: Question, path: Path, offset: int, raw: bytes) -> Trace:
    key = names.key(names.encode(path.name.encode("utf-8", "surrogateescape")))
    row = q.connection.execute(select(tables.master).where(M.home == known_id(q.settings.home), M.name_key == key)).first()
    subject, facts = names.shown(names.encode(raw)), {"master": path.name, "offset": offset}
    if row is not None and offset < row.read_bytes:
        where = (F.pipeline == "migrate", F.master_id == row.id, F.start <= offset, F.start + F.length > offset)
        listed = q.connection.execute(select(tables.filelist).where(*where)).first()
        if listed is not None and not listed.planned:
            return _in_list(q, subject, listed, facts)
        name = listed.name if listed is not None else "?"
        said = f"the line was read into the list {name} and left out there: it names a file that another list has, or no file"
        return Trace(subject, "migrate", "file", "left out", said, f"look at: dm-trace {name}", facts)
    if row is not None:
        stands = _why_master(q, row)
    else:
        unread = ["it stands in a master list that no pass has read yet"]
        stands = traces.kept(q, WORDS, "producer", unread, "nothing: migrate-producer takes it")
    return Trace(
        subject, "migrate", "file", LISTED, f"in the master list {path.name}: {stands.said}", stands.step, facts, see=stands.see
    )


def _in_lists(q: Question, name: str) -> Trace | None:
    """A list that a person has put into TODO."""
    folder = q.settings.home / "migrate" / "TODO"
    known = select(F.name).where(F.pipeline == "migrate", F.state.in_(("cut", "TODO")), F.master_id.is_not(None))
    ours = set(q.connection.execute(known).scalars())
    pairs = []
    for rule in q.settings.migrate.rules:
        match = names.encode(rule.match.rstrip("/").encode())
        if name.startswith(f"{match}/"):
            pairs.append(f"{rule.source.removesuffix('/')}{name[len(match) :]}  ".encode())
    for path in sorted(folder.glob("*.txt")) if pairs else ():
        if path.name in ours or path.name.startswith("."):
            continue
        data = b"\n" + path.read_bytes()
        if any(b"\n" + pair in data for pair in pairs):
            key = names.key(names.encode(path.name.encode("utf-8", "surrogateescape")))
            listed = q.connection.execute(
                select(tables.filelist).where(F.home == known_id(q.settings.home), F.name_key == key)
            ).first()
            if listed is not None:
                stands = traces.waiting(q, WORDS, listed)
            else:
                step = "nothing: the next pass of migrate-consumer takes it"
                stands = traces.kept(q, WORDS, "consumer", [f"it waits in the list {path.name}"], step)
            facts = {"list": path.name}
            return Trace(names.shown(name), "migrate", "file", TODO, stands.said, stands.step, facts, see=stands.see)
    return None


def _in_list(q: Question, subject: str, listed: Row[Any], facts: dict[str, Any]) -> Trace:
    stands = traces.waiting(q, WORDS, listed)
    history = [Entry(listed.since, None, TODO, "migrate-producer", f"cut into the list {listed.name}")]
    facts = {**facts, "list": listed.name}
    return Trace(subject, "migrate", "file", TODO, stands.said, stands.step, facts, history, stands.see)
