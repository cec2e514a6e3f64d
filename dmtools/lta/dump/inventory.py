"""The inventory: what is in the slots is booked, and what is new of it is told."""

from __future__ import annotations

from dmtools import names
from dmtools.control.passes import Pass
from dmtools.lta import pages
from dmtools.lta.api import Books, answer
from dmtools.lta.api.dump import Disks, Inventory, ListDisks, SeenSlot
from dmtools.lta.dump import slots
from dmtools.lta.states import DONE, DUMPING, ERROR, INVENTORIED, NEW, REMOVED


def take_inventory(this: Pass, books: Books, home: str) -> None:
    """Looks at the slots and books what is in them; tells what is new of them."""
    before = {disk.uuid: disk.state for disk in pages.disks(books, ListDisks())}
    seen = slots.look_at_all(this.settings)
    found = answer(books, Inventory(home=home, slots=tuple(seen)), Disks).disks
    for slot in seen:
        if slot.state == "bad":
            tell_bad(this, slot)
    for disk in found:
        was = before.get(disk.uuid)
        if was != disk.state and _by_inventory(was, disk.state):
            this.moved(was or "", disk.state)
        if was == REMOVED and disk.state == DONE:
            why, left = "it is back in a slot, and was dumped before", "it is not dumped again"
            step = f"take it out, or: lta-dump-control --again {disk.uuid}"
            this.problem("disk was dumped before", disk.uuid, why=why, left=left, next=step, failed=False)
        if disk.state == ERROR and was not in (ERROR, DUMPING):
            left, step = "it is not dumped; the other disks go on", f"mend it, then: lta-dump-control --again {disk.uuid}"
            this.problem("disk set aside", disk.uuid, why=disk.reason or "no reason was kept", left=left, next=step)


def _by_inventory(was: str | None, state: str) -> bool:
    """Can the inventory have done that? Other passes dump disks meanwhile, and count that themselves."""
    return (state in (INVENTORIED, DONE, ERROR) and was in (None, NEW, REMOVED)) or (
        state == ERROR and was in (INVENTORIED, DONE)
    )


def tell_bad(this: Pass, slot: SeenSlot) -> None:
    """A slot that can't be used."""
    left, step = "what is in it is not known; the other slots go on", "look at it, or name it in [lta] slots_reserved"
    this.problem("bad slot", names.shown(slot.path), why=slot.reason or "", left=left, next=step, failed=False)
