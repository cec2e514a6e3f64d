"""datalogger: the accelerator's timeline, supercycle by supercycle, and when its recorder was started again."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, UniqueConstraint

from dmtools.ledger.tables.frame import table
from dmtools.ledger.types import Id, Instant, Who, Word, Words

# What the timeline generator plays, each content once, for it changes rarely: `digest` is that of its entries.
datalogger_timeline = table(
    "datalogger_timeline",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("home", Word, nullable=False),
    Column("digest", Word, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("since", Instant, nullable=False),
    UniqueConstraint("home", "digest", name="datalogger_timeline_once"),
)

# Its entries: event in two lower-case hex digits, seconds after the supercycle's start.
datalogger_timeline_event = table(
    "datalogger_timeline_event",
    Column("timeline_id", BigInteger, primary_key=True, autoincrement=False),
    Column("entry", Integer, primary_key=True, autoincrement=False),
    Column("event", Word, nullable=False),
    Column("state", Integer, nullable=False),
    Column("offset", Double, nullable=False),
    Column("machine", Words, nullable=False),
)

# A supercycle that was played: `gap` seconds before it nobody watched; None: it is the first.
datalogger_supercycle = table(
    "datalogger_supercycle",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("home", Word, nullable=False),
    Column("start", Instant, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("timeline_id", BigInteger, nullable=False),
    Column("gap", Double),
    Column("booked", Instant, nullable=False),
    UniqueConstraint("home", "start", name="datalogger_supercycle_once"),
)

# What the supervisor did: booked before it does it. `pid`: whom it ended; None: nobody ran.
datalogger_restart = table(
    "datalogger_restart",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("home", Word, nullable=False),
    Column("at", Instant, nullable=False),
    Column("host", Who, nullable=False),
    Column("pid", BigInteger),
    Column("why", Words, nullable=False),
    Column("became", Words),
    Index("datalogger_restart_at", "home", "at"),
)
