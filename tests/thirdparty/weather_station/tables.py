"""The pipeline's own table, in the same database: a row a reading. `id`, `state` and `since` are what the journal needs."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table
from sqlalchemy.exc import OperationalError

from dmtools.control.passes import Pass
from dmtools.ledger.types import Id, Instant, Word

metadata = MetaData()
reading = Table(
    "weather_reading",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("name", Word, nullable=False, unique=True),
    Column("state", Word, nullable=False),
    Column("since", Instant, nullable=False),
    Index("weather_reading_state", "state", "since"),
)


def make(this: Pass) -> None:
    """Makes the table when it isn't there yet; two that do so at once are no trouble."""
    try:
        this.ledger.transact(metadata.create_all)
    except OperationalError as problem:
        if "already exists" not in str(problem):
            raise
