"""dqm: its live pages."""

from alembic import op
from sqlalchemy import Column, inspect

from dmtools.ledger.types import Id, Instant, Word

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """MariaDB books each statement by itself: an upgrade that was cut short finds what it made."""
    if "dqm_page" not in inspect(op.get_bind()).get_table_names():
        op.create_table(
            "dqm_page",
            Column("id", Id, primary_key=True, autoincrement=True),
            Column("site", Word, nullable=False, unique=True),
            Column("state", Word, nullable=False),
            Column("since", Instant, nullable=False),
        )
