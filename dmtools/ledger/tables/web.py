"""The status page: its users and sign-ins."""

from __future__ import annotations

from sqlalchemy import Column, Index

from dmtools.ledger.tables.frame import table
from dmtools.ledger.types import Instant, Key, Word

web_user = table(
    "web_user",
    Column("name", Word, primary_key=True),
    Column("role", Word, nullable=False),
    Column("password", Word, nullable=False),
    Column("created", Instant, nullable=False),
    Column("changed", Instant, nullable=False),
)

# One row a sign-in. Its key is the hash of the token that the browser holds: who reads the table can't sign in with it.
web_session = table(
    "web_session",
    Column("token_key", Key, primary_key=True),
    Column("user", Word, nullable=False),
    Column("created", Instant, nullable=False),
    Column("expires", Instant, nullable=False),
    Index("web_session_user", "user"),
)
