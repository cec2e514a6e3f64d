"""datalogger: windows of time that are owed, device by device, and the files that hold them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, UniqueConstraint

from dmtools.ledger.tables.frame import table
from dmtools.ledger.types import Id, Instant, Name, Word, Words

# One device (or event) x [start, end). `origin`: schedule or hand. `upto`: what is before it is settled: its samples are in the
# draft, or the logger said that there are none; `forgotten`: what is before it was not had in time. `rows` of them are drafted.
datalogger_window = table(
    "datalogger_window",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("home", Word, nullable=False),
    Column("kind", Word, nullable=False),
    Column("name", Word, nullable=False),
    Column("node", Word),
    Column("start", Instant, nullable=False),
    Column("end", Instant, nullable=False),
    Column("origin", Word, nullable=False),
    Column("state", Word, nullable=False),
    Column("since", Instant, nullable=False),
    Column("ready", Instant, nullable=False),
    Column("failures", Integer, nullable=False, default=0),
    Column("error_class", Word),
    Column("reason", Words),
    Column("upto", Instant, nullable=False),
    Column("forgotten", Instant),
    Column("rows", BigInteger, nullable=False, default=0),
    Column("first", Instant),
    Column("last", Instant),
    Column("stars", BigInteger, nullable=False, default=0),
    Column("doubles", BigInteger, nullable=False, default=0),
    Column("asked", Instant),
    Column("draft", Name),
    Column("file_id", BigInteger),
    UniqueConstraint("home", "kind", "name", "start", "end", "origin", name="datalogger_window_once"),
    Index("datalogger_window_state", "state", "since"),
    Index("datalogger_window_start", "home", "kind", "start"),
    Index("datalogger_window_file", "file_id"),
)

# A file of all devices of a window, or of those that came later: series 1, 2, ... `distilled`, `declared`: when that was done.
datalogger_file = table(
    "datalogger_file",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("home", Word, nullable=False),
    Column("kind", Word, nullable=False),
    Column("start", Instant, nullable=False),
    Column("end", Instant, nullable=False),
    Column("origin", Word, nullable=False),
    Column("series", Integer, nullable=False),
    Column("name", Name, nullable=False),
    Column("state", Word, nullable=False),
    Column("since", Instant, nullable=False),
    Column("draft", Name, nullable=False),
    Column("place", Name, nullable=False),
    Column("rows", BigInteger),
    Column("bytes", BigInteger),
    Column("adler32", Word),
    Column("reason", Words),
    Column("adopted", Integer, nullable=False, default=0),
    Column("dropped", Instant),
    Column("distilled", Instant),
    Column("declared", Instant),
    UniqueConstraint("home", "kind", "start", "end", "origin", "series", name="datalogger_file_once"),
    Index("datalogger_file_state", "state", "since"),
)

# A file x a catalogue. `steps`: what of it is known to be there, as `replica attached`; `asked`: when the catalogue last said so.
datalogger_declaration = table(
    "datalogger_declaration",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("home", Word, nullable=False),
    Column("file_id", BigInteger, nullable=False),
    Column("catalogue", Word, nullable=False),
    Column("state", Word, nullable=False),
    Column("since", Instant, nullable=False),
    Column("ready", Instant, nullable=False),
    Column("failures", Integer, nullable=False, default=0),
    Column("error_class", Word),
    Column("reason", Words),
    Column("steps", Word, nullable=False, default=""),
    Column("asked", Instant),
    UniqueConstraint("file_id", "catalogue", name="datalogger_declaration_once"),
    Index("datalogger_declaration_state", "state", "since"),
)

# A stretch of a window of which there are no samples: `kind` empty (the logger has none), stars (it has no numbers) or lost
# (it had forgotten it). What is before the window's `upto` and in no stretch is had.
datalogger_gap = table(
    "datalogger_gap",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("window_id", BigInteger, nullable=False),
    Column("start", Instant, nullable=False),
    Column("end", Instant, nullable=False),
    Column("kind", Word, nullable=False),
    Column("why", Words, nullable=False),
    Index("datalogger_gap_window", "window_id", "start"),
)
