"""One row a key: written whether or not it is there, also when two writers meet."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, insert


def put(
    connection: Connection, table: Table, keys: dict[str, Any], values: dict[str, Any], first: dict[str, Any] | None = None
) -> None:
    """Updates the row with these keys, or inserts it with `values` and `first` (what only a new row gets)."""
    update = table.update().where(*(table.c[name] == value for name, value in keys.items())).values(values)
    if connection.execute(update).rowcount:
        return
    statement = insert(table).values({**keys, **values, **(first or {})})
    if connection.dialect.name == "sqlite":  # BEGIN IMMEDIATE: nobody else writes now
        connection.execute(statement)
    elif not connection.execute(statement.prefix_with("IGNORE")).rowcount:
        connection.execute(update)
