"""daq: its disks, files and zips."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, UniqueConstraint, inspect, text
from sqlalchemy.schema import SchemaItem

from dmtools.ledger.types import Id, Instant, Key, Name, Word, Words

revision = "0003"
down_revision = "0002"


INDEXES = {
    "daq_file": {
        "daq_file_state": ["state", "since"],
        "daq_file_disk": ["disk_id", "state", "freed"],
        "daq_file_zip": ["zip_id"],
    },
    "daq_zip": {"daq_zip_state": ["state", "since"], "daq_zip_audited": ["state", "audited"]},
}
FEW = {"daq_file_zip": text("zip_id IS NOT NULL")}


def _make(name: str, *columns: SchemaItem) -> None:
    """MariaDB books each statement by itself: an upgrade that was cut short finds what it made."""
    found = inspect(op.get_bind())
    if name not in found.get_table_names():
        op.create_table(name, *columns)
    there = {index["name"] for index in inspect(op.get_bind()).get_indexes(name)}
    for index, names in INDEXES.get(name, {}).items():
        if index not in there:
            op.create_index(index, name, names, sqlite_where=FEW.get(index))


def upgrade() -> None:
    """Makes the three tables."""
    _make(
        "daq_disk",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("home", Word, nullable=False),
        Column("path", Name, nullable=False),
        Column("path_key", Key, nullable=False),
        Column("state", Word, nullable=False),
        Column("since", Instant, nullable=False),
        Column("flagged", Instant),
        Column("scan", BigInteger, nullable=False),
        Column("scanned", Instant),
        Column("root", Word),
        Column("reason", Words),
        UniqueConstraint("home", "path_key", name="daq_disk_path"),
    )
    _make(
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
        Column("failures", Integer, nullable=False),
        Column("next_try", Instant),
        Column("error_class", Word),
        Column("reason", Words),
        Column("twin_id", BigInteger),
        Column("zip_id", BigInteger),
        Column("freed", Instant),
    )
    _make(
        "daq_zip",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("name", Name, nullable=False),
        Column("name_key", Key, nullable=False, unique=True),
        Column("state", Word, nullable=False),
        Column("since", Instant, nullable=False),
        Column("files", Integer, nullable=False),
        Column("bytes", BigInteger, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("failures", Integer, nullable=False),
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
    )
