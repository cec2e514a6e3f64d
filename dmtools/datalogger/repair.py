"""dm-check --repair for datalogger: books are put right, what no row has goes. A published file is never touched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select

from dmtools import clock
from dmtools.control import checking
from dmtools.control.checking import Finding, Inspection
from dmtools.control.passes import Pass
from dmtools.datalogger import check, check_out, files, publishing, recognising, windows
from dmtools.datalogger.files import F
from dmtools.datalogger.hdf5 import Damaged
from dmtools.datalogger.states import OWED, STATES
from dmtools.ledger import tables
from dmtools.spool.folders import known_id


def repair(inspection: Inspection, findings: Sequence[Finding]) -> None:
    """Mends what a rule names; each thing is looked at once more, under its lease."""
    this, home = inspection.this, known_id(inspection.this.home)
    by_rule: dict[str, list[Finding]] = defaultdict(list)
    for found in findings:
        by_rule[found.rule].append(found)
    for found in by_rule["out-unknown"]:
        _recognise(this, home, found)
    for rule in ("file-unknown", "in-no-file", "draft-short"):
        for found in by_rule[rule]:
            _owe_again(this, home, found)
    if by_rule["window-gone"]:
        with this.ledger.read() as connection:
            lacking = list(check.holes(connection, this, home))
        this.ledger.transact(lambda c: windows.make(c, home, lacking, by=this.by, at=clock.now()))
    for found in by_rule["file-gone"]:
        if found.mend:
            _copy_again(this, found)
    if by_rule["draft-left"] or by_rule["copy-left"]:
        _sweep(this, home)
    this.ledger.transact(lambda c: checking.mend_counts(c, "datalogger", check.counted(c)))


def _recognise(this: Pass, home: str, found: Finding) -> None:
    try:
        recognising.book(this, home, Path(found.subject))
        this.log(f"{found.subject}: booked as it says of itself")
    except (Damaged, OSError) as problem:
        left = "it was not touched, and nothing was booked"
        this.problem("file not known", found.subject, why=str(problem), left=left, next="look at it, and move it away")


def _owe_again(this: Pass, home: str, found: Finding) -> None:
    """Of what was booked nothing is here: it is asked for from its start."""
    resource = windows.resource(found.item)
    if not this.leases.claim([resource]):
        return
    try:
        with this.ledger.read() as connection:
            still = found.item in {one.item for one in check.broken(connection, home)}
            window = windows.by_ids(connection, [found.item]).get(found.item)
        if window is None or not still:
            return
        values = {**windows.AFRESH, "upto": window.start, "forgotten": None, "ready": clock.now()}
        if STATES.legal(window.state, OWED):
            windows.advance(this, window, OWED, f"dm-check: {found.says}", values, clock.now())
        else:
            windows.book(this, window, values)
        this.log(f"{window.shown}: {found.says}; owed again")
    finally:
        this.leases.release([resource])


def _copy_again(this: Pass, found: Finding) -> None:
    """A published file that is gone, from its draft."""
    with this.ledger.read() as connection:
        row = connection.execute(select(tables.datalogger_file).where(F.id == found.item)).first()
    if row is None or not this.leases.claim([files.of(row).resource]):
        return
    file = files.of(row)
    try:
        if check_out.has_draft(file):
            publishing.copy_out(file)
            this.log(f"{file.place}: copied out again from {file.draft}")
    except (Damaged, OSError) as problem:
        left, step = f"its draft is {file.draft}", "look at the directory it goes to"
        this.problem("not copied out", str(file.place), why=str(problem), left=left, next=step)
    finally:
        this.leases.release([file.resource])


def _sweep(this: Pass, home: str) -> None:
    """Drafts and hidden copies that no row speaks of; those of windows under their leases, for a pass may begin with one."""
    with this.ledger.read() as connection:
        known = check.files_of(connection, home)
    for place in check.draft_places(this, known):
        for path in check.unknown_drafts(this, home, place, checking.held(this)):
            match = check.ROWS.fullmatch(path.name)
            claim = [windows.resource(int(match["window"]))] if match else []
            if match and not this.leases.claim(claim):
                continue
            if path in check.unknown_drafts(this, home, place, checking.held(this)):
                path.unlink(missing_ok=True)
                this.log(f"removed {path}, a draft that the tables don't have")
            this.leases.release(claim)
    for place in check.out_places(this, known):
        for path in check.hidden(place, known, checking.held(this)):
            path.unlink(missing_ok=True)
            this.log(f"removed {path}, left by a pass that is gone")
