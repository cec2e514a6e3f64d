"""Makes and upgrades the tables (alembic), keeps the installation's id, prunes what is old."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select

from dmtools import clock
from dmtools.ledger import tables
from dmtools.ledger.engine import Ledger


def upgrade(ledger: Ledger) -> None:
    """Brings the database to this program's schema; a new one is made whole. Repeatable."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    if ledger.sqlite:
        with ledger.engine.connect() as connection:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            connection.exec_driver_sql("BEGIN")
    with ledger.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if connection.execute(select(tables.installation.c.uuid)).first() is None:
            row = {"id": 1, "uuid": str(uuid.uuid4()), "created": clock.now()}
            connection.execute(insert(tables.installation), row)


def installation_id(connection: Connection) -> str:
    """The id of this database: part of every submission's key."""
    return str(connection.execute(select(tables.installation.c.uuid)).scalar_one())


def prune(ledger: Ledger, days: float, chunk: int = 10000) -> int:
    """Deletes journal rows and rates older than `days`, a chunk a transaction. Gives the number of journal rows."""
    before = clock.now() - timedelta(days=days)
    gone = 0
    while True:
        done = ledger.transact(lambda c: _prune_chunk(c, before, chunk))
        gone += done
        if done < chunk:
            break
    ledger.transact(lambda c: c.execute(delete(tables.flow).where(tables.flow.c.bucket < before)))
    return gone


def _prune_chunk(connection: Connection, before: object, chunk: int) -> int:
    oldest = select(tables.journal.c.id).where(tables.journal.c.at < before).order_by(tables.journal.c.at).limit(chunk)
    ids = list(connection.execute(oldest).scalars())
    if ids:
        connection.execute(delete(tables.journal).where(tables.journal.c.id.in_(ids)))
    return len(ids)


def row_counts(ledger: Ledger) -> dict[str, int]:
    """How many rows each table holds."""
    with ledger.read() as connection:
        return {
            table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
            for table in tables.metadata.sorted_tables
        }
