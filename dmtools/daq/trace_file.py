"""The life of one file of a DAQ disk, where its bytes are, and why it doesn't move."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from dmtools import clock, names
from dmtools.control import traces, troubles
from dmtools.control.entry import Entry, Question, Trace
from dmtools.control.hindrances import Hindrance
from dmtools.daq import standing
from dmtools.daq import states as s
from dmtools.daq.files import BLOCK
from dmtools.daq.trace_words import advice, waits
from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow
from dmtools.spool.folders import known_id

D, F, J, Z = tables.daq_disk.c, tables.daq_file.c, tables.journal.c, tables.daq_zip.c
AT_THE_SITE = (s.AT_SITE, s.ZIPPING, s.ZIPPED, s.TO_TAPE, s.ON_TAPE, s.FREED)


def of_file(q: Question, row: AnyRow) -> Trace:
    """One file, from its row."""
    disk = q.connection.execute(select(tables.daq_disk).where(D.id == row.disk_id)).first()
    zipped = q.connection.execute(select(tables.daq_zip).where(Z.id == row.zip_id)).first() if row.zip_id else None
    place = f"{names.shown(disk.path)}/{names.shown(row.path)}" if disk is not None else names.shown(row.path)
    stands = _stands(q, row, disk, zipped, place)
    facts = {**_facts(q, row, zipped, place), "since": clock.iso(row.since)}
    history = [*_found(q, row), *traces.journal(q, "daq-file", row.id)]
    return Trace(names.shown(row.lfn), "daq", "file", row.state, stands.said, stands.step, facts, history, stands.see)


def _facts(q: Question, row: AnyRow, zipped: AnyRow | None, place: str) -> dict[str, Any]:
    daq = q.settings.daq
    there = row.state in AT_THE_SITE and row.lfn_key is not None
    on_tape = zipped is not None and zipped.state in (s.ON_TAPE, s.CLEANED)
    first = q.connection.execute(select(F.lfn).where(F.id == row.twin_id)).scalar() if row.twin_id else None
    return {
        "on_disk": place if row.freed is None and row.place_key is not None else None,
        "was_on_disk": place if row.place_key is None else None,
        "site": f"{daq.site}{row.lfn}" if there else None,
        "tape": f"{daq.tape}{zipped.name}" if on_tape and zipped is not None else None,
        "size": row.size,
        "checksum": row.checksum,
        "zip": names.shown(zipped.name) if zipped is not None else None,
        "zip_state": zipped.state if zipped is not None else None,
        "job": zipped.job_key if zipped is not None else None,
        "failures": row.failures,
        "next_try": clock.iso(row.next_try),
        "error_class": row.error_class,
        "reason": row.reason,
        "the_same_name_as": names.shown(first) if first else None,
        "freed": clock.iso(row.freed),
    }


def _found(q: Question, row: AnyRow) -> list[Entry]:
    """The journal of a million new files is one entry of their disk: the scan that found them."""
    said = f"scan {row.scan}: %"
    query = select(J.at, J.by).where(J.kind == "daq-disk", J.item == row.disk_id, J.why.like(said)).order_by(J.id).limit(1)
    scan = q.connection.execute(query).first()
    first = s.SKIPPED if row.lfn_key is None and row.twin_id is None and row.state == s.SKIPPED else s.FOUND
    if scan is not None:
        return [Entry(scan.at, None, first, scan.by, f"found by scan {row.scan} of its disk")]
    moved = q.connection.execute(select(J.id).where(J.kind == "daq-file", J.item == row.id, J.to_state.is_not(None)).limit(1))
    at: datetime = row.since
    return [] if moved.first() is not None else [Entry(at, None, first, "daq-transfer", f"found by scan {row.scan} of its disk")]


# ---- why it stands there -------------------------------------------------------------------------------------------------


def _stands(q: Question, row: AnyRow, disk: AnyRow | None, zipped: AnyRow | None, place: str) -> Hindrance:
    if row.state == s.FOUND:
        return _to_copy(q, row, disk)
    if row.state == s.COPIED:
        said = [row.reason or "its copy at the site is not proved yet"]
        return waits(q, "transfer", said, resource=f"daq-files-{row.id // BLOCK}")
    if row.state in (s.AT_SITE, s.ZIPPING, s.ZIPPED, s.TO_TAPE):
        return _kept_on_disk(q, row, place, _to_tape(q, row, zipped))
    if row.state == s.ON_TAPE:
        return _to_free(q, row, disk)
    if row.state == s.FREED:
        again = f"daq-restore {_quoted(row)} --to DIR brings it back"
        if zipped is None:
            return Hindrance("it is gone from its disk; its bytes are safe under the same LFN", again)
        return Hindrance(f"it is on tape in {names.shown(zipped.name)}, and gone from its disk: its way is over", again)
    if row.state == s.BAD:
        return _bad(row, zipped)
    return _skipped(q, row, place)


def _quoted(row: AnyRow) -> str:
    return shlex.quote(names.shown(row.lfn))


def _to_copy(q: Question, row: AnyRow, disk: AnyRow | None) -> Hindrance:
    said = ["it is to be copied to the site"]
    step = ""
    if row.reason:
        said = [row.reason]
    if row.next_try and row.next_try > q.at:
        said.append(f"looked at again after {clock.local(row.next_try)}")
        step = "nothing: daq-transfer tries it again then"
        if row.error_class is not None:
            step = f"{advice(row.error_class)}; daq-transfer tries it again then"
    if disk is not None and (trouble := _trouble(q, disk)):
        return Hindrance("; ".join([f"its disk can't be worked with: {trouble}", *said]), "mount it, or look at the machine")
    if disk is not None and disk.state in (s.FILLING, s.FREE):
        said.append("its disk is not flagged ReadyToTransfer")
        step = "nothing: the DAQ flags the disk when it is full"
    return waits(q, "transfer", said, step, resource=f"daq-files-{row.id // BLOCK}")


def _trouble(q: Question, disk: AnyRow) -> str:
    """Why the disk can't be worked with; only where it is one of this HOME."""
    if disk.home != known_id(q.settings.home):
        return ""
    look = standing.looks([disk.path])[disk.path]
    if look.trouble or look.flagged or disk.state != s.EMPTYING:
        return look.trouble
    return "ReadyToTransfer is gone from its root: it is not mounted, or somebody took the flag away"


def _kept_on_disk(q: Question, row: AnyRow, place: str, stands: Hindrance) -> Hindrance:
    """What the safety level means for the source, behind what is said."""
    if row.place_key is None:
        return Hindrance(f"{stands.said}; its source is gone from {place} already", stands.step, stands.see)
    level = q.settings.daq.safety
    when = "when the tape has it" if level == "tape-verified" else "by the next pass of daq-transfer"
    return Hindrance(f"{stands.said}; it stays on {place}: [daq] safety is {level}, so it goes {when}", stands.step, stands.see)


def _to_tape(q: Question, row: AnyRow, zipped: AnyRow | None) -> Hindrance:
    if zipped is not None:
        from dmtools.daq import trace_zip

        return trace_zip.stands(q, zipped)
    open_jobs = int(q.connection.execute(select(func.count()).where(Z.state == s.ZIPPING)).scalar_one())
    most = q.settings.daq.max_jobs
    said = "it is proved at the site, and its zip is not chosen yet"
    if open_jobs >= most:
        return waits(
            q, "archive", [f"{said}: {open_jobs} of at most {most} zip jobs are open"], "nothing: it is zipped in its turn"
        )
    return waits(q, "archive", [said])


def _to_free(q: Question, row: AnyRow, disk: AnyRow | None) -> Hindrance:
    if row.place_key is None:
        return waits(q, "archive", ["it is proved on tape, and gone from its disk"])
    if disk is not None and (trouble := _trouble(q, disk)):
        return Hindrance(f"it is proved on tape; its disk can't be worked with: {trouble}", "mount it, or look at the machine")
    said = ["it is proved on tape; it is still on its disk"]
    return waits(q, "transfer", [*said, row.reason] if row.reason else said, resource=f"daq-files-{row.id // BLOCK}")


def _bad(row: AnyRow, zipped: AnyRow | None) -> Hindrance:
    why = f"{row.error_class}: {row.reason}" if row.error_class else row.reason or "no reason was kept"
    command = "daq-archive" if zipped is not None and zipped.state == s.BAD else "daq-transfer"
    step = f"{advice(row.error_class or 'other')}; then: {command} --retry {_quoted(row)}"
    return Hindrance(why, step, troubles.DAQ_BAD)


def _skipped(q: Question, row: AnyRow, place: str) -> Hindrance:
    if row.twin_id:
        first = q.connection.execute(select(F.lfn, F.state).where(F.id == row.twin_id)).first()
        safe = f"{names.shown(first.lfn)}, which is {first.state}" if first is not None else "a file that is no more in the books"
        said = f"{row.reason or 'the same bytes'}; it keeps its disk until that one is safe: {safe}"
        step = "nothing: it goes from its disk then" if first is not None else "look at both"
        return waits(q, "transfer", [said], step)
    said = f"it is left where it is, and keeps its disk: {row.reason or 'it can not be taken'}"
    step = f"move {place} away, or let [daq] pattern and lfn take it; the next pass of daq-transfer looks again"
    return Hindrance(said, step, troubles.DAQ_KEPT)
