"""The transfer engine, shared by migrate, daq and lta."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, UniqueConstraint

from dmtools.ledger.tables.frame import table
from dmtools.ledger.types import Id, Instant, Key, Name, Who, Word, Words

transfer = table(
    "transfer",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("pipeline", Word, nullable=False),
    Column("name", Name, nullable=False),
    Column("name_key", Key, nullable=False),
    Column("source", Name, nullable=False),
    Column("destination", Name, nullable=False),
    Column("place_key", Key, nullable=False),
    Column("size", BigInteger),
    Column("checksum", Word),
    Column("state", Word, nullable=False),
    Column("since", Instant, nullable=False),
    Column("list_id", BigInteger, nullable=False),
    Column("job_id", BigInteger),
    Column("failures", Integer, nullable=False, default=0),
    Column("tries", Integer, nullable=False, default=0),
    Column("overwrite", Integer, nullable=False, default=0),
    Column("error_class", Word),
    Column("reason", Words),
    Column("verified_by", Word),
    UniqueConstraint("pipeline", "place_key", name="transfer_place"),
    Index("transfer_name", "name_key"),
    Index("transfer_list", "list_id", "state"),
    Index("transfer_job", "job_id"),
    Index("transfer_state", "pipeline", "state", "since"),
)

# A set of files that goes to a server as one job: a list file of migrate, a few files of daq or lta.
filelist = table(
    "filelist",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("pipeline", Word, nullable=False),
    Column("home", Word, nullable=False),
    Column("name", Name, nullable=False),
    Column("name_key", Key, nullable=False),
    Column("state", Word, nullable=False),
    Column("since", Instant, nullable=False),
    Column("files", Integer, nullable=False),
    Column("planned", Integer, nullable=False, default=0),
    Column("attempt", Integer, nullable=False, default=0),
    Column("next_try", Instant),
    Column("waits_for", Words),
    Column("master_id", BigInteger),
    Column("start", BigInteger),
    Column("length", BigInteger),
    Column("parent_id", BigInteger),
    UniqueConstraint("pipeline", "home", "name_key", name="filelist_name"),
    Index("filelist_state", "pipeline", "state", "since"),
)

ftsjob = table(
    "ftsjob",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("pipeline", Word, nullable=False),
    Column("list_id", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("server", Word, nullable=False),
    Column("sid", Word, nullable=False),
    Column("job", Word, nullable=False),
    Column("vo", Word, nullable=False),
    Column("state", Word, nullable=False),
    Column("fts_state", Word),
    Column("reason", Words),
    Column("rule", Name),
    Column("files", Integer, nullable=False, default=0),
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("canceled_by", Who),
    Column("since", Instant, nullable=False),
    Column("submitted", Instant),
    Column("polled", Instant),
    Column("closed", Instant),
    UniqueConstraint("list_id", "attempt", name="ftsjob_attempt"),
    Index("ftsjob_state", "pipeline", "state", "server", "polled"),
    Index("ftsjob_submitted", "submitted"),
    Index("ftsjob_job", "job"),
)
