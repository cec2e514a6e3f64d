"""The status page: its users and their sessions."""

from alembic import op
from sqlalchemy import Column, inspect

from dmtools.ledger.types import Instant, Key, Word

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the two tables. One that is there already was made by a release whose 0001 made all tables that it knew."""
    there = inspect(op.get_bind()).get_table_names()
    if "web_user" not in there:
        op.create_table(
            "web_user",
            Column("name", Word, primary_key=True),
            Column("role", Word, nullable=False),
            Column("password", Word, nullable=False),
            Column("created", Instant, nullable=False),
            Column("changed", Instant, nullable=False),
        )
    if "web_session" not in there:
        op.create_table(
            "web_session",
            Column("token_key", Key, primary_key=True),
            Column("user", Word, nullable=False),
            Column("created", Instant, nullable=False),
            Column("expires", Instant, nullable=False),
        )
        op.create_index("web_session_user", "web_session", ["user"])
