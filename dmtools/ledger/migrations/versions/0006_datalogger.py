"""datalogger: windows of time that are owed, device by device, and the files that hold them."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, UniqueConstraint, inspect
from sqlalchemy.schema import SchemaItem

from dmtools.ledger.types import Id, Instant, Name, Word, Words

revision = "0006"
down_revision = "0005"

INDEXES = {
    "datalogger_window": {
        "datalogger_window_state": ["state", "since"],
        "datalogger_window_start": ["home", "kind", "start"],
        "datalogger_window_file": ["file_id"],
    },
    "datalogger_file": {"datalogger_file_state": ["state", "since"]},
}


def _make(name: str, *columns: SchemaItem) -> None:
    """MariaDB books each statement by itself: an upgrade that was cut short finds what it made."""
    if name not in inspect(op.get_bind()).get_table_names():
        op.create_table(name, *columns)
    there = {index["name"] for index in inspect(op.get_bind()).get_indexes(name)}
    for index, names in INDEXES[name].items():
        if index not in there:
            op.create_index(index, name, names)


def upgrade() -> None:
    """Makes the tables."""
    _make(
        "datalogger_window",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("home", Word, nullable=False),
        Column("kind", Word, nullable=False),
        Column("name", Word, nullable=False),
        Column("node", Word),
        Column("start", Instant, nullable=False),
        Column("end", Instant, nullable=False),
        Column("origin", Word, nullable=False),
        Column("state", Word, nullable=False),
        Column("since", Instant, nullable=False),
        Column("ready", Instant, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("error_class", Word),
        Column("reason", Words),
        Column("upto", Instant, nullable=False),
        Column("forgotten", Instant),
        Column("rows", BigInteger, nullable=False),
        Column("first", Instant),
        Column("last", Instant),
        Column("stars", BigInteger, nullable=False),
        Column("doubles", BigInteger, nullable=False),
        Column("asked", Instant),
        Column("draft", Name),
        Column("file_id", BigInteger),
        UniqueConstraint("home", "kind", "name", "start", "end", "origin", name="datalogger_window_once"),
    )
    _make(
        "datalogger_file",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("home", Word, nullable=False),
        Column("kind", Word, nullable=False),
        Column("start", Instant, nullable=False),
        Column("end", Instant, nullable=False),
        Column("origin", Word, nullable=False),
        Column("series", Integer, nullable=False),
        Column("name", Name, nullable=False),
        Column("state", Word, nullable=False),
        Column("since", Instant, nullable=False),
        Column("draft", Name, nullable=False),
        Column("place", Name, nullable=False),
        Column("rows", BigInteger),
        Column("bytes", BigInteger),
        Column("adler32", Word),
        Column("reason", Words),
        Column("adopted", Integer, nullable=False),
        Column("dropped", Instant),
        Column("distilled", Instant),
        Column("declared", Instant),
        UniqueConstraint("home", "kind", "start", "end", "origin", "series", name="datalogger_file_once"),
    )


def downgrade() -> None:
    """Takes them away."""
    op.drop_table("datalogger_file")
    op.drop_table("datalogger_window")
