"""What a person may ask of lta-dump-control: the inventory, a plan, a disk again, a disk taken out."""

from __future__ import annotations

import getpass
from collections.abc import Sequence

from dmtools import names
from dmtools.command import Refused
from dmtools.control.passes import Pass
from dmtools.lta import pages
from dmtools.lta.api import Problem, answer
from dmtools.lta.api.dump import Disk, Disks, ListDisks, SetDisk
from dmtools.lta.dump import slots, wanted
from dmtools.lta.dump.inventory import take_inventory
from dmtools.lta.dump.record import DiskRecord, path_of
from dmtools.lta.home import id_of
from dmtools.lta.office import books_of
from dmtools.lta.refusals import advice
from dmtools.lta.states import DUMPING, INVENTORIED, REMOVED


def inventory(this: Pass) -> None:
    """The inventory alone."""
    take_inventory(this, books_of(this), id_of(this))


def plan(this: Pass) -> None:
    """What is in the slots, and what a pass would do with it."""
    wanted.patterns(this.settings.lta.wanted)
    known = {disk.uuid: disk for disk in pages.disks(books_of(this), ListDisks())}
    for slot in slots.look_at_all(this.settings):
        disk = known.get(slot.uuid or "")
        state = disk.state if disk else "new"
        would = {"new": "would be dumped", REMOVED: "would be dumped", INVENTORIED: "would be dumped", DUMPING: "is dumped"}
        if disk is not None and state == REMOVED and disk.ended is not None:
            would[REMOVED] = "was dumped before"
        said = f"{slot.uuid}: {state}, {would.get(state, disk.reason if disk and disk.reason else 'left as it is')}"
        this.plan(
            f"{names.shown(slot.path)}: {slot.state}" + (f": {said}" if slot.uuid else f": {slot.reason}" if slot.reason else "")
        )


def again(this: Pass, uuids: Sequence[str]) -> None:
    """A person wants disks dumped again: each file is compared anew."""
    _set(this, uuids, INVENTORIED)


def remove(this: Pass, uuids: Sequence[str]) -> None:
    """A person took disks out."""
    _set(this, uuids, REMOVED)


def _set(this: Pass, uuids: Sequence[str], to: str) -> None:
    books = books_of(this)
    for uuid in uuids:
        if not slots.UUID.fullmatch(uuid.encode("utf-8", "surrogateescape")) or len(uuid) > slots.LONGEST_UUID:
            raise Refused(f"{uuid!r} is no UUID of a disk: five parts with dashes; nothing was changed")
        found = answer(books, ListDisks(uuid=uuid), Disks).disks
        if not found:
            raise Refused(f"no disk {uuid} was ever seen; lta-dump-control --dry-run shows the slots")
        if this.dry_run:
            this.plan(f"would set the disk {uuid} from {found[0].state} to {to}")
            continue
        try:
            answer(books, SetDisk(uuid=uuid, to=to, why=f"by hand: {getpass.getuser()}"), Disk)
        except Problem as problem:
            step = advice(problem, "docs/lta.md has the states")
            this.problem("refused", uuid, why=str(problem), left=f"it is {found[0].state}", next=step)
            continue
        if to == INVENTORIED:
            DiskRecord(path_of(this.home, uuid)).forget()
        this.moved(found[0].state, to)
        this.plan(f"{uuid}: {found[0].state} -> {to}")
