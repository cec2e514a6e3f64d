"""datalogger: which file is declared to which catalogue."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, UniqueConstraint, inspect

from dmtools.ledger.types import Id, Instant, Word, Words

revision = "0008"
down_revision = "0007"

TABLE, INDEX = "datalogger_declaration", "datalogger_declaration_state"


def upgrade() -> None:
    """Makes the table. MariaDB books each statement by itself: an upgrade that was cut short finds what it made."""
    if TABLE not in inspect(op.get_bind()).get_table_names():
        op.create_table(
            TABLE,
            Column("id", Id, primary_key=True, autoincrement=True),
            Column("home", Word, nullable=False),
            Column("file_id", BigInteger, nullable=False),
            Column("catalogue", Word, nullable=False),
            Column("state", Word, nullable=False),
            Column("since", Instant, nullable=False),
            Column("ready", Instant, nullable=False),
            Column("failures", Integer, nullable=False),
            Column("error_class", Word),
            Column("reason", Words),
            Column("steps", Word, nullable=False),
            Column("asked", Instant),
            UniqueConstraint("file_id", "catalogue", name="datalogger_declaration_once"),
        )
    if INDEX not in {index["name"] for index in inspect(op.get_bind()).get_indexes(TABLE)}:
        op.create_index(INDEX, TABLE, ["state", "since"])


def downgrade() -> None:
    """Takes it away."""
    op.drop_table(TABLE)
