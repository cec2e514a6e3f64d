"""The foundation: shared tables, the transfer engine, migrate."""

from alembic import op

from dmtools.ledger import tables

revision = "0001"
down_revision = None

# Later tables come by migrations of their own.
TABLES = (
    *("installation", "journal", "tally", "flow", "hold", "component", "lease", "sighting"),
    *("transfer", "filelist", "ftsjob", "master"),
)


def upgrade() -> None:
    """Makes every table of the first release."""
    tables.metadata.create_all(op.get_bind(), tables=[tables.metadata.tables[name] for name in TABLES], checkfirst=True)
