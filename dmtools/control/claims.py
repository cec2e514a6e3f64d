"""Who holds what: every lease with its holder, whether that lives, and what can be handed back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select
from sqlalchemy.engine import Row

from dmtools import clock
from dmtools.command.named import named
from dmtools.control.entry import Pipeline
from dmtools.ledger import journal, tables
from dmtools.ledger.engine import Ledger
from dmtools.ledger.leases import is_over, machine, started
from dmtools.settings import Settings

ALIVE, DEAD, EXPIRED, UNKNOWN = "alive", "dead", "expired", "unknown"
OVER = (DEAD, EXPIRED)


@dataclass(frozen=True)
class Claim:
    """One lease as it stands. `holder`: alive or dead (a process of this machine), expired, unknown (another machine).

    A pipeline's own claims have their `pipeline`, and their holder in its words, `called`; since when may not be known.
    """

    fence: int
    resource: str
    owner: str
    host: str
    pid: int
    command: str | None
    since: datetime | None
    expires: datetime
    at: datetime
    holder: str
    pipeline: str = ""
    called: str = ""

    def record(self) -> dict[str, Any]:
        """For --json; times in seconds, `left_seconds` negative when it is over."""
        return {
            "resource": self.resource,
            "owner": self.owner,
            "host": self.host,
            "pid": self.pid,
            "command": self.command,
            "fence": self.fence,
            "since": clock.iso(self.since),
            "held_seconds": None if self.since is None else max(0.0, round((self.at - self.since).total_seconds(), 1)),
            "expires": clock.iso(self.expires),
            "left_seconds": round((self.expires - self.at).total_seconds(), 1),
            "holder": self.holder,
        }

    def who(self) -> str:
        """`migrate-monitor, pid 4711 on host a`."""
        if self.called:
            return self.called
        return f"{self.command + ', ' if self.command else ''}pid {self.pid} on {self.host}"

    def sentence(self) -> str:
        """One line for people."""
        held = "" if self.since is None else f" for {clock.age(max(0.0, (self.at - self.since).total_seconds()))},"
        left = (self.expires - self.at).total_seconds()
        end = f"until {clock.local(self.expires)}" if left > 0 else f"over since {clock.age(-left)}"
        said = {
            ALIVE: "its process lives",
            DEAD: "its process is gone: the next pass takes it over",
            EXPIRED: "not extended: the next pass takes it over",
            UNKNOWN: "whether its process lives can't be seen from here",
        }
        return f"{self.resource} held by {self.who()},{held} {end}; {said[self.holder]}"


def own(connection: Connection, now: datetime, entries: Iterable[Pipeline]) -> list[Claim]:
    """What is held by the pipelines' own tables."""
    return [claim for entry in entries if entry.held for claim in named(entry.held)(connection, now)]


def hand_back_own(
    ledger: Ledger, settings: Settings, entries: Iterable[Pipeline], chosen: Callable[[Claim], bool], by: str
) -> HandedBack:
    """Ends the chosen ones of them, each pipeline's in a transaction of its own; those whose holder is seen alive stay."""
    done = HandedBack([], [])
    for entry in entries:
        if entry.held and entry.hand_back:
            with ledger.read() as connection:
                found = [claim for claim in own(connection, ledger.now(connection), [entry]) if chosen(claim)]
            done.kept += [claim for claim in found if claim.holder == ALIVE]
            over = [claim for claim in found if claim.holder != ALIVE]
            done.given += named(entry.hand_back)(ledger, settings, over, by) if over else []
    return done


def all_of(connection: Connection, now: datetime, *, lock: bool = False) -> list[Claim]:
    """Every lease, the oldest first, judged by the database's clock `now`; `lock`: nobody changes them meanwhile."""
    query = select(tables.lease).order_by(tables.lease.c.id)
    rows = connection.execute(query.with_for_update() if lock else query).all()
    commands = _running(connection) if rows else {}
    here = machine() if rows else ""
    return [
        Claim(
            row.id,
            row.resource,
            row.owner,
            row.host,
            row.pid,
            commands.get((row.host, row.pid)),
            row.since,
            row.expires,
            now,
            _holder(row, now, here),
        )
        for row in rows
    ]


def _holder(row: Row[Any], now: datetime, here: str) -> str:
    if row.machine == here:
        if started(row.pid) == row.started:
            return EXPIRED if row.expires <= now else ALIVE
        return DEAD
    return EXPIRED if is_over(row, now, here) else UNKNOWN


def _running(connection: Connection) -> dict[tuple[str, int], str]:
    """(host, pid) of each component's last pass -> its command."""
    column = tables.component.c
    rows = connection.execute(select(column.host, column.pid, column.pipeline, column.name))
    return {(row.host, row.pid): f"{row.pipeline}-{row.name}" for row in rows}


@dataclass
class HandedBack:
    """What was handed back, and what was not because its holder lives."""

    given: list[Claim]
    kept: list[Claim]


def hand_back(ledger: Ledger, chosen: Callable[[Claim], bool], by: str) -> HandedBack:
    """Ends the chosen leases whose holder is not seen alive, in one transaction; the journal says who did it.

    A late holder is refused by its fencing number, whatever it was doing. Raises LedgerUnavailable.
    """

    def work(connection: Connection) -> HandedBack:
        now = ledger.now(connection)
        found = [claim for claim in all_of(connection, now, lock=True) if chosen(claim)]
        done = HandedBack([c for c in found if c.holder != ALIVE], [c for c in found if c.holder == ALIVE])
        if done.given:
            fences = [claim.fence for claim in done.given]
            connection.execute(delete(tables.lease).where(tables.lease.c.id.in_(fences)))
        for claim in done.given:
            _note(connection, claim, by, now)
        return done

    return ledger.transact(work)


def _note(connection: Connection, claim: Claim, by: str, at: datetime) -> None:
    """What is held for an item of the journal is noted there; other resources have the log alone."""
    kind, _, number = claim.resource.partition("/")
    if kind != "list" or not number.isdecimal():
        return
    row = connection.execute(select(tables.filelist.c.pipeline).where(tables.filelist.c.id == int(number))).first()
    if row is not None:
        why = f"the lease of {claim.who()} was handed back ({claim.holder})"
        journal.note(connection, row.pipeline, "list", int(number), by=by, at=at, why=why)
