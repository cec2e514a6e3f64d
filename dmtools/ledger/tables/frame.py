"""What all tables belong to."""

from __future__ import annotations

from sqlalchemy import MetaData, Table
from sqlalchemy.schema import SchemaItem

metadata = MetaData()


def table(name: str, *columns: SchemaItem, autoincrement: bool = False) -> Table:
    """A table of ours."""
    return Table(name, metadata, *columns, sqlite_autoincrement=autoincrement)
