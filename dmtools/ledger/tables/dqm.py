"""dqm: how its live pages stood when that was booked last. What is shown, and how it stands now, is in files alone."""

from __future__ import annotations

from sqlalchemy import Column

from dmtools.ledger.tables.frame import table
from dmtools.ledger.types import Id, Instant, Word

# One row a site. Whichever of several parsers judges it, it is the same page.
dqm_page = table(
    "dqm_page",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("site", Word, nullable=False, unique=True),
    Column("state", Word, nullable=False),
    Column("since", Instant, nullable=False),
)
