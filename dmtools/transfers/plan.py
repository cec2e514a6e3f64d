"""Planning: what a list asks for, against what the tables know and what the source storage says. Writes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from dmtools import names
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.types import AnyRow
from dmtools.settings import Settings
from dmtools.spool.listfile import BadLine, ListFile, Pair
from dmtools.storage import Absent, Look, Present, client_for, scheme_of
from dmtools.transfers.lists import ListRow
from dmtools.transfers.roots import Roots

T = tables.transfer.c
_KNOWN = (
    T.id,
    T.name,
    T.source,
    T.destination,
    T.place_key,
    T.size,
    T.checksum,
    T.state,
    T.list_id,
    T.failures,
    T.tries,
    T.overwrite,
)
GO, MISSING, BAD = "go", "missing", "bad"
FOREIGN = -1  # in `overwrite`: what is at the destination was there before us and is never replaced
CONFLICT = "another source goes to this destination already"


@dataclass
class Planned:
    """One file of a list: its row when it is known already, and what is to be done with it."""

    pair: Pair
    name: str
    known: AnyRow | None = None
    act: str = GO
    size: int | None = None
    checksum: str | None = None
    error_class: str | None = None
    reason: str | None = None
    place_key: bytes = b""
    foreign: bool = False  # something was at the destination before our first attempt, or that could not be told

    @property
    def asks_who_is_there(self) -> bool:
        """Is it before the first attempt, or was something there before it? Then the destination is looked at."""
        return self.act == GO and (self.known is None or self.known.tries == 0 or self.known.overwrite == FOREIGN)

    @property
    def overwrite(self) -> bool:
        """May the job replace what is at the destination? Only what an earlier attempt of ours left there."""
        return bool(self.known is not None and self.known.overwrite > 0)


@dataclass
class ListPlan:
    """What to do with one list. `wait`: the source storage as a whole is in trouble; nothing is done now."""

    row: ListRow
    files: list[Planned] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)  # (LFN, why it isn't moved by this list)
    wait: str | None = None

    def of(self, act: str) -> list[Planned]:
        """The files with which this is done."""
        return [planned for planned in self.files if planned.act == act]


def plan_lists(
    connection: Connection,
    contents: Sequence[tuple[ListRow, ListFile]],
    *,
    done: str,
    going: frozenset[str],
    lfn_of: Callable[[Pair], str],
) -> list[ListPlan]:
    """The plans of several lists against the tables; sources are not looked at yet. `done`: the state of a file that is there."""
    keys = {pair: names.key(pair.destination) for _, content in contents for pair in content.pairs}
    known = _known(connection, contents[0][0].pipeline, list(keys.values())) if keys else {}
    taken: dict[bytes, tuple[Pair, str]] = {}
    plans = []
    for row, content in contents:
        plan = ListPlan(row)
        for pair in content.pairs:
            _sort_in(plan, pair, keys[pair], known.get(keys[pair]), taken, done, going, lfn_of)
        plan.files += [_rejected(row, bad) for bad in content.bad]
        plans.append(plan)
    _drop_known_rejects(connection, plans)
    return plans


def _sort_in(
    plan: ListPlan,
    pair: Pair,
    key: bytes,
    row: AnyRow | None,
    taken: dict[bytes, tuple[Pair, str]],
    done: str,
    going: frozenset[str],
    lfn_of: Callable[[Pair], str],
) -> None:
    name = lfn_of(pair)
    first = taken.get(key)
    other = first[0].source if first else row.source if row is not None else pair.source
    if other != pair.source and (first or row is None or row.state == done or row.state in going):
        plan.files.append(_conflict(pair, name, other))
    elif first:
        plan.told.append((name, f"named twice: it is also in the list {first[1]}"))
    elif row is not None and row.state == done:
        plan.told.append((name, "is at the destination already, proved equal"))
    elif row is not None and row.state in going and row.list_id != plan.row.id:
        plan.told.append((name, f"is under way already ({row.state}) in another list"))
    elif row is not None and row.state in going and row.state != "TODO":
        plan.told.append((name, f"is under way already ({row.state})"))
    else:
        taken[key] = (pair, plan.row.name)
        plan.files.append(Planned(pair, name, row, place_key=key))


def _conflict(pair: Pair, name: str, other: str) -> Planned:
    key = hashlib.sha256(b"conflict\0" + f"{pair.source}\0{pair.destination}".encode("ascii")).digest()
    reason = f"{CONFLICT}: {other}"
    return Planned(pair, name, act=BAD, error_class="invalid", reason=reason, place_key=key)


def _rejected(row: ListRow, bad: BadLine) -> Planned:
    key = reject_key(row.name, bad.number, bad.text)
    return Planned(
        Pair(bad.text, ""), bad.text, act=BAD, error_class="invalid", reason=f"line {bad.number}: {bad.why}", place_key=key
    )


def reject_key(list_name: str, number: int, text: str) -> bytes:
    """The key on which a line that names no file is unique."""
    return hashlib.sha256(f"reject\0{list_name}\0{number}\0{text}".encode("ascii", "backslashreplace")).digest()


def _known(connection: Connection, pipeline: str, keys: list[bytes]) -> dict[bytes, AnyRow]:
    found: dict[bytes, AnyRow] = {}
    for part in chunks(keys):
        query = select(*_KNOWN).where(T.pipeline == pipeline, T.place_key.in_(part))
        found |= {row.place_key: row for row in connection.execute(query)}
    return found


def _drop_known_rejects(connection: Connection, plans: list[ListPlan]) -> None:
    """A bad line that is booked already is not booked twice (the same file comes again after a crash or by hand)."""
    keys = [p.place_key for plan in plans for p in plan.of(BAD)]
    if not keys:
        return
    booked = _known(connection, plans[0].row.pipeline, keys)
    for plan in plans:
        plan.files = [p for p in plan.files if p.act != BAD or p.place_key not in booked]


def look_at_sources(plans: Sequence[ListPlan], settings: Settings, *, check: bool, seconds: float = 600) -> None:
    """Size and checksum of each source, asked once. Absent: Missing (with `check`). A storage in trouble: its list waits."""
    by_scheme: dict[str, list[tuple[ListPlan, Planned]]] = {}
    roots = Roots(settings)
    for plan in plans:
        for planned in plan.of(GO):
            if planned.known is not None and planned.known.checksum and planned.known.source == planned.pair.source:
                planned.size, planned.checksum = planned.known.size, planned.known.checksum
            scheme = planned.pair.source.partition("://")[0]
            by_scheme.setdefault(scheme, []).append((plan, planned))
    for items in by_scheme.values():
        store = client_for(items[0][1].pair.source, settings)
        if store is None:
            continue  # srm, gsiftp: FTS itself checks and verifies
        ask = [(plan, planned) for plan, planned in items if check or planned.checksum is None]
        urls = [planned.pair.source for _, planned in ask]
        looks = store.look_many(urls, checksum=True, deadline=seconds)
        for (plan, planned), look in zip(ask, looks, strict=True):
            _note_source(plan, planned, roots.believe(planned.pair.source, look), check)


def look_at_destinations(plans: Sequence[ListPlan], settings: Settings, *, seconds: float = 600) -> None:
    """Before a first attempt: is something at its destination already? It is not ours, whatever happens later."""
    by_scheme: dict[str, list[Planned]] = {}
    for planned in (p for plan in plans if plan.wait is None for p in plan.files if p.asks_who_is_there):
        by_scheme.setdefault(scheme_of(planned.pair.destination), []).append(planned)
    for items in by_scheme.values():
        store = client_for(items[0].pair.destination, settings)
        if store is not None:
            looks = store.look_many([p.pair.destination for p in items], checksum=False, deadline=seconds)
            for planned, look in zip(items, looks, strict=True):
                planned.foreign = not isinstance(look, Absent)


def _note_source(plan: ListPlan, planned: Planned, look: Look, check: bool) -> None:
    """A source that can't be read (and only that one) goes to FTS as it is: there it fails, and is counted, like any other."""
    if isinstance(look, Present):
        planned.size, planned.checksum = look.size, look.checksum
    elif isinstance(look, Absent):
        if check:
            planned.act, planned.error_class, planned.reason = MISSING, "missing", "the source is not there"
    elif look.wide:
        plan.wait = f"the source storage is in trouble: {look.reason}"
