"""What keeps a component from working, whatever it has to do: the words of a person at 3 o'clock in the morning."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.engine import Row

from dmtools import clock
from dmtools.control import automatic, holds, sightings, troubles
from dmtools.control.cadence import patience
from dmtools.control.holds import Hold
from dmtools.ledger import tables
from dmtools.ledger.engine import sqlite_path
from dmtools.ledger.leases import HOST
from dmtools.settings import Settings

C = tables.component.c
AHEAD = 120  # seconds that clocks of hosts may differ
LOCK_SECONDS = 1.0
LEAST_FREE = 1 << 20  # bytes: with less no pass can book anything


@dataclass(frozen=True)
class Hindrance:
    """Why nothing moves, what to do, and the title of the page that says more (`troubles`)."""

    said: str
    step: str
    see: str = ""


def of_component(
    connection: Connection, settings: Settings, at: datetime, pipeline: str, component: str, cron: str = ""
) -> Iterator[Hindrance]:
    """The strongest first: holds, the clock, the disk, the database, its own last pass. `cron`: its times, for what is late."""
    yield from held(connection, settings, at, pipeline, component)
    row = connection.execute(select(tables.component).where(C.pipeline == pipeline, C.name == component)).first()
    yield from clock_set_back(row, at)
    yield from disk_full(settings)
    yield from locked(settings)
    yield from last_pass(row, settings, at, pipeline, component, cron)


def held(connection: Connection, settings: Settings, at: datetime, pipeline: str, component: str) -> Iterator[Hindrance]:
    """The strongest of the holds that cover it; not the drain of its error limit, which stops no pass."""
    scope = f"{pipeline}/{component}"
    found = [hold for hold in holds.open_holds(connection, settings, at) if hold.covers(pipeline, component)]
    found = [hold for hold in found if not automatic.is_tried(hold, scope)]
    strongest = max(found, key=lambda hold: holds.RANK[hold.state], default=None)
    if strongest is not None:
        yield Hindrance(f"{pipeline}-{component} is held: {strongest.sentence()}", *_way_out(strongest))


def _way_out(hold: Hold) -> tuple[str, str]:
    """What ends it, and the page."""
    if hold.kind == holds.CALENDAR:
        return "wait for its end, or change the calendar", troubles.HALTED
    if hold.kind == holds.AUTOMATIC and hold.by.startswith(automatic.SPACE):
        return "make room on that disk: the next pass goes on by itself", troubles.DISK_FULL
    if hold.kind == holds.AUTOMATIC:
        return f"mend what it says; dm-command run {hold.scope} tries again at once, not after its end", troubles.LATE
    return f"dm-command run {hold.scope}", troubles.HALTED


def clock_set_back(row: Row[Any] | None, at: datetime) -> Iterator[Hindrance]:
    """Its last pass began in the future."""
    if row is not None and row.last_start is not None and (row.last_start - at).total_seconds() > AHEAD:
        ahead = clock.age((row.last_start - at).total_seconds())
        said = f"the last pass of {row.pipeline}-{row.name} began {ahead} in the future: a clock was set back"
        yield Hindrance(said, "set the clock right (chronyc tracking, timedatectl); passes work on meanwhile", troubles.CLOCK)


def disk_full(settings: Settings) -> Iterator[Hindrance]:
    """No pass can book anything."""
    try:
        found = os.statvfs(settings.home)
    except OSError:
        return
    if found.f_bavail * found.f_frsize < LEAST_FREE:
        said = f"the disk that holds {settings.home} is full, so no pass can book anything"
        yield Hindrance(said, f"make room there (ls -lS {settings.home}/log); the next pass goes on", troubles.DISK_FULL)


def locked(settings: Settings) -> Iterator[Hindrance]:
    """Another process holds the database's write lock."""
    waited, why = write_lock(settings, LOCK_SECONDS)
    if why:
        said = f"the database is locked by another process for {waited:.0f} s or more, so no pass can book anything"
        yield Hindrance(said, f"fuser -v {sqlite_path(settings)} names who has it open: let that end, or end it", troubles.LOCKED)


def write_lock(settings: Settings, seconds: float) -> tuple[float, str]:
    """(seconds waited, why it was not given) for sqlite's one write lock, which is given back at once."""
    path = sqlite_path(settings)
    if path is None:
        return 0.0, ""
    begun, why = time.monotonic(), ""
    try:
        raw = sqlite3.connect(path.absolute().as_uri() + "?mode=rw", timeout=seconds, isolation_level=None, uri=True)
        try:
            raw.execute("BEGIN IMMEDIATE")
            raw.execute("ROLLBACK")
        finally:
            raw.close()
    except sqlite3.OperationalError as problem:
        why = str(problem) if "locked" in str(problem) else ""  # who may only read can't ask for it
    return time.monotonic() - begun, why


# ---- its last pass -----------------------------------------------------------------------------------------------------


def last_pass(
    row: Row[Any] | None, settings: Settings, at: datetime, pipeline: str, component: str, cron: str = "", command: str = ""
) -> Iterator[Hindrance]:
    """Killed, hanging, shut out by a lock that is left, failing, late; nothing when it works as it should.

    `command`: its command, where that is not PIPELINE-COMPONENT.
    """
    name = f"{pipeline}-{component}"
    patient = settings.train_ok.success_warning_seconds * patience(cron)
    by_hand = f"run it by hand to see what it says: {name} -v"
    running = row is not None and row.state == "running" and row.last_start is not None
    since = (at - row.last_start).total_seconds() if row is not None and row.last_start is not None else None
    lives = running and row is not None and is_alive(row, command or name)
    if row is not None and lives is False and running and row.host == HOST:
        said = f"the last pass of {name} (pid {row.pid}), begun {clock.local(row.last_start)}, was killed"
        yield Hindrance(said, f"nothing: the next pass of {name} takes over what it held", troubles.KILLED)
    elif row is not None and running and since is not None and since > patient:
        said = f"a pass of {name} (pid {row.pid} on {row.host}) has run for {clock.age(since)} and does not end"
        yield Hindrance(said, f"on {row.host}: kill {row.pid}; the next pass goes on", troubles.HANGS)
        return
    if not lives and (holder := lock_holder(settings.home / "run" / f"{name}.lock")):
        said = f"process {holder} ({command_of(holder)}) holds run/{name}.lock, so cron begins no pass of {name}"
        yield Hindrance(said, f"end it: kill {holder}", troubles.HANGS)
    if row is not None and row.state in ("unavailable", "failed"):
        yield Hindrance(f"the last pass of {name} could not work: {row.error_text}", by_hand, troubles.LATE)
    elif row is not None and row.last_success is not None:
        late = (at - row.last_success).total_seconds()
        if late > patient:
            said = f"the last success of {name} was {clock.age(late)} ago"
            yield Hindrance(said, f"see that cron runs it: dm-crontab check; or {by_hand}", troubles.LATE)


def is_alive(row: Row[Any], command: str) -> bool | None:
    """Does the process of this last pass live? None: it is another host's, so it can't be seen."""
    if row.host != HOST:
        return None
    return command in command_of(row.pid)


def command_of(pid: int) -> str:
    """A process's command line; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


def lock_holder(path: Path) -> int | None:
    """The process that holds the flock of a crontab line; it is only looked at, so that no pass misses it."""
    try:
        inode = path.stat().st_ino
        lines = Path("/proc/locks").read_text("ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode) and int(words[4]) > 0:
            return int(words[4])
    return None


# ---- servers -------------------------------------------------------------------------------------------------------------


def servers(connection: Connection, pipeline: str, wanted: set[str]) -> Iterator[Hindrance]:
    """Those of these servers that the last pass could not use, when it could use none of them."""
    away = sightings.servers_seen(connection, pipeline, sightings.AWAY)
    refused = sightings.servers_seen(connection, pipeline, sightings.REFUSED)
    if not wanted or not wanted <= away.keys() | refused.keys():
        return
    for name in sorted(wanted & refused.keys()):
        since, why = refused[name]
        said = f"no credentials for {name} since {clock.local(since)}: {why}"
        yield Hindrance(said, "renew the proxy or token; the next pass goes on by itself", troubles.CREDENTIALS)
    for name in sorted(wanted & away.keys()):
        since, why = away[name]
        said = f"{name} is away since {clock.local(since)}: {why}"
        yield Hindrance(said, f"bring {name} back; it is asked again at each pass", troubles.SERVER_AWAY)
