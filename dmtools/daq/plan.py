"""What a pass of daq-transfer would do, for --dry-run: disks are read, nothing is written."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from dmtools.control.passes import Pass
from dmtools.daq.disks import Disk
from dmtools.daq.files import F
from dmtools.daq.freeing import safe_states
from dmtools.daq.scan import Scan
from dmtools.daq.states import FOUND
from dmtools.storage.answers import StorageError


def tell(this: Pass, disks: Sequence[Disk]) -> None:
    """A few lines a disk."""
    for disk in disks:
        if disk.look.trouble:
            this.plan(f"{disk.shown}: would be left alone: {disk.look.trouble}")
        elif not disk.works:
            this.plan(f"{disk.shown}: {disk.state}: nothing to do")
        else:
            _tell(this, disk)


def _tell(this: Pass, disk: Disk) -> None:
    try:
        found = Scan(this, disk, whole=True).run()
    except StorageError as problem:
        this.plan(f"{disk.shown}: would be left alone: {problem.reason}")
        return
    query = select(func.count(), func.coalesce(func.sum(F.size), 0)).where(F.disk_id == disk.id, F.freed.is_(None))
    with this.ledger.read() as connection:
        known, size = connection.execute(query.where(F.state == FOUND)).one()
        safe, _ = connection.execute(query.where(F.state.in_(safe_states(this.settings.daq.safety)))).one()
    this.plan(f"{disk.shown}: would record {found.new} new files and tell {len(found.skipped)} that can't be taken")
    this.plan(f"{disk.shown}: would copy {known + found.new} files ({size} bytes of those recorded) to {this.settings.daq.site}")
    this.plan(f"{disk.shown}: would remove {safe} files that are safe ({this.settings.daq.safety})")
    if found.empty:
        this.plan(f"{disk.shown}: would be handed back: nothing is on it")
