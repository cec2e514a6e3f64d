"""daq-transfer: flagged disks -> rows -> copies at the site, proved -> what is safe leaves its disk -> the disk goes back."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from dmtools import names
from dmtools.command import Unavailable
from dmtools.control.passes import Pass
from dmtools.daq import freeing, outcomes, plan, returning, sending, vanished
from dmtools.daq.disks import Disk, look_at_all, tell_away, tell_troubles
from dmtools.daq.scan import Scanned, scan
from dmtools.daq.states import EMPTYING, RETURNING
from dmtools.storage import StorageError, Store, client_for, client_reason

NAMED = 20  # skipped files that one scan tells by name


def transfer(this: Pass, threads: int) -> None:
    """One pass over all disks of this HOME."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # see storage.writers
    disks = look_at_all(this)
    if this.dry_run:
        plan.tell(this, disks)
        return
    tell_troubles(this, disks)
    if disks and all(disk.look.trouble for disk in disks):
        raise Unavailable("no disk", disks[0].shown, disks[0].look.trouble, "mount the disks; the next pass looks again")
    works = [disk for disk in disks if disk.works]
    for disk in works:
        if this.goes():
            _tell_scan(this, disk, scan(this, disk))
            vanished.forget_taken(this, disk)
    if works:
        store = _store(this)
        away = _send(this, works, store, threads)
        for disk in works:
            if disk.id not in away:
                freeing.free(this, disk, store)
    for disk in disks:
        if disk.state in (EMPTYING, RETURNING):
            returning.hand_back(this, disk)


def _send(this: Pass, disks: Sequence[Disk], store: Store, threads: int) -> dict[int, str]:
    """Copies what is due; gives the disks that came into trouble."""
    work = sending.Sending(this, {disk.id: disk for disk in disks}, store, threads)
    work.site_trouble = _not_mounted(this, store) or sending.left_in_copied(this, disks, store)
    if work.site_trouble is None and this.goes():
        work.run()
    if work.site_trouble is not None:
        outcomes.tell_site(this, work.site_trouble.reason)
    for number, why in work.away.items():
        tell_away(this, work.disks[number], why)
    return work.away


def _not_mounted(this: Pass, store: Store) -> StorageError | None:
    """A site that is a directory of this machine must be there: its parent's disk is not meant for the files."""
    why = store.trouble(this.settings.daq.site) if store.scheme == "file" else None
    return StorageError("unreachable", f"{why}: mount it, or make the directory") if why else None


def _store(this: Pass) -> Store:
    """The site's client. Raises Unavailable."""
    site = this.settings.daq.site
    store = client_for(site, this.settings)
    if store is None:
        why = client_reason(site, this.settings) or ""
        raise Unavailable("no client for the site", site, why, "install it, or mend [daq] site", "no file was touched")
    if store.scheme != "file":
        _refuse_old_credentials(this, site)
    return store


def _refuse_old_credentials(this: Pass, site: str) -> None:
    """Those that are given must be good; a site that needs none is asked without. Raises Unavailable."""
    from dmtools.transfers import credentials

    if why := credentials.refusal(this.settings):
        raise Unavailable("no credentials", site, why, "the next pass looks again", "no file was touched")


def _tell_scan(this: Pass, disk: Disk, found: Scanned | None) -> None:
    if found is None:
        return
    for path, why in found.skipped[:NAMED]:
        this.problem(
            "not taken",
            f"{disk.shown}/{names.shown(path)}",
            why=why,
            left="it stays on its disk and keeps it from being handed back",
            next="move it away, or give it a name that fits",
            failed=False,
        )
    if len(found.skipped) > NAMED:
        this.log(f"{disk.shown}: {len(found.skipped)} files are not taken")
    for why in found.unreadable[:NAMED]:
        this.problem(
            "can't be read",
            disk.shown,
            why=why,
            left="what lies there is not recorded; the disk is not handed back",
            next="check owner and mode; the next pass looks again",
            failed=False,
        )
