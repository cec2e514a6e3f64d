"""dm-leases for lta: who holds which bundle, errand, disk, directory, by lta's own claims; and handing them back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection, Table, or_, select

from dmtools.control import hindrances
from dmtools.control.claims import ALIVE, DEAD, EXPIRED, UNKNOWN, Claim
from dmtools.ledger import journal, tables
from dmtools.ledger.engine import Ledger
from dmtools.ledger.leases import HOST
from dmtools.lta import standing
from dmtools.lta import states as s
from dmtools.lta.holder import is_gone
from dmtools.settings import Settings

# The journal's word for a thing -> its table, the states in which it may be held, those of which only few things are in.
KINDS: dict[str, tuple[Table, tuple[str, ...], tuple[str, ...]]] = {
    "lta-bundle": (
        tables.lta_bundle,
        tuple(state for state in s.STATES.names() if state not in (s.ABORT, s.QUARANTINED)),
        standing.MOVING,
    ),
    "lta-errand": (
        tables.lta_errand,
        s.ERRAND_STATES.names(),
        (s.RETRIEVE_REQUEST, s.RETRIEVE_PENDING, s.EXPORT_READY, s.DOWNLOADING, s.DOWNLOAD_DONE, s.FIXITY_RUNNING),
    ),
    "lta-disk": (tables.lta_disk, s.DISK_STATES.names(), s.DISK_STATES.names()),
    "lta-directory": (tables.lta_directory, s.DIRECTORY_STATES.names(), (s.UNCLAIMED, s.PROCESSING)),
}


def held(connection: Connection, now: datetime) -> Iterator[Claim]:
    """Every claim; one that ran out is still its holder's until another takes it."""
    for kind, (table, states, few) in KINDS.items():
        column = table.c
        open_claim = or_(column.ready > now, column.state.in_(few))
        query = select(column.id, column.fence, column.holder, column.ready).where(
            column.state.in_(states), column.holder.is_not(None), open_claim
        )
        for row in connection.execute(query.order_by(column.id)):
            yield _claim(f"{kind}/{row.id}", row.fence, row.holder, row.ready, now)


def _claim(resource: str, fence: int, holder: str, expires: datetime, now: datetime) -> Claim:
    host, pid = host_of(holder), pid_of(holder)
    found = EXPIRED if expires <= now else UNKNOWN
    if host == HOST and pid:
        lives = "lta-" in hindrances.command_of(pid)
        found = DEAD if not lives or is_gone(holder) else ALIVE if found == UNKNOWN else found
    return Claim(fence, resource, holder, host, pid, None, None, expires, now, found, "lta", holder)


def pid_of(holder: str) -> int:
    """The process in a holder's name: `COMMAND pid N on HOST`; 0: it doesn't say."""
    match = re.search(r"\bpid (\d{1,9})\b", holder)
    return int(match[1]) if match else 0


def host_of(holder: str) -> str:
    """The host in a holder's name: `COMMAND pid N on HOST`, `COMMAND@HOST`, `HOST/...`; else the name itself."""
    match = re.search(r" on (\S+)", holder) or re.search(r"@([^\s/:]+)", holder) or re.match(r"([^\s/:]+)[/:]", holder)
    return match[1] if match else HOST if holder.startswith(HOST) else holder


def bury(ledger: Ledger, settings: Settings, home: str, by: str) -> None:
    """Hands back at once what processes of this machine hold that are gone: things of this HOME, and its errands."""
    of_home = {"lta-bundle": ("destination", settings.lta.destination), "lta-errand": ("destination", settings.lta.destination)}
    with ledger.read() as connection:
        now = ledger.now(connection)
        dead: list[Claim] = []
        for kind, (table, states, _few) in KINDS.items():
            column = table.c
            field, value = of_home.get(kind, ("home", home))
            mine = (column.state.in_(states), column[field] == value, column.ready > now, column.holder.is_not(None))
            query = select(column.id, column.fence, column.holder, column.ready).where(*mine)
            gone = [row for row in connection.execute(query) if is_gone(row.holder)]
            dead += [_claim(f"{kind}/{row.id}", row.fence, row.holder, row.ready, now) for row in gone]
    if dead:
        hand_back(ledger, settings, dead, by)


def hand_back(ledger: Ledger, settings: Settings, claims: Sequence[Claim], by: str) -> list[Claim]:
    """Ends them in one transaction: a late holder's write names a fence that is past, and is refused. Gives those it ended."""
    del settings

    def work(connection: Connection) -> list[Claim]:
        now = ledger.now(connection)
        done = [claim for claim in claims if _end(connection, claim, now)]
        for claim in done:
            kind, _, number = claim.resource.partition("/")
            why = f"the claim of {claim.called} was handed back ({claim.holder})"
            journal.note(connection, "lta", kind, int(number), by=by, at=now, why=why)
        return done

    return ledger.transact(work)


def _end(connection: Connection, claim: Claim, now: datetime) -> bool:
    """Only the very claim that was seen. Room that was reserved for what nobody sent is free again."""
    kind, _, number = claim.resource.partition("/")
    table = KINDS[kind][0]
    column = table.c
    mine = (column.id == int(number), column.fence == claim.fence, column.holder.is_not(None))
    row = connection.execute(select(table).where(*mine).with_for_update()).first()
    if row is None:
        return False
    values = {"holder": None, "ready": now, "fence": claim.fence + 1}
    if kind == "lta-bundle" and row.state == s.UNTOUCHED and row.reserved:
        values["reserved"] = 0
        site = tables.lta_site
        update = site.update().where(site.c.name == row.destination)
        connection.execute(update.values(reserved=site.c.reserved - row.reserved))
    connection.execute(table.update().where(*mine).values(**values))
    return True
