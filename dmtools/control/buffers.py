"""The places that pipelines fill: how much is free there, asked of the disk or as its owner posted it, and when they are full."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from dmtools import clock
from dmtools.control import sightings
from dmtools.control.entry import Buffer
from dmtools.ledger import tables, upsert

POSTED = "buffer/"
SECONDS = 3.0  # a disk of the network that doesn't answer must not keep those who only look
FAR = 86400 * 36500  # seconds: what lies further ahead is no forecast


@dataclass(frozen=True)
class Room:
    """What is free in a buffer, in bytes; `trouble` says why that can't be told. `posted`: when its owner said so."""

    free: int | None = None
    total: int | None = None
    inodes_free: float | None = None  # per cent; None where the disk doesn't count them
    posted: datetime | None = None
    device: int | None = None
    trouble: str = ""

    @property
    def percent(self) -> float | None:
        """Free, in per cent."""
        return 100 * self.free / self.total if self.free is not None and self.total else None


def post(connection: Connection, pipeline: str, name: str, free: int, total: int, at: datetime) -> None:
    """Writes down what a place elsewhere has free (a quota at a remote site), in bytes: for a Buffer without a path."""
    keys = {"pipeline": pipeline, "name": POSTED + name}
    upsert.put(connection, tables.sighting, keys, {"at": at, "value": f"{free} {total}"})


def measure(connection: Connection, pipeline: str, buffers: Iterable[Buffer]) -> list[tuple[Buffer, Room]]:
    """What is free in each now, or was when it was posted. Directories of one disk are one buffer, under the first's name."""
    wanted = list(buffers)
    asked = _ask_disks([buffer.path for buffer in wanted if buffer.path is not None])
    found: list[tuple[Buffer, Room]] = []
    of_device: dict[int, int] = {}
    for buffer in wanted:
        room = _posted(connection, pipeline, buffer.name) if buffer.path is None else asked[buffer.path]
        if room.device is not None and room.device in of_device:
            number = of_device[room.device]
            first = found[number][0]
            fills, empties = {*first.fills, *buffer.fills}, {*first.empties, *buffer.empties}
            found[number] = replace(first, fills=tuple(fills), empties=tuple(empties)), found[number][1]
            continue
        if room.device is not None:
            of_device[room.device] = len(found)
        found.append((buffer, room))
    return found


def _posted(connection: Connection, pipeline: str, name: str) -> Room:
    at, value = sightings.read(connection, pipeline, POSTED).get(POSTED + name, (None, ""))
    free, _, total = value.partition(" ")
    if at is None:
        return Room(trouble="its owner has not posted what is free there yet")
    if not (free.isdecimal() and total.isdecimal()):
        return Room(posted=at, trouble=f"what was posted is no number of bytes: {value!r}")
    return Room(int(free), int(total), posted=at)


def _ask_disks(paths: Sequence[Path]) -> dict[Path, Room]:
    """All at once, each in a thread: one that doesn't answer is left behind."""
    found: dict[Path, Room] = {}
    threads = [threading.Thread(target=lambda p=path: found.setdefault(p, _of_disk(p)), daemon=True) for path in {*paths}]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = Room(trouble=f"its disk did not answer within {SECONDS:g} s")
    return {path: found.get(path, late) for path in paths}


def _of_disk(path: Path) -> Room:
    try:
        disk, device = os.statvfs(path), path.stat().st_dev
    except OSError as problem:
        return Room(trouble=f"it can't be asked for its free space: {problem.strerror}")
    usable = disk.f_blocks - disk.f_bfree + disk.f_bavail  # what root alone may use is not free
    inodes = 100 * disk.f_favail / disk.f_files if disk.f_files > 0 else None
    return Room(disk.f_bavail * disk.f_frsize, usable * disk.f_frsize, inodes, device=device)


def net_per_hour(buffer: Buffer, others: Iterable[Buffer], came: Mapping[str, int]) -> int | None:
    """By how many bytes the last hour filled it (negative: emptied it), from what came into each state.

    None: no telling, for it has no `fills`, or one of its states is another buffer's, too: the tables count both together.
    """
    mine = {*buffer.fills, *buffer.empties}
    shared = {state for other in others if other is not buffer for state in (*other.fills, *other.empties)}
    if not buffer.fills or mine & shared:
        return None
    return sum(came.get(state, 0) for state in buffer.fills) - sum(came.get(state, 0) for state in buffer.empties)


def full_at(room: Room, net: int | None, at: datetime) -> datetime | None:
    """When it is full if it goes on so; None: no telling, or it doesn't fill."""
    if room.free is None or net is None or net <= 0:
        return None
    return at + timedelta(seconds=min(room.free / net * 3600, FAR))


def records(connection: Connection, pipeline: str, buffers: Iterable[Buffer], came: Mapping[str, int], at: datetime) -> list[Any]:
    """For --json and for people: bytes, per cent, instants."""
    found = measure(connection, pipeline, buffers)
    result = []
    for buffer, room in found:
        net = net_per_hour(buffer, (other for other, _ in found), came)
        result.append({
            "name": buffer.name,
            "path": str(buffer.path) if buffer.path else None,
            "free_bytes": room.free,
            "total_bytes": room.total,
            "free_percent": None if room.percent is None else round(room.percent, 2),
            "posted": clock.iso(room.posted),
            "net_bytes_per_hour": net,
            "full_at": clock.iso(full_at(room, net, at)),
            "trouble": room.trouble or None,
        })  # fmt: skip
    return result
