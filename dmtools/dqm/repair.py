"""dm-check --repair for dqm: what nobody shows goes, the rows are counted again. What is in force is never touched."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from sqlalchemy import Connection, delete

from dmtools.control import checking
from dmtools.control.checking import Finding, Inspection
from dmtools.control.passes import Pass
from dmtools.dqm import check, generations, pages
from dmtools.dqm.generations import Torn
from dmtools.ledger import tables


def repair(inspection: Inspection, findings: Sequence[Finding]) -> None:
    """Mends what a rule names; each thing is looked at once more before it goes."""
    this = inspection.this
    checking.sweep(this, check.site_places(this.settings))
    for found in findings:
        path = this.home / found.subject
        if found.rule == "leftover" and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
            this.log(f"removed {path}, left by a command that is gone")
        elif found.rule in ("half", "damaged"):
            _take_away(this, found)
    if any(found.rule == "room" for found in findings):
        from dmtools.dqm.robbing import rooms

        for name in rooms.sweep_dead(this.home):
            this.log(f"removed the directory of a dead browser, run/dqm/{name}")
    gone = [found.item for found in findings if found.rule == "row"]
    this.ledger.transact(lambda connection: _count_again(connection, gone))


def _take_away(this: Pass, found: Finding) -> None:
    """It is still not what its manifest says: so no reader shows it."""
    path = this.home / found.subject
    whole = generations.read(path)
    if whole is not None:
        try:
            generations.load(whole)
        except Torn:
            generations.remove(whole)
            this.log(f"removed {path}: {found.says}")
    elif path.is_dir() and check.is_settled(path):
        generations.discard(path)
        this.log(f"removed {path}: {found.says}")


def _count_again(connection: Connection, gone: Sequence[int]) -> None:
    if gone:
        connection.execute(delete(tables.dqm_page).where(tables.dqm_page.c.id.in_(gone)))
    checking.mend_counts(connection, "dqm", pages.counted(connection))
