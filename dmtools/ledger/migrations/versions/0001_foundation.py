"""The foundation: shared tables, the transfer engine, migrate."""

from alembic import op

from dmtools.ledger import tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes every table of the first release."""
    tables.metadata.create_all(op.get_bind(), checkfirst=True)
