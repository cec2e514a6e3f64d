"""daq: its disks, files and zips."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, UniqueConstraint

from dmtools.ledger.types import Id, Instant, Key, Name, Word, Words

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Makes the three tables."""
    op.create_table(
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
        Column("reason", Words),
        UniqueConstraint("home", "path_key", name="daq_disk_path"),
    )
    op.create_table(
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
    op.create_index("daq_file_state", "daq_file", ["state", "since"])
    op.create_index("daq_file_disk", "daq_file", ["disk_id", "state"])
    op.create_index("daq_file_zip", "daq_file", ["zip_id"])
    op.create_table(
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
    op.create_index("daq_zip_state", "daq_zip", ["state", "since"])
    op.create_index("daq_zip_audited", "daq_zip", ["state", "audited"])
