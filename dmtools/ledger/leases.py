"""Claims with an end: who holds what, until when, under which fencing number."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.engine import Row

from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Ledger, LedgerUnavailable, Stale

SECONDS = 300
HOST = socket.gethostname()


def machine() -> str:
    """This boot of this machine in this pid namespace: only there a pid says anything."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{HOST}/{boot}/{os.readlink('/proc/self/ns/pid')}"


def started(pid: int) -> int | None:
    """When the process was started, in clock ticks since boot; None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


@dataclass(frozen=True)
class Lease:
    """A claim that was granted; `fence` is larger than that of every earlier claim."""

    resource: str
    owner: str
    fence: int
    expires: datetime


class Leases:
    """The claims of one process. A thread extends them while `with leases:` runs; a lost one is told by `check`."""

    def __init__(self, ledger: Ledger, seconds: int = SECONDS) -> None:
        self.ledger = ledger
        self.seconds = seconds
        self.owner = f"{HOST}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.held: dict[str, Lease] = {}
        self._machine = machine()
        self._started = started(os.getpid()) or 0
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._thread: threading.Thread | None = None

    def claim(self, resources: Sequence[str]) -> dict[str, Lease]:
        """Claims those of the resources that are free, or whose holder is gone; one transaction."""
        if not resources:
            return {}
        if wrong := [name for name in resources if len(name) > 190 or not name.isascii()]:
            raise ValueError(f"{wrong[0]!r} can't name a lease: at most 190 characters of ASCII")
        got = self.ledger.transact(lambda c: self._claim(c, resources))
        self.held |= got
        if got and self._thread is None:
            self._thread = threading.Thread(target=self._extend, daemon=True, name="leases")
            self._thread.start()
        return got

    def check(self, connection: Connection, lease: Lease) -> None:
        """Directly before an outside act or a final write: raises Stale when the lease is no longer ours."""
        row = select(tables.lease.c.expires).where(tables.lease.c.id == lease.fence)
        held = connection.execute(row.with_for_update(read=True)).scalar()  # nobody takes it before we commit
        if held is None or self._lost.is_set() or held <= self.ledger.now(connection):
            raise Stale(f"the lease of {lease.resource} ran out or was handed back while we worked")

    def still_held(self, connection: Connection, resources: Sequence[str]) -> set[str]:
        """The same question for many: those of these that are ours still."""
        fences = {self.held[name].fence: name for name in resources if name in self.held}
        if not fences or self._lost.is_set():
            return set()
        now = self.ledger.now(connection)
        found = select(tables.lease.c.id).where(tables.lease.c.id.in_(fences), tables.lease.c.expires > now)
        return {fences[fence] for fence in connection.execute(found.with_for_update(read=True)).scalars()}

    def release(self, resources: Sequence[str], connection: Connection | None = None) -> None:
        """Gives claims back, in the caller's transaction when it has one."""
        fences = [self.held.pop(name).fence for name in resources if name in self.held]
        if not fences:
            return
        statement = delete(tables.lease).where(tables.lease.c.id.in_(fences))
        if connection is not None:
            connection.execute(statement)
        else:
            self.ledger.transact(lambda c: c.execute(statement))

    def bury(self, connection: Connection) -> None:
        """Takes away what processes of this machine hold that are gone: nobody may ever ask for just these things again."""
        table = tables.lease
        rows = connection.execute(select(table.c.id, table.c.pid, table.c.started).where(table.c.machine == self._machine)).all()
        gone = {(pid, since) for pid, since in {(row.pid, row.started) for row in rows} if started(pid) != since}
        for part in chunks([row.id for row in rows if (row.pid, row.started) in gone]):
            connection.execute(delete(table).where(table.c.id.in_(part)))

    def close(self) -> None:
        """Gives everything back and ends the thread."""
        self._stop.set()
        try:
            self.release(list(self.held))
        except LedgerUnavailable:
            self.held.clear()  # the pid is gone in a moment: the next pass takes them over

    def _claim(self, connection: Connection, resources: Sequence[str]) -> dict[str, Lease]:
        now = self.ledger.now(connection)
        expires = now + timedelta(seconds=self.seconds)
        table = tables.lease
        rows = connection.execute(select(table).where(table.c.resource.in_(resources)).with_for_update())
        taken = {row.resource: row for row in rows}
        dead = [row.id for row in taken.values() if is_over(row, now, self._machine)]
        if dead:
            connection.execute(delete(table).where(table.c.id.in_(dead)))
        busy = {name for name, row in taken.items() if row.id not in dead}
        free = [name for name in dict.fromkeys(resources) if name not in busy]
        mine = {"owner": self.owner, "host": HOST, "machine": self._machine, "pid": os.getpid(), "started": self._started}
        rows_for = [{"resource": name, **mine, "since": now, "expires": expires} for name in free]
        fences = self._insert(connection, rows_for) if rows_for else {}
        return {name: Lease(name, self.owner, fence, expires) for name, fence in fences.items()}

    def _insert(self, connection: Connection, rows: list[dict[str, Any]]) -> dict[str, int]:
        """On sqlite we hold the write lock: all go in. On MariaDB another host may be quicker: what it has is left out."""
        table = tables.lease
        if self.ledger.sqlite:
            done = connection.execute(insert(table).returning(table.c.resource, table.c.id), rows)
            return {row.resource: int(row.id) for row in done}
        got: dict[str, int] = {}
        for row in rows:
            one = connection.execute(insert(table).values(row).prefix_with("IGNORE"))
            if one.rowcount and one.inserted_primary_key:
                got[row["resource"]] = int(one.inserted_primary_key[0])
        return got

    def _extend(self) -> None:
        misses = 0
        while not self._stop.wait(self.seconds / 4):
            fences = [lease.fence for lease in list(self.held.values())]
            if not fences:
                continue
            try:
                kept = self.ledger.transact(lambda c, ids=fences: self._extend_once(c, ids))  # type: ignore[misc]
                misses = 0
            except LedgerUnavailable:
                kept, misses = True, misses + 1
            still = {lease.fence for lease in list(self.held.values())}
            if misses >= 3 or (not kept and still.issuperset(fences)):  # they may have been given back meanwhile
                self._lost.set()
                return

    def _extend_once(self, connection: Connection, fences: list[int]) -> bool:
        expires = self.ledger.now(connection) + timedelta(seconds=self.seconds)
        statement = update(tables.lease).where(tables.lease.c.id.in_(fences)).values(expires=expires)
        return connection.execute(statement).rowcount > 0


def is_over(row: Row[tuple[object, ...]], now: datetime, here: str) -> bool:
    """Has the holder lost it: expired, or its process on this very machine is gone?"""
    if row.expires <= now:
        return True
    return bool(row.machine == here and started(row.pid) != row.started)
