"""lta: bundles and what is in them, sites, errands, disks and slots, directories, the catalogue, tokens and answers."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, UniqueConstraint, inspect
from sqlalchemy.schema import SchemaItem

from dmtools.ledger.types import Id, Instant, Key, Name, Who, Word, Words

revision = "0004"
down_revision = "0003"


INDEXES = {
    "lta_bundle": {
        "lta_bundle_state": ["state", "destination", "ready"],
        "lta_bundle_since": ["state", "since"],
        "lta_bundle_ideal": ["ideal_key"],
        "lta_bundle_directory": ["directory_id"],
        "lta_bundle_sha512": ["sha512"],
        "lta_bundle_twin": ["twin"],
    },
    "lta_file": {"lta_file_key": ["name_key"]},
    "lta_errand": {"lta_errand_state": ["state", "destination", "ready"], "lta_errand_bundle": ["bundle_id"]},
    "lta_disk": {"lta_disk_state": ["state", "ready"]},
    "lta_directory": {"lta_directory_state": ["state", "home", "ready"]},
    "lta_answer": {"lta_answer_at": ["at"]},
}


def _make(name: str, *columns: SchemaItem) -> None:
    """MariaDB books each statement by itself: an upgrade that was cut short finds what it made."""
    found = inspect(op.get_bind())
    if name not in found.get_table_names():
        op.create_table(name, *columns)
    there = {index["name"] for index in inspect(op.get_bind()).get_indexes(name)}
    for index, names in INDEXES.get(name, {}).items():
        if index not in there:
            op.create_index(index, name, names)


def upgrade() -> None:
    """Makes the tables."""
    _make(
        "lta_bundle",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("destination", Word, nullable=False),
        Column("ideal", Name, nullable=False),
        Column("ideal_key", Key, nullable=False),
        Column("live_key", Key, unique=True),
        Column("home", Word, nullable=False),
        Column("name", Name, nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("sha512", Word, nullable=False),
        Column("adler32", Word, nullable=False),
        Column("files", BigInteger),
        Column("directory_id", BigInteger),
        Column("state", Word, nullable=False),
        Column("since", Instant, nullable=False),
        Column("ready", Instant, nullable=False),
        Column("holder", Who),
        Column("fence", BigInteger, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("error_class", Word),
        Column("reason", Words),
        Column("origin", Word),
        Column("reserved", BigInteger, nullable=False),
        Column("buffer", Name),
        Column("tape", Name),
        Column("job", Word),
        Column("proved", Instant),
        Column("audited", Instant),
        Column("twin", BigInteger),
    )
    _make(
        "lta_file",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("bundle_id", BigInteger, nullable=False),
        Column("name", Name, nullable=False),
        Column("name_key", Key, nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("sha512", Word, nullable=False),
        Column("adler32", Word, nullable=False),
        Column("source", Name),
        Column("mtime_ns", BigInteger),
        UniqueConstraint("bundle_id", "name_key", name="lta_file_name"),
    )
    _make(
        "lta_site",
        Column("name", Word, primary_key=True),
        Column("state", Word, nullable=False),
        Column("error", Words),
        Column("free", BigInteger),
        Column("quota", BigInteger),
        Column("reserved", BigInteger, nullable=False),
        Column("queue", BigInteger),
        Column("host", Who),
        Column("at", Instant),
    )
    _make(
        "lta_errand",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("kind", Word, nullable=False),
        Column("bundle_id", BigInteger, nullable=False),
        Column("live_key", Key, unique=True),
        Column("destination", Word, nullable=False),
        Column("state", Word, nullable=False),
        Column("since", Instant, nullable=False),
        Column("ready", Instant, nullable=False),
        Column("holder", Who),
        Column("fence", BigInteger, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("reason", Words),
        Column("asked_by", Who, nullable=False),
        Column("job", Word),
        Column("place", Name),
    )
    _make(
        "lta_disk",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("uuid", Word, nullable=False, unique=True),
        Column("state", Word, nullable=False),
        Column("since", Instant, nullable=False),
        Column("ready", Instant, nullable=False),
        Column("holder", Who),
        Column("fence", BigInteger, nullable=False),
        Column("home", Word),
        Column("slot", Name),
        Column("at", Name),
        Column("target", Name),
        Column("files", BigInteger),
        Column("bytes", BigInteger),
        Column("files_done", BigInteger, nullable=False),
        Column("bytes_done", BigInteger, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("reason", Words),
        Column("seen", Instant),
        Column("begun", Instant),
        Column("ended", Instant),
    )
    _make(
        "lta_slot",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("home", Word, nullable=False),
        Column("path", Name, nullable=False),
        Column("path_key", Key, nullable=False),
        Column("state", Word, nullable=False),
        Column("disk", Word),
        Column("reason", Words),
        Column("seen", Instant, nullable=False),
        UniqueConstraint("home", "path_key", name="lta_slot_path"),
    )
    _make(
        "lta_directory",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("ideal", Name, nullable=False),
        Column("ideal_key", Key, nullable=False, unique=True),
        Column("home", Word, nullable=False),
        Column("path", Name, nullable=False),
        Column("state", Word, nullable=False),
        Column("since", Instant, nullable=False),
        Column("ready", Instant, nullable=False),
        Column("holder", Who),
        Column("fence", BigInteger, nullable=False),
        Column("files", BigInteger, nullable=False),
        Column("bytes", BigInteger, nullable=False),
        Column("request", Word),
        Column("failures", Integer, nullable=False),
        Column("reason", Words),
    )
    _make(
        "lta_expected",
        Column("ideal_key", Key, primary_key=True),
        Column("ideal", Name, nullable=False),
        Column("files", BigInteger, nullable=False),
        Column("at", Instant, nullable=False),
    )
    _make(
        "lta_catalogue",
        Column("lfn_key", Key, primary_key=True),
        Column("lfn", Name, nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("sha512", Word, nullable=False),
    )
    _make(
        "lta_token",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("name", Word, nullable=False),
        Column("live_key", Key, unique=True),
        Column("token_key", Key, nullable=False, unique=True),
        Column("role", Word, nullable=False),
        Column("site", Word),
        Column("created", Instant, nullable=False),
        Column("expires", Instant),
        Column("revoked", Instant),
    )
    _make(
        "lta_answer",
        Column("answer_key", Key, primary_key=True),
        Column("ask_key", Key, nullable=False),
        Column("answer", Words, nullable=False),
        Column("at", Instant, nullable=False),
    )
