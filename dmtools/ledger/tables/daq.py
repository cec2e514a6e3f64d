"""daq: disks, files and zips."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, UniqueConstraint, text

from dmtools.ledger.tables.frame import table
from dmtools.ledger.types import Id, Instant, Key, Name, Word, Words

# A DAQ disk of one HOME. `flagged`: when ReadyToTransfer was seen; `scan`: the number of its last whole scan; `root`: device
# and inode of its root directory then, so that an unmounted disk is not taken for an empty one.
daq_disk = table(
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
daq_file = table(
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
daq_zip = table(
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
