"""All tables. The migrations under `migrations/` make them; this file is how the code names them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, UniqueConstraint, text
from sqlalchemy.schema import SchemaItem

from dmtools.ledger.types import Id, Instant, Key, Name, Who, Word, Words

SCHEMA = "0003"  # the newest migration: what this program reads and writes
metadata = MetaData()


def _table(name: str, *columns: SchemaItem, autoincrement: bool = False) -> Table:
    return Table(name, metadata, *columns, sqlite_autoincrement=autoincrement)


installation = _table(
    "installation",
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("uuid", Word, nullable=False),
    Column("created", Instant, nullable=False),
)

# What happened, to which item, when, by whom and why. `kind` and `item` name a row: ("file", transfer.id), ...
journal = _table(
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
tally = _table(
    "tally",
    Column("pipeline", Word, primary_key=True),
    Column("state", Word, primary_key=True),
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

# How many items came into a state in each five minutes: the rates.
flow = _table(
    "flow",
    Column("pipeline", Word, primary_key=True),
    Column("state", Word, primary_key=True),
    Column("bucket", Instant, primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

hold = _table(
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
component = _table(
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
lease = _table(
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
sighting = _table(
    "sighting",
    Column("pipeline", Word, primary_key=True),
    Column("name", Word, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("value", Words, nullable=False),
)

# --- the transfer engine: shared by migrate, daq and lta -----------------------------------------------------------
transfer = _table(
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
filelist = _table(
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

ftsjob = _table(
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

# --- migrate -------------------------------------------------------------------------------------------------------
master = _table(
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

# --- daq -----------------------------------------------------------------------------------------------------------
# A DAQ disk of one HOME. `flagged`: when ReadyToTransfer was seen; `scan`: the number of its last whole scan; `root`: device
# and inode of its root directory then, so that an unmounted disk is not taken for an empty one.
daq_disk = _table(
    "daq_disk",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("home", Word, nullable=False),
    Column("path", Name, nullable=False),
    Column("path_key", Key, nullable=False),
    Column("state", Word, nullable=False),
    Column("since", Instant, nullable=False),
    Column("flagged", Instant),
    Column("scan", BigInteger, nullable=False, default=0),
    Column("scanned", Instant),
    Column("root", Word),
    Column("reason", Words),
    UniqueConstraint("home", "path_key", name="daq_disk_path"),
)

# A file of a DAQ disk. `place_key` is its disk and path, NULL once it is gone from the disk: the same path may come again.
# `lfn_key` is NULL for all but the one file that has the LFN at the site and on tape. Both keys are made by dmtools.daq.lfn.
daq_file = _table(
    "daq_file",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("disk_id", BigInteger, nullable=False),
    Column("path", Name, nullable=False),
    Column("place_key", Key, unique=True),
    Column("lfn", Name, nullable=False),
    Column("lfn_key", Key, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("checksum", Word),
    Column("state", Word, nullable=False),
    Column("since", Instant, nullable=False),
    Column("scan", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False, default=0),
    Column("next_try", Instant),
    Column("error_class", Word),
    Column("reason", Words),
    Column("twin_id", BigInteger),
    Column("zip_id", BigInteger),
    Column("freed", Instant),
    Index("daq_file_state", "state", "since"),
    Index("daq_file_disk", "disk_id", "state", "freed"),
    Index("daq_file_zip", "zip_id", sqlite_where=text("zip_id IS NOT NULL")),  # a million new files have none
)

# A zip on its way to tape, and its one open attempt: `job_key` is written before the batch system is asked for anything.
daq_zip = _table(
    "daq_zip",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("name", Name, nullable=False),
    Column("name_key", Key, nullable=False, unique=True),
    Column("state", Word, nullable=False),
    Column("since", Instant, nullable=False),
    Column("files", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0),
    Column("next_try", Instant),
    Column("error_class", Word),
    Column("reason", Words),
    Column("room", Word),
    Column("job_key", Word),
    Column("job", Word),
    Column("submitted", Instant),
    Column("polled", Instant),
    Column("place", Name),
    Column("zip_size", BigInteger),
    Column("zip_checksum", Word),
    Column("list_id", BigInteger),
    Column("proved", Instant),
    Column("audited", Instant),
    Index("daq_zip_state", "state", "since"),
    Index("daq_zip_audited", "state", "audited"),
)

# --- the status page -----------------------------------------------------------------------------------------------
web_user = _table(
    "web_user",
    Column("name", Word, primary_key=True),
    Column("role", Word, nullable=False),
    Column("password", Word, nullable=False),
    Column("created", Instant, nullable=False),
    Column("changed", Instant, nullable=False),
)

# One row a sign-in. Its key is the hash of the token that the browser holds: who reads the table can't sign in with it.
web_session = _table(
    "web_session",
    Column("token_key", Key, primary_key=True),
    Column("user", Word, nullable=False),
    Column("created", Instant, nullable=False),
    Column("expires", Instant, nullable=False),
    Index("web_session_user", "user"),
)
