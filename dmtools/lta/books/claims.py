"""Claims of bundles, errands, disks and directories: leases with a fence, all by the database's clock.

A thing can be claimed when its `ready` has come. A claim moves that on, names the holder and makes the fence larger. A later
write names the fence: it is refused when somebody else had the thing meanwhile, or when it was handed back. One that ran out
and that nobody took is still good.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Select, Table, Update, bindparam, func, select, tuple_, update

from dmtools.ledger import late
from dmtools.ledger.types import AnyRow
from dmtools.lta.api import Conflict, Unknown, Wrong
from dmtools.lta.api.bundles import Held
from dmtools.lta.books import rows
from dmtools.lta.books.desk import Desk


def ready(
    desk: Desk, table: Table, columns: tuple[Any, ...], states: Sequence[str], fixed: dict[str, Any], most: int,
    ids: Sequence[int] = (), kind: type[Struct] | None = None,
) -> list[AnyRow]:  # fmt: skip
    """Things that can be claimed, kept for this transaction; what others are just taking is passed over.

    One state after the other, that with the longest waiting one first: so the index gives them in order, and only what is
    taken is kept from others. `fixed`: columns that must have these values; `kind`: what `rows.asked` gave the columns for.
    """
    given: dict[str, Any] = {"now": desk.now, **fixed, **({"ids": list(ids)} if ids else {})}
    found: list[AnyRow] = []
    for state in _by_age(desk, table, list(dict.fromkeys(states)), given):
        asked = {**given, "state": state, "most": most - len(found)}
        query = _claiming(table, columns, tuple(fixed), bool(ids))
        found += rows.read(desk.connection, kind, query, asked) if kind else desk.connection.execute(query, asked).all()
        if len(found) >= most:
            break
    return found


def _by_age(desk: Desk, table: Table, states: list[str], given: dict[str, Any]) -> list[str]:
    if len(states) == 1:
        return states
    fixed = tuple(name for name in given if name not in ("now", "ids"))
    query = select(func.min(table.c.ready)).where(*_due(table, fixed, "ids" in given))
    found = {}
    for state in states:
        oldest = desk.connection.execute(query, {**given, "state": state}).scalar()
        if oldest is not None:
            found[state] = oldest
    return sorted(found, key=found.__getitem__)


def _due(table: Table, fixed: tuple[str, ...], ids: bool) -> list[ColumnElement[bool]]:
    named = [table.c[name] == bindparam(name) for name in ("state", *fixed)]
    among = [table.c.id.in_(bindparam("ids", expanding=True))] if ids else []
    return [*named, table.c.ready <= bindparam("now"), *among]


@functools.cache
def _claiming(table: Table, columns: tuple[Any, ...], fixed: tuple[str, ...], ids: bool) -> Select[Any]:
    """Made once: making a statement costs more than asking it. Who names the ids waits for them."""
    query = select(*columns).where(*_due(table, fixed, ids)).order_by(table.c.ready)
    return query.limit(bindparam("most")).with_for_update(skip_locked=not ids)


def take(desk: Desk, table: Table, ids: Sequence[int], holder: str, seconds: int) -> dict[str, Any]:
    """Claims what `ready` gave; what was written beside the fence, which is larger by one."""
    values = {"holder": holder, "ready": desk.after(seconds)}
    if ids:
        late.execute(desk.connection, _taking(table), [{**values, "_id": list(ids)}])
    return values


@functools.cache
def _taking(table: Table) -> Update:
    named: dict[str, Any] = {name: bindparam(name) for name in ("holder", "ready")}
    return update(table).where(table.c.id.in_(bindparam("_id", expanding=True))).values(fence=table.c.fence + 1, **named)


def taken(kind: type[rows.S], found: Sequence[AnyRow], values: dict[str, Any]) -> tuple[rows.S, ...]:
    """What was claimed, as it stands now."""
    return tuple(rows.made(kind, row, fence=row.fence + 1, **values) for row in found)


def ours(table: Table, held: Sequence[Held]) -> list[ColumnElement[bool]]:
    """Those of the claims that hold still."""
    pairs = tuple_(table.c.id, table.c.fence).in_([(one.id, one.fence) for one in held])
    return [table.c.id.in_(sorted({one.id for one in held})), pairs, table.c.holder.is_not(None)]


def extend(desk: Desk, table: Table, held: Sequence[Held], seconds: int, *where: ColumnElement[bool]) -> int:
    """Keeps them for so many seconds from now; how many hold still."""
    statement = update(table).where(*ours(table, held), *where).values(ready=desk.after(seconds))
    return desk.connection.execute(statement).rowcount


def release(desk: Desk, table: Table, held: Sequence[Held], *where: ColumnElement[bool], **values: Any) -> int:
    """Hands them back; how many were still the asker's."""
    statement = update(table).where(*ours(table, held), *where).values(holder=None, ready=desk.now, **values)
    return desk.connection.execute(statement).rowcount


def check(what: str, row: AnyRow | None, number: int, fence: int, before: str) -> AnyRow:
    """The row, when the asker still has it and it stands as the asker says. Raises Unknown, Conflict."""
    if row is None:
        raise Unknown(f"there is no {what} {number}")
    if row.holder is None:
        raise Conflict(f"the claim of {what} {number} was handed back; claim it again; nothing was changed")
    if row.fence != fence:
        raise Conflict(
            f"{what} {number} was claimed by {row.holder} meanwhile (fence {row.fence}, not {fence}); nothing was changed"
        )
    if row.state != before:
        raise Conflict(f"{what} {number} is {row.state}, not {before}; nothing was changed")
    return row


@dataclass(frozen=True)
class Failure:
    """A failed attempt: how many there were with it, why, when the next may begin, and whether that was the last one."""

    failures: int
    why: str
    ready: datetime
    last: bool


def failure(desk: Desk, row: AnyRow, why: str | None, wait: int = 0) -> Failure:
    """One failed attempt more. The next waits `wait` seconds, or longer each time, a day at most."""
    lta, failures = desk.settings.lta, row.failures + 1
    seconds = wait or min(86400, lta.retry_seconds * 2 ** min(failures - 1, 20))
    said = f"{why or 'it failed'}; attempt {failures} of {lta.max_attempts}"
    return Failure(failures, said, desk.after(seconds), failures >= lta.max_attempts)


def refuse_twice(what: str, ids: Sequence[int]) -> None:
    """Raises Wrong when one thing is named twice in an order."""
    if len(set(ids)) < len(ids):
        raise Wrong(f"{what} is named twice; nothing was changed")
