"""dm-trace for lta: a bundle by its name, zip or id; a file in bundles; a directory; a disk; a list or job of FTS."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlalchemy import ColumnElement, func, or_, select

from dmtools import clock, names
from dmtools.control import traces, troubles
from dmtools.control.entry import Match, Question, Trace
from dmtools.control.hindrances import Hindrance
from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow
from dmtools.lta import states as s
from dmtools.lta import trace_bundle
from dmtools.lta.trace_words import WORDS, waits

B, D, F, R = tables.lta_bundle.c, tables.lta_disk.c, tables.lta_file.c, tables.lta_directory.c
UUID = re.compile(r"[0-9A-Za-z]+(-[0-9A-Za-z]+){4}")


def trace(q: Question) -> Iterator[Trace]:
    """Everything that has just this name."""
    yield from _bundles(q)
    yield from _files(q)
    yield from _directories(q)
    yield from _disks(q)
    yield from (found for found in traces.exact(q, WORDS, ()) if found.kind != "file")


def _bundles(q: Question) -> Iterator[Trace]:
    """By ideal name, by the URL or path of the zip, by `bundle 17` as other pages call it: the newest first."""
    spelt = names.spellings(q.text)
    wanted: list[ColumnElement[bool]] = [B.ideal_key.in_([names.key(text) for text in spelt])]
    if number := re.fullmatch(r"(?:lta-)?bundle[ /](\d{1,18})", q.text):
        wanted.append(B.id == int(number[1]))
    urls = [text if "://" in text else f"file://{text}" for text in spelt if text.startswith(("/", "file:/"))]
    seen: set[int] = set()
    for where in wanted:
        for row in q.connection.execute(select(tables.lta_bundle).where(where).order_by(B.id.desc()).limit(q.limit)):
            seen.add(row.id)
            yield trace_bundle.of_bundle(q, row)
    if urls and not seen:  # no index has it, so it is asked last
        for row in q.connection.execute(select(tables.lta_bundle).where(B.name.in_(urls)).order_by(B.id.desc()).limit(q.limit)):
            yield trace_bundle.of_bundle(q, row)


def _files(q: Question) -> Iterator[Trace]:
    """A file in bundles: one trace a bundle that has it."""
    keys = {names.key(form) for text in names.spellings(q.text) for form in (text, text.lstrip("/"), f"/{text.lstrip('/')}")}
    query = select(tables.lta_file).where(F.name_key.in_(keys)).order_by(F.id.desc()).limit(q.limit)
    for row in q.connection.execute(query).all():
        bundle = q.connection.execute(select(tables.lta_bundle).where(B.id == row.bundle_id)).first()
        if bundle is not None:
            yield of_file(q, row, bundle)


def of_file(q: Question, row: AnyRow, bundle: AnyRow) -> Trace:
    """A file in a bundle: it stands where its bundle does."""
    found = trace_bundle.stands(q, bundle)
    facts = {
        "bundle": names.shown(bundle.ideal),
        "destination": bundle.destination,
        "size": row.size,
        "sha512": row.sha512,
        "adler32": row.adler32,
        "lay_at": names.shown(row.source) if row.source else None,
        "tape": bundle.tape,
    }
    said = f"it is in the bundle {names.shown(bundle.ideal)}: {found.said}"
    history = traces.journal(q, "lta-bundle", bundle.id)
    return Trace(names.shown(row.name), "lta", "file", bundle.state, said, found.step, facts, history, found.see)


def _directories(q: Question) -> Iterator[Trace]:
    keys = [names.key(text.rstrip("/") or "/") for text in names.spellings(q.text)]
    for row in q.connection.execute(select(tables.lta_directory).where(R.ideal_key.in_(keys))):
        yield of_directory(q, row)


def of_directory(q: Question, row: AnyRow) -> Trace:
    """A full directory, and its bundles by state."""
    query = select(B.state, func.count()).where(B.directory_id == row.id).group_by(B.state)
    bundles = {state: int(n) for state, n in q.connection.execute(query)}
    expected = select(tables.lta_expected.c.files).where(tables.lta_expected.c.ideal_key == row.ideal_key)
    facts = {
        "id": row.id,
        "path": names.shown(row.path),
        "since": clock.iso(row.since),
        "files": row.files,
        "expected": q.connection.execute(expected).scalar(),
        "bytes": row.bytes,
        "bundles": bundles,
        "holder": row.holder if row.holder and row.ready > q.at else None,
        "failures": row.failures or None,
        "reason": row.reason,
    }
    found = _directory_stands(q, row, sum(bundles.values()))
    history = traces.journal(q, "lta-directory", row.id)
    return Trace(names.shown(row.ideal), "lta", "directory", row.state, found.said, found.step, facts, history, found.see)


def _directory_stands(q: Question, row: AnyRow, bundles: int) -> Hindrance:
    if row.state in (s.UNCLAIMED, s.PROCESSING):
        said = ["it is full, and waits to be bundled" if row.state == s.UNCLAIMED else "its bundles are planned and made"]
        said += [f"after: {row.reason}"] if row.failures else []
        said += [f"next try {clock.local(row.ready)}"] if row.ready > q.at and not row.holder else []
        return waits(q, "glue", said)
    if row.state == s.PROBLEM:
        step = f"put it right, then: lta-glue --take-up {names.shown(row.ideal)}"
        return Hindrance(row.reason or "no reason was kept", step, troubles.LTA_DIRECTORY)
    over = {
        s.LTA_REQUEST: f"its {bundles} bundles are made; its files stay until these are proved on tape and a person says so",
        s.FILES_DELETED: "its bundles are on tape, and its files are deleted here: its way is over",
        s.DEPRECATED: f"a person gave it up: {row.reason or 'no reason was kept'}",
        s.NEVER_DELETE: "its bundles are made, and its files stay here for ever",
    }[row.state]
    return Hindrance(over, "")


def _disks(q: Question) -> Iterator[Trace]:
    if UUID.fullmatch(q.text):
        for row in q.connection.execute(select(tables.lta_disk).where(D.uuid == q.text)):
            yield of_disk(q, row)


def of_disk(q: Question, row: AnyRow) -> Trace:
    """An arriving disk: where it is and how far its dump is."""
    facts = {
        "slot": names.shown(row.slot) if row.slot else None,
        "at": names.shown(row.at) if row.at else None,
        "target": names.shown(row.target) if row.target else None,
        "since": clock.iso(row.since),
        "files": row.files,
        "bytes": row.bytes,
        "files_done": row.files_done,
        "bytes_done": row.bytes_done,
        "failures": row.failures or None,
        "holder": row.holder if row.holder and row.ready > q.at else None,
        "seen": clock.iso(row.seen),
        "begun": clock.iso(row.begun),
        "ended": clock.iso(row.ended),
        "reason": row.reason,
    }
    found = _disk_stands(q, row)
    history = traces.journal(q, "lta-disk", row.id)
    return Trace(row.uuid, "lta", "disk", row.state, found.said, found.step, facts, history, found.see)


def _disk_stands(q: Question, row: AnyRow) -> Hindrance:
    if row.state == s.NEW:
        return Hindrance("it is announced, and no slot has it yet", "put it into a slot")
    if row.state == s.INVENTORIED:
        dumping = q.connection.execute(select(func.count()).where(D.state == s.DUMPING)).scalar_one()
        said = [f"it waits to be dumped; {dumping} of at most {q.settings.lta.dump_copies} disks are dumped now"]
        said += [f"after: {row.reason}"] if row.failures else []
        return waits(q, "dump-control", said)
    if row.state == s.DUMPING:
        of = "" if row.files is None else f" of {row.files}"
        return waits(q, "dump-control", [f"it is dumped: {row.files_done}{of} files are proved in the warehouse"])
    if row.state == s.ERROR:
        step = f"look at the disk and its slot; then: lta-dump-control --again {row.uuid}"
        return Hindrance(f"set aside: {row.reason or 'no reason was kept'}", step, troubles.LTA_DISK)
    if row.state == s.DONE:
        return Hindrance("all that was wanted of it is proved in the warehouse", "it may be taken out of its slot")
    return Hindrance("it is no longer in a slot", "")


# ---- parts of names ----------------------------------------------------------------------------------------------------


def search(q: Question) -> list[Match]:
    """Bundles, directories, disks, files, lists and jobs whose name holds the text, the newest first."""
    parts, most = names.spellings(q.text), q.limit
    own = [
        *traces.holding(q, tables.lta_bundle, B.ideal, "bundle"),
        *traces.holding(q, tables.lta_directory, R.ideal, "directory"),
    ]
    own += traces.holding(q, tables.lta_disk, D.uuid, "disk")
    in_them = or_(*(func.instr(F.name, part) > 0 for part in parts))
    query = select(F.name, B.state).join_from(tables.lta_file, tables.lta_bundle, F.bundle_id == B.id)
    if len(own) < most:
        rows = q.connection.execute(query.where(in_them).order_by(F.id.desc()).limit(most))
        own += [Match(names.shown(row[0]), "file", row[1]) for row in rows]
    return [*own, *(match for match in traces.search(q, WORDS) if match.kind != "file")][:most]


def near(q: Question) -> list[Match]:
    """Names that look like one that was not found."""
    return traces.near(q, search)
