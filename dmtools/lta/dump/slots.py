"""What is in the slots: a disk is the one directory at a slot's top whose name is a UUID, five parts with dashes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from dmtools import names
from dmtools.lta.api.dump import SeenSlot
from dmtools.settings import Settings
from dmtools.storage.deadline import Hung, guarded

UUID = re.compile(rb"[0-9A-Za-z]+(-[0-9A-Za-z]+){4}")
NO_DATA = (b"lost+found",)
LONGEST_UUID = 100


def look_at_all(settings: Settings) -> list[SeenSlot]:
    """All slots of the settings, side by side; one that hangs is bad and holds up no other."""
    lta = settings.lta
    reserved = {settings.path(text) for text in lta.slots_reserved}
    paths = list(dict.fromkeys(settings.path(text) for text in (*lta.slots, *lta.slots_reserved)))
    with ThreadPoolExecutor(max(1, len(paths))) as pool:
        looks = [None if path in reserved else pool.submit(look_at, os.fsencode(path), lta.disk_seconds) for path in paths]
        return [
            look.result() if look is not None else SeenSlot(path=names.encode(os.fsencode(path)), state="reserved")
            for path, look in zip(paths, looks, strict=True)
        ]


def look_at(slot: bytes, seconds: float) -> SeenSlot:
    """One slot: empty, a disk, or bad with why."""
    path = names.encode(slot)
    try:
        found = guarded(lambda _: _directories(slot), deadline=seconds, stall=seconds)
    except Hung:
        return SeenSlot(path=path, state="bad", reason=f"it did not answer within {seconds:g} s")
    except OSError as problem:
        return SeenSlot(path=path, state="bad", reason=os.strerror(problem.errno or 0))
    disks = [name for name in found if UUID.fullmatch(name) and len(name) <= LONGEST_UUID]
    if len(disks) > 1:
        shown = ", ".join(name.decode("ascii") for name in sorted(disks)[:3])
        return SeenSlot(path=path, state="bad", reason=f"it holds {len(disks)} directories named by a UUID: {shown}")
    if disks:
        at = os.path.join(slot, disks[0])
        return SeenSlot(path=path, state="disk", uuid=disks[0].decode("ascii"), at=names.encode(at))
    if found:
        shown = names.shown(names.encode(min(found)))
        return SeenSlot(path=path, state="bad", reason=f"it holds {shown}, but no directory whose name is a UUID")
    return SeenSlot(path=path, state="empty")


def _directories(slot: bytes) -> Sequence[bytes]:
    """What lies at its top and is no link, hidden, or the file system's own."""
    with os.scandir(slot) as entries:
        return [e.name for e in entries if _is_data(e.name) and e.is_dir(follow_symlinks=False)]


def _is_data(name: bytes) -> bool:
    return not name.startswith(b".") and name not in NO_DATA
