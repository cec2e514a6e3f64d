"""How lta stands by its tables: sites, disks, directories, what waits for people. Each question is a look into an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, select

from dmtools import names
from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow
from dmtools.lta import states as s
from dmtools.lta.api import LOCAL
from dmtools.names import NameRefused
from dmtools.settings import Settings

B, D, R, E = tables.lta_bundle.c, tables.lta_disk.c, tables.lta_directory.c, tables.lta_errand.c
AT_REMOTE = (s.PUSH_DONE, s.NERSC_RUNNING, s.NERSC_DONE, s.NERSC_PROBLEM)  # what the remote site works on
MOVING = (s.JSON_MADE, *AT_REMOTE)
PROBLEMS = (s.PUSH_PROBLEM, s.NERSC_PROBLEM)
FEW = 3


@dataclass(frozen=True)
class SiteStands:
    """A site as it posted itself last. `at` None: it never did."""

    name: str
    state: str
    error: str
    free: int | None
    quota: int | None
    reserved: int
    at: datetime | None
    host: str

    def age(self, now: datetime) -> float | None:
        """Seconds since it posted; None: never."""
        return None if self.at is None else max(0.0, (now - self.at).total_seconds())

    @property
    def label(self) -> str:
        """As the original's lines call it: `NERSC`, `Local`."""
        return "Local" if self.name == LOCAL else self.name.upper()


def sites(connection: Connection, settings: Settings) -> list[SiteStands]:
    """The remote sites, then the local one; those that the settings name stand there though they never posted."""
    rows = {row.name: row for row in connection.execute(select(tables.lta_site))}
    wanted = dict.fromkeys((settings.lta.destination, *sorted(rows.keys() - {LOCAL}), LOCAL))
    return [_site(name, rows.get(name)) for name in wanted]


def _site(name: str, row: AnyRow | None) -> SiteStands:
    if row is None:
        return SiteStands(name, "", "", None, None, 0, None, "")
    return SiteStands(name, row.state, row.error or "", row.free, row.quota, row.reserved, row.at, row.host or "")


def holders(connection: Connection, now: datetime) -> list[str]:
    """Who of a remote site holds bundles now."""
    remote = list(connection.execute(select(tables.lta_site.c.name)).scalars())  # with them, the index gives the few that wait
    held = (B.state.in_(AT_REMOTE), B.destination.in_(remote), B.ready > now, B.holder.is_not(None))
    return sorted(connection.execute(select(B.holder).where(*held).distinct()).scalars())


def counted(connection: Connection, table: Table, states: Sequence[str]) -> dict[str, int]:
    """How many rows are in each of the states, in their order."""
    found: dict[str, int] = {
        row[0]: int(row[1]) for row in connection.execute(select(table.c.state, func.count()).group_by(table.c.state))
    }
    return {state: found.get(state, 0) for state in dict.fromkeys((*states, *sorted(found)))}


def disks(connection: Connection, states: Sequence[str]) -> list[AnyRow]:
    """Disks in these states, those that are there longest first."""
    return list(connection.execute(select(tables.lta_disk).where(D.state.in_(states)).order_by(D.since, D.id)))


def slots(connection: Connection) -> list[AnyRow]:
    """All slots as they were seen last."""
    column = tables.lta_slot.c
    return list(connection.execute(select(tables.lta_slot).order_by(column.home, column.path)))


def first(connection: Connection, table: Table, state: str, most: int = 1) -> list[AnyRow]:
    """The rows that are in a state longest."""
    query = select(table).where(table.c.state == state).order_by(table.c.since, table.c.id).limit(most)
    return list(connection.execute(query))


def twice(connection: Connection, most: int = 20) -> list[str]:
    """Ideal names of bundles that move to a destination to which another live bundle has the same bytes, or had them sent."""
    one, other = tables.lta_bundle.alias(), tables.lta_bundle.alias()
    pairs = one.join(other, other.c.id == one.c.twin)  # a bundle with a twin is rare: the index on it gives them
    found: dict[str, None] = {}
    for moves, was in ((one, other), (other, one)):
        both = (one.c.twin.is_not(None), moves.c.state.in_(MOVING), was.c.state.not_in((*s.DEAD, s.UNTOUCHED)))
        query = select(moves.c.ideal).select_from(pairs).where(*both).limit(most)
        found |= dict.fromkeys(connection.execute(query).scalars())
    return list(found)[:most]


def place(text: str, settings: Settings, default: str) -> str:
    """A setting that names a directory or a URL; empty: the one below HOME/demo/lta."""
    return text or str(settings.home / "demo/lta" / default)


def directory(text: str, settings: Settings, default: str) -> Path | None:
    """The directory here that such a setting names; None: it is elsewhere."""
    wanted = place(text, settings, default)
    if "://" not in wanted:
        return settings.path(wanted)
    try:
        return names.path_of(wanted)
    except NameRefused:
        return None


def shown(row: Any) -> str:
    """The name of a bundle or directory for people."""
    return names.shown(row.ideal)
