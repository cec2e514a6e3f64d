"""dm-trace for daq: an LFN, a path on a DAQ disk, a copy's URL, a zip, a zip job, a list or job of FTS, a disk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import or_, select

from dmtools import clock, names
from dmtools.control import traces
from dmtools.control.entry import Match, Question, Trace
from dmtools.daq import standing, trace_zip
from dmtools.daq.lfn import Naming, lfn_key, place_key
from dmtools.daq.states import BAD, SKIPPED
from dmtools.daq.trace_file import of_file
from dmtools.daq.trace_words import WORDS, waits
from dmtools.ledger import tables

D, F, Z = tables.daq_disk.c, tables.daq_file.c, tables.daq_zip.c
KEY = re.compile(r"dm-[0-9a-f]{20}")
BATCH_ID = re.compile(r"\d+(\.\d+)?")


def trace(q: Question) -> Iterator[Trace]:
    """Everything that has just this name."""
    seen: set[tuple[str, str, str]] = set()
    for found in (*_files(q), *_disks(q), *_zips(q), *_jobs(q), *_engine(q)):
        what = (found.kind, found.subject, str(found.facts.get("on_disk") or found.facts.get("was_on_disk")))
        if what not in seen:
            seen.add(what)
            yield found


def _files(q: Question) -> Iterator[Trace]:
    """Files by LFN, by their place on a disk, by the URL of their copy: those that are there before those that were."""
    lfns = list(dict.fromkeys(_lfns(q)))
    keys = [lfn_key(lfn) for lfn in lfns if lfn.startswith("/")]
    places = [place_key(disk.id, path) for disk, path in _on_disks(q)]
    seen: set[int] = set()
    of_others = F.state.in_((SKIPPED, BAD)) & F.lfn_key.is_(None) & F.lfn.in_(lfns)  # a second file of the LFN, or none at all
    for where in (F.place_key.in_(places), F.lfn_key.in_(keys), of_others):
        for row in q.connection.execute(select(tables.daq_file).where(where).order_by(F.id.desc()).limit(q.limit)):
            if row.id not in seen:
                seen.add(row.id)
                yield of_file(q, row)


def _lfns(q: Question) -> Iterator[str]:
    """The LFNs that the text may mean: itself, the copy at the site, the zip on tape, a file that was on a disk."""
    daq = q.settings.daq
    for text in names.spellings(q.text):
        yield text
        urls = [text if "://" in text else f"file://{text}"]
        for url in urls:
            for base in (daq.site, daq.tape):
                if url.startswith(f"{base}/"):
                    yield url[len(base) :].removesuffix(".zip") if base == daq.tape else url[len(base) :]
    naming = Naming(daq)
    for _disk, path in _on_disks(q):
        raw = names.decode(path)
        template, refusal = naming.look(raw, raw.rpartition(b"/")[2])
        if refusal is None:
            yield template.replace("{path}", path)


def _on_disks(q: Question) -> Iterator[tuple[Any, str]]:
    """(disk, encoded path below it) that the text may mean."""
    spelt = names.spellings(q.text.removeprefix("file://"))
    for disk in q.connection.execute(select(tables.daq_disk)):
        for text in spelt:
            if text.startswith(f"{disk.path}/"):
                yield disk, text[len(disk.path) + 1 :]


def _disks(q: Question) -> Iterator[Trace]:
    """A disk by its path."""
    wanted = names.encode(os.fsencode(q.text.rstrip("/") or "/"))
    for one in standing.disks(q.connection, q.settings):
        if one.path == wanted:
            facts = {"files": one.counts, "flagged": clock.iso(one.flagged), "since": clock.iso(one.since), "this_home": one.mine}
            stands = waits(q, "transfer", [one.said(q.at)], one.step() or "nothing: the next pass of daq-transfer goes on")
            step = one.step() or stands.step
            history = traces.journal(q, "daq-disk", one.id)
            yield Trace(one.shown, "daq", "disk", one.state, stands.said, step, facts, history, stands.see)


def _zips(q: Question) -> Iterator[Trace]:
    """A zip by its name, or its URL on tape."""
    tape = q.settings.daq.tape
    for text in names.spellings(q.text):
        url = text if "://" in text else f"file://{text}"
        for name in {text, url[len(tape) :] if url.startswith(f"{tape}/") else text}:
            yield from trace_zip.by_name(q, names.key(name))


def _jobs(q: Question) -> Iterator[Trace]:
    """A zip by the key of its job, or by what the batch system calls that."""
    if KEY.fullmatch(q.text) or BATCH_ID.fullmatch(q.text):
        where = or_(Z.job_key == q.text, Z.job == q.text)
        for row in q.connection.execute(select(tables.daq_zip).where(where).order_by(Z.id.desc()).limit(q.limit)):
            yield trace_zip.of_zip(q, row)


def _engine(q: Question) -> Iterator[Trace]:
    """Lists and jobs of the transfer engine; its row of a zip's copy is told as the zip."""
    for found in traces.exact(q, WORDS, ()):
        if found.kind != "file":
            yield found


# ---- parts of names ----------------------------------------------------------------------------------------------------


def search(q: Question) -> list[Match]:
    """Files, zips, lists and jobs whose name holds the text, the newest first."""
    own = [*traces.holding(q, tables.daq_file, F.lfn, "file"), *traces.holding(q, tables.daq_zip, Z.name, "zip")]
    return [*own, *(match for match in traces.search(q, WORDS) if match.kind != "file")][: q.limit]


def near(q: Question) -> list[Match]:
    """Names that look like one that was not found."""
    return traces.near(q, search)
