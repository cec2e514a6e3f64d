"""datalogger: the stretches of a window of which there are no samples, and why."""

from alembic import op
from sqlalchemy import BigInteger, Column, inspect

from dmtools.ledger.types import Id, Instant, Word, Words

revision = "0009"
down_revision = "0008"

TABLE, INDEX = "datalogger_gap", "datalogger_gap_window"


def upgrade() -> None:
    """Makes the table. MariaDB books each statement by itself: an upgrade that was cut short finds what it made."""
    if TABLE not in inspect(op.get_bind()).get_table_names():
        op.create_table(
            TABLE,
            Column("id", Id, primary_key=True, autoincrement=True),
            Column("window_id", BigInteger, nullable=False),
            Column("start", Instant, nullable=False),
            Column("end", Instant, nullable=False),
            Column("kind", Word, nullable=False),
            Column("why", Words, nullable=False),
        )
    if INDEX not in {index["name"] for index in inspect(op.get_bind()).get_indexes(TABLE)}:
        op.create_index(INDEX, TABLE, ["window_id", "start"])


def downgrade() -> None:
    """Takes it away."""
    op.drop_table(TABLE)
