"""Rows <-> what is answered, page by page."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from sqlalchemy import BindParameter, ColumnElement, Connection, Select, Table, bindparam, func, literal_column, select

from dmtools.ledger import late
from dmtools.ledger.types import AnyRow, Instant
from dmtools.lta.api import Unknown

S = TypeVar("S", bound=Struct)


def columns(table: Table, kind: type[Struct]) -> list[Any]:
    """The columns of the table that the answer has."""
    return [table.c[name] for name in kind.__struct_fields__]


def asked(connection: Connection, table: Table, kind: type[Struct]) -> tuple[Any, ...]:
    """The same, for many small questions: MariaDB's driver reads one column of JSON in a tenth of the time of 25."""
    return tuple(columns(table, kind)) if connection.dialect.name == "sqlite" else (_packed(table, kind),)


@functools.cache
def _packed(table: Table, kind: type[Struct]) -> Any:
    parts: list[Any] = []
    for name in kind.__struct_fields__:
        parts.append(literal_column(f"'{name}'"))
        if isinstance(table.c[name].type, Instant):
            parts.append(func.date_format(literal_column(name), literal_column("'%Y-%m-%dT%H:%i:%s.%fZ'")))
        else:
            parts.append(literal_column(name))  # a shorter text than with the table's name: it is parsed each time
    return func.json_object(*parts).label("packed")


def read(connection: Connection, kind: type[Struct], query: Select[Any], values: dict[str, Any]) -> list[AnyRow]:
    """What a query for `asked` gives: rows, or things whose attributes are called as the columns."""
    found = late.rows(connection, query, values)
    return found if connection.dialect.name == "sqlite" else [_decoder(kind).decode(packed) for (packed,) in found]


@functools.cache
def _decoder(kind: type[Struct]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def made(kind: type[S], row: AnyRow, **changed: Any) -> S:
    """The answer of a row, with what was written since it was read."""
    if isinstance(row, kind):
        return msgspec.structs.replace(row, **changed)
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
    query = _locking(table, asked(connection, table, kind))
    return {row.id: row for row in read(connection, kind, query, {"ids": sorted(set(ids))})} if ids else {}


@functools.cache
def _locking(table: Table, found: tuple[Any, ...]) -> Select[Any]:
    """Made once: making a statement costs more than asking it."""
    ids: BindParameter[Any] = bindparam("ids", expanding=True)
    return select(*found).where(table.c.id.in_(ids)).order_by(table.c.id).with_for_update()
