"""Makes and upgrades the tables (alembic), keeps the installation's id, says what is there."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, inspect, select, text

from dmtools import clock
from dmtools.ledger import tables
from dmtools.ledger.engine import Ledger, LedgerUnavailable, newer, schema_version


def upgrade(ledger: Ledger) -> str | None:
    """Brings the database to this program's schema; a new one is made whole. Repeatable. Gives the schema it had before.

    Raises LedgerUnavailable for a database of a newer schema, or whose tables aren't those that its schema has.
    """
    if ledger.sqlite:
        _write_ahead(ledger)
    with ledger.write() as connection:
        if not ledger.sqlite:  # its DDL commits at once, so two upgrades must not run side by side
            connection.detach()  # it is closed at the end, not kept: the lock goes with it
            if not connection.exec_driver_sql("SELECT GET_LOCK('dmtools-upgrade', 60)").scalar():
                said = f"another upgrade of {ledger.shown} is under way"
                raise LedgerUnavailable(said, "wait for its end, then: dm-db upgrade")
            connection.exec_driver_sql("SET default_storage_engine=InnoDB")
        there = inspect(connection).has_table("alembic_version")
        before = schema_version(connection) if there else None
        if before is not None and before > tables.SCHEMA:
            raise newer(ledger, before)
        if before is not None and before < tables.SCHEMA:
            _migrate(connection)
        tables.metadata.create_all(connection, checkfirst=True)
        _compare(ledger, connection)
        if before is None:
            _stamp(connection, there)
        if connection.execute(select(tables.installation.c.uuid)).first() is None:
            row = {"id": 1, "uuid": str(uuid.uuid4()), "created": clock.now()}
            connection.execute(insert(tables.installation), row)
    return before


def _write_ahead(ledger: Ledger) -> None:
    with ledger.read() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.exec_driver_sql("BEGIN")


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _stamp(connection: Connection, there: bool) -> None:
    """A new database needs no migration, so alembic is not loaded for it: the table is what alembic makes."""
    if not there:
        key = "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)"
        connection.exec_driver_sql(f"CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, {key})")
    connection.execute(text("INSERT INTO alembic_version (version_num) VALUES (:schema)"), {"schema": tables.SCHEMA})


def _compare(ledger: Ledger, connection: Connection) -> None:
    """Raises LedgerUnavailable when a table has other columns than this program's."""
    eye = inspect(connection)
    for table in tables.metadata.sorted_tables:
        lacking = {column.name for column in table.columns} - {column["name"] for column in eye.get_columns(table.name)}
        if lacking:
            said = f"the table {table.name} of the database {ledger.shown} lacks {', '.join(sorted(lacking))}"
            step = "it is no table of this schema: set the database aside, then: dm-db upgrade, then: dm-check --repair"
            raise LedgerUnavailable(said, step)


def installation_id(connection: Connection) -> str:
    """The id of this database: part of every submission's key."""
    return str(connection.execute(select(tables.installation.c.uuid)).scalar_one())


def row_counts(ledger: Ledger) -> dict[str, int]:
    """How many rows each table holds."""
    with ledger.read() as connection:
        return {
            table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
            for table in tables.metadata.sorted_tables
        }


def sentences(status: dict[str, Any]) -> Iterator[str]:
    """What `status` gives, for people."""
    for key in ("database", "kind", "version", "installation", "bytes", "oldest_journal"):
        yield f"{key}: {status[key]}"
    for name, rows in status["rows"].items():
        yield f"rows of {name}: {rows}"


def status(ledger: Ledger) -> dict[str, Any]:
    """What the database is: kind, schema, installation, bytes, rows of each table, its oldest journal entry."""
    with ledger.read() as connection:
        oldest = connection.execute(select(func.min(tables.journal.c.at))).scalar()
        if ledger.sqlite:
            pages, size = (connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size"))
            total = pages * size
        else:
            where = "SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = DATABASE()"
            total = int(connection.exec_driver_sql(where).scalar() or 0)
        return {
            "database": ledger.shown,
            "kind": "sqlite" if ledger.sqlite else "MariaDB",
            "version": schema_version(connection),
            "installation": installation_id(connection),
            "bytes": total,
            "oldest_journal": clock.iso(oldest),
            "rows": row_counts(ledger),
        }
