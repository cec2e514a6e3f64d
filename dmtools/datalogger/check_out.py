"""dm-check of datalogger's published files: each is in its place, as it was published; `out` holds no others. Reads only.

A file may lie on tape, where reading brings it back from there: so sizes alone, unless --storage asks for more.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import select

from dmtools import names
from dmtools.control.checking import Finding, Inspection
from dmtools.control.passes import Pass
from dmtools.datalogger import files, hdf5, wall
from dmtools.datalogger.check import finding, note
from dmtools.datalogger.files import F, File
from dmtools.datalogger.kinds import KINDS
from dmtools.datalogger.states import PUBLISHED
from dmtools.datalogger.windows import HAND
from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow

SAMPLE, PRIME = 10, 1_000_003
NAME = re.compile(r"(params|events)-(?P<start>\d{8}T\d{6}Z)-(?P<end>\d{8}T\d{6}Z)(_s(?P<series>\d\d))?\.h5")


def check(inspection: Inspection, known: dict[str, File]) -> Iterator[Finding]:
    """Sizes of all; sums of a random sample, or of all."""
    this = inspection.this
    out = this.settings.path(this.settings.datalogger.out)
    if not out.is_dir():
        says = "the directory [datalogger] out is not there, so its files were not looked at"
        yield note("out-away", str(out), says, "mount it, or make it; then look again")
    with this.ledger.read() as connection:
        ids = {file.id for file in known.values()}
        rows = connection.execute(select(tables.datalogger_file).where(F.state == PUBLISHED).order_by(F.id)).all()
    mine = [row for row in rows if row.id in ids]
    here = [row for row in mine if files.path_of(row.place).parent.is_dir()]
    for row in here:
        yield from _size(row)
    for row in _chosen(here, inspection):
        yield from _sum(row)
    if out.is_dir():
        yield from _unknown(this, out, {str(files.path_of(row.place)) for row in rows} | known.keys())


def _chosen(rows: list[AnyRow], inspection: Inspection) -> list[AnyRow]:
    """What is read; the same at the second look."""
    if inspection.storage == "sample":
        return sorted(rows, key=lambda row: row.id * inspection.seed % PRIME)[:SAMPLE]
    return rows if inspection.storage == "all" else []


def _size(row: AnyRow) -> Iterator[Finding]:
    file = files.of(row)
    try:
        size = file.place.stat().st_size
    except FileNotFoundError:
        yield _gone(row, file)
    except OSError as problem:
        yield note("out-unread", str(file.place), f"it can't be looked at: {problem.strerror}", "look again")
    else:
        if size != file.bytes:
            yield _differs(file, f"{size} bytes")


def _gone(row: AnyRow, file: File) -> Finding:
    """By hand: people take such files where they want them."""
    says = f"it was published with {file.bytes} bytes, adler32 {file.adler32}, and it is not there"
    if row.origin == HAND and not row.adopted:
        return note("file-gone", str(file.place), says, "nothing, when you moved it")
    if has_draft(file):
        return finding("file-gone", str(file.place), says, "it is copied out again from its draft", item=file.id)
    start, end = wall.text(file.start), wall.text(file.end)
    step = (
        f"put it back; if it is gone for good: datalogger-{KINDS[file.kind].component} --startat {start} --stopat {end} --adopt"
    )
    return finding("file-gone", str(file.place), says, next=f"{step}, as long as the logger has it", item=file.id)


def has_draft(file: File) -> bool:
    """Is its draft still here, just as it was published?"""
    try:
        return hdf5.adler32(file.draft) == (file.bytes, file.adler32)
    except OSError:
        return False


def _differs(file: File, has: str) -> Finding:
    says = f"it was published with {file.bytes} bytes, adler32 {file.adler32}; it has {has}"
    step = "find out who changed it, and put the true one back"
    if has_draft(file):
        step = "find out who changed it, and move it away; then dm-check --repair copies the true one out again"
    return finding("file-differs", str(file.place), says, next=f"{step}; it was not touched", item=file.id)


def _sum(row: AnyRow) -> Iterator[Finding]:
    file = files.of(row)
    try:
        size, adler32 = hdf5.adler32(file.place)
    except FileNotFoundError:
        return  # told by its size
    except OSError as problem:
        yield note("out-unread", str(file.place), f"it can't be read: {problem.strerror}", "look again")
        return
    if size == file.bytes and adler32 != file.adler32:
        yield _differs(file, f"adler32 {adler32}")


def _unknown(this: Pass, out: Path, known: set[str]) -> Iterator[Finding]:
    """Files in `out` that no row has: of the schedule, by hand, or none of ours."""
    zone, strangers = ZoneInfo(this.settings.datalogger.timezone), []
    for name in sorted(os.listdir(out)):
        if name.startswith(".") or str(out / name) in known:
            continue
        match = NAME.fullmatch(name)
        if match is None:
            strangers.append(name)
        elif is_day(match["start"], match["end"], zone):
            says = "it has the name of a file of the schedule, and the tables don't know it"
            mend = "it is read, and its windows are booked as it says of itself, when it is whole and they are in no other file"
            yield finding("out-unknown", str(out / name), says, mend)
        else:
            strangers.append(name)
    if strangers:
        shown = names.shown(names.encode(os.fsencode(strangers[0])))
        says = f"{len(strangers)} files that are none of the schedule's, such as {shown}"
        yield note("stranger", str(out), says, "nothing: converted ones, and those of other programs, are left alone")


def is_day(start: str, end: str, zone: ZoneInfo) -> bool:
    """Do these stamps begin and end a day of the zone?"""
    try:
        one, other = (datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for text in (start, end))
    except ValueError:
        return False
    return next(wall.days(one.astimezone(zone).date(), other, zone), None) == (one, other)
