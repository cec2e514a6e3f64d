"""migrate: its master lists."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, UniqueConstraint

from dmtools.ledger.tables.frame import table
from dmtools.ledger.types import Id, Instant, Key, Name, Word, Words

master = table(
    "master",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("home", Word, nullable=False),
    Column("name", Name, nullable=False),
    Column("name_key", Key, nullable=False),
    Column("state", Word, nullable=False),
    Column("since", Instant, nullable=False),
    Column("read_bytes", BigInteger, nullable=False, default=0),
    Column("read_lines", BigInteger, nullable=False, default=0),
    Column("read_sha256", Word),
    Column("lfns", BigInteger, nullable=False, default=0),
    Column("cut", BigInteger, nullable=False, default=0),
    Column("stamp", Word),
    Column("reason", Words),
    UniqueConstraint("home", "name_key", name="master_name"),
)
