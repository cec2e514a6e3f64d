"""What every pipeline shares: the journal, counts, holds, heartbeats, leases."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer

from dmtools.ledger.tables.frame import table
from dmtools.ledger.types import Id, Instant, Who, Word, Words

installation = table(
    "installation",
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("uuid", Word, nullable=False),
    Column("created", Instant, nullable=False),
)

# What happened, to which item, when, by whom and why. `kind` and `item` name a row: ("file", transfer.id), ...
journal = table(
    "journal",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("pipeline", Word, nullable=False),
    Column("kind", Word, nullable=False),
    Column("item", BigInteger, nullable=False),
    Column("from_state", Word),
    Column("to_state", Word),
    Column("by", Who, nullable=False),
    Column("why", Words),
    Index("journal_item", "kind", "item"),
    Index("journal_at", "at"),
)

# Counts by state, kept in the transaction that changes the state; `shard` keeps writers out of each other's way.
tally = table(
    "tally",
    Column("pipeline", Word, primary_key=True),
    Column("state", Word, primary_key=True),
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

# How many items came into a state in each five minutes: the rates.
flow = table(
    "flow",
    Column("pipeline", Word, primary_key=True),
    Column("state", Word, primary_key=True),
    Column("bucket", Instant, primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

hold = table(
    "hold",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("scope", Who, nullable=False),
    Column("state", Word, nullable=False),
    Column("kind", Word, nullable=False),
    Column("by", Who, nullable=False),
    Column("reason", Words, nullable=False),
    Column("since", Instant, nullable=False),
    Column("until", Instant),
    Column("cleared_at", Instant),
    Column("cleared_by", Who),
    Index("hold_open", "cleared_at", "scope"),
)

# One row a component: its heartbeat and how its last pass ended.
component = table(
    "component",
    Column("pipeline", Word, primary_key=True),
    Column("name", Word, primary_key=True),
    Column("pass_id", Word),
    Column("host", Who),
    Column("pid", Integer),
    Column("last_start", Instant),
    Column("last_end", Instant),
    Column("last_success", Instant),
    Column("last_error", Instant),
    Column("error_text", Words),
    Column("state", Word),
    Column("errors_in_row", Integer, nullable=False, default=0),
)

# Who holds what. The id never comes twice: it is the fencing number.
lease = table(
    "lease",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("resource", Word, nullable=False, unique=True),
    Column("owner", Who, nullable=False),
    Column("host", Who, nullable=False),
    Column("machine", Word, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("since", Instant, nullable=False),
    Column("expires", Instant, nullable=False),
    autoincrement=True,
)

# What a probe last saw (free space, proxy life, a server away): one row a fact, so that readers need not ask again.
sighting = table(
    "sighting",
    Column("pipeline", Word, primary_key=True),
    Column("name", Word, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("value", Words, nullable=False),
)
