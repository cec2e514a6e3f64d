"""datalogger: the accelerator's timeline, supercycle by supercycle, and when its recorder was started again."""

from alembic import op
from sqlalchemy import BigInteger, Column, Double, Integer, UniqueConstraint, inspect
from sqlalchemy.schema import SchemaItem

from dmtools.ledger.types import Id, Instant, Who, Word, Words

revision = "0007"
down_revision = "0006"

INDEXES = {"datalogger_restart": {"datalogger_restart_at": ["home", "at"]}}


def _make(name: str, *columns: SchemaItem) -> None:
    """MariaDB books each statement by itself: an upgrade that was cut short finds what it made."""
    if name not in inspect(op.get_bind()).get_table_names():
        op.create_table(name, *columns)
    there = {index["name"] for index in inspect(op.get_bind()).get_indexes(name)}
    for index, names in INDEXES.get(name, {}).items():
        if index not in there:
            op.create_index(index, name, names)


def upgrade() -> None:
    """Makes the tables."""
    _make(
        "datalogger_timeline",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("home", Word, nullable=False),
        Column("digest", Word, nullable=False),
        Column("entries", Integer, nullable=False),
        Column("since", Instant, nullable=False),
        UniqueConstraint("home", "digest", name="datalogger_timeline_once"),
    )
    _make(
        "datalogger_timeline_event",
        Column("timeline_id", BigInteger, primary_key=True, autoincrement=False),
        Column("entry", Integer, primary_key=True, autoincrement=False),
        Column("event", Word, nullable=False),
        Column("state", Integer, nullable=False),
        Column("offset", Double, nullable=False),
        Column("machine", Words, nullable=False),
    )
    _make(
        "datalogger_supercycle",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("home", Word, nullable=False),
        Column("start", Instant, nullable=False),
        Column("seconds", Double, nullable=False),
        Column("timeline_id", BigInteger, nullable=False),
        Column("gap", Double),
        Column("booked", Instant, nullable=False),
        UniqueConstraint("home", "start", name="datalogger_supercycle_once"),
    )
    _make(
        "datalogger_restart",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("home", Word, nullable=False),
        Column("at", Instant, nullable=False),
        Column("host", Who, nullable=False),
        Column("pid", BigInteger),
        Column("why", Words, nullable=False),
        Column("became", Words),
    )


def downgrade() -> None:
    """Takes them away."""
    for name in ("datalogger_restart", "datalogger_supercycle", "datalogger_timeline_event", "datalogger_timeline"):
        op.drop_table(name)
