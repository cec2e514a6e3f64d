"""Rows <-> what is answered, page by page."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec import Struct
from sqlalchemy import BindParameter, ColumnElement, Connection, Select, Table, bindparam, func, select

from dmtools.ledger.types import AnyRow
from dmtools.lta.api import Unknown

S = TypeVar("S", bound=Struct)


def columns(table: Table, kind: type[Struct]) -> list[Any]:
    """The columns of the table that the answer has."""
    return [table.c[name] for name in kind.__struct_fields__]


def made(kind: type[S], row: AnyRow, **changed: Any) -> S:
    """The answer of a row, with what was written since it was read."""
    return kind(**{**row._mapping, **changed})


def page(
    connection: Connection, table: Table, kind: type[S], where: Sequence[ColumnElement[bool]], after: int, limit: int
) -> tuple[tuple[S, ...], int | None]:
    """What comes after the id, and the id after which the next page comes."""
    query = select(*columns(table, kind)).where(table.c.id > after, *where).order_by(table.c.id).limit(limit + 1)
    rows = connection.execute(query).all()
    found = tuple(made(kind, row) for row in rows[:limit])
    return found, rows[limit - 1].id if len(rows) > limit else None


def one(connection: Connection, table: Table, kind: type[S], what: str, *where: ColumnElement[bool]) -> S:
    """The one that is asked for. Raises Unknown."""
    row = connection.execute(select(*columns(table, kind)).where(*where)).one_or_none()
    if row is None:
        raise Unknown(f"there is no such {what}")
    return made(kind, row)


def holds(column: Any, part: str) -> ColumnElement[bool]:
    """Does the name hold this part, byte for byte? No character of it means anything else."""
    return func.instr(column, part) > 0


def locked(connection: Connection, table: Table, kind: type[Struct], ids: Sequence[int]) -> dict[int, AnyRow]:
    """The rows, by id, kept from others until the transaction ends; in one order, so that nobody waits crosswise."""
    return {row.id: row for row in connection.execute(_locking(table, kind), {"ids": sorted(set(ids))})}


@functools.cache
def _locking(table: Table, kind: type[Struct]) -> Select[Any]:
    """Made once: making a statement costs more than asking it."""
    ids: BindParameter[Any] = bindparam("ids", expanding=True)
    return select(*columns(table, kind)).where(table.c.id.in_(ids)).order_by(table.c.id).with_for_update()
