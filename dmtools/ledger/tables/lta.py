"""lta: bundles and what is in them, sites, errands, disks and slots, directories, the catalogue, tokens, answers."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, UniqueConstraint

from dmtools.ledger.tables.frame import table
from dmtools.ledger.types import Id, Instant, Key, Name, Who, Word, Words

# A bundle on its way to one destination. `live_key` is its destination and ideal name, NULL once it is dead. It can be claimed
# when `ready` has come; a claim moves that on, and makes `fence` larger: with it each later write proves that it is the
# last holder's. `reserved`: bytes of the destination's quota that are kept for it; `origin`: the state it was quarantined in;
# `twin`: an earlier bundle for the same destination with the same content, under another name.
lta_bundle = table(
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
    Column("fence", BigInteger, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0),
    Column("error_class", Word),
    Column("reason", Words),
    Column("origin", Word),
    Column("reserved", BigInteger, nullable=False, default=0),
    Column("buffer", Name),
    Column("tape", Name),
    Column("job", Word),
    Column("proved", Instant),
    Column("audited", Instant),
    Column("twin", BigInteger),
    Index("lta_bundle_state", "state", "destination", "ready"),
    Index("lta_bundle_since", "state", "since"),
    Index("lta_bundle_ideal", "ideal_key"),
    Index("lta_bundle_directory", "directory_id"),
    Index("lta_bundle_sha512", "sha512"),
    Index("lta_bundle_twin", "twin"),
)

# What is in a bundle, from its manifest. `source`: where it lay here, with its mtime then; NULL where it isn't known.
lta_file = table(
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
    Index("lta_file_key", "name_key"),
)

# What a site posted of itself last. `reserved`: the sum of what its bundles have reserved.
lta_site = table(
    "lta_site",
    Column("name", Word, primary_key=True),
    Column("state", Word, nullable=False),
    Column("error", Words),
    Column("free", BigInteger),
    Column("quota", BigInteger),
    Column("reserved", BigInteger, nullable=False, default=0),
    Column("queue", BigInteger),
    Column("host", Who),
    Column("at", Instant),
)

# What a remote site is asked to do with a bundle on its tape: bring it back, or read it again.
lta_errand = table(
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
    Column("fence", BigInteger, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0),
    Column("reason", Words),
    Column("asked_by", Who, nullable=False),
    Column("job", Word),
    Column("place", Name),
    Index("lta_errand_state", "state", "destination", "ready"),
    Index("lta_errand_bundle", "bundle_id"),
)

# An arriving disk, by its UUID. `at`: the directory where it is seen; `slot`: the slot's name.
lta_disk = table(
    "lta_disk",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("uuid", Word, nullable=False, unique=True),
    Column("state", Word, nullable=False),
    Column("since", Instant, nullable=False),
    Column("ready", Instant, nullable=False),
    Column("holder", Who),
    Column("fence", BigInteger, nullable=False, default=0),
    Column("home", Word),
    Column("slot", Name),
    Column("at", Name),
    Column("target", Name),
    Column("files", BigInteger),
    Column("bytes", BigInteger),
    Column("files_done", BigInteger, nullable=False, default=0),
    Column("bytes_done", BigInteger, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0),
    Column("reason", Words),
    Column("seen", Instant),
    Column("begun", Instant),
    Column("ended", Instant),
    Index("lta_disk_state", "state", "ready"),
)

# A slot as it was seen last: empty, disk, bad or reserved.
lta_slot = table(
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

# A directory of the warehouse that is full, and its way into bundles.
lta_directory = table(
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
    Column("fence", BigInteger, nullable=False, default=0),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("request", Word),
    Column("failures", Integer, nullable=False, default=0),
    Column("reason", Words),
    Index("lta_directory_state", "state", "home", "ready"),
)

# How many files a directory has when it is full.
lta_expected = table(
    "lta_expected",
    Column("ideal_key", Key, primary_key=True),
    Column("ideal", Name, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
)

# What a file must be, by the experiment's catalogue.
lta_catalogue = table(
    "lta_catalogue",
    Column("lfn_key", Key, primary_key=True),
    Column("lfn", Name, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha512", Word, nullable=False),
)

# Who may ask lta-rest-server for what. Only the hash of a token is kept.
lta_token = table(
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

# The answer to each write by its idempotency key, kept in the transaction of the write: a repeat gets the same.
lta_answer = table(
    "lta_answer",
    Column("answer_key", Key, primary_key=True),
    Column("ask_key", Key, nullable=False),
    Column("answer", Words, nullable=False),
    Column("at", Instant, nullable=False),
    Index("lta_answer_at", "at"),
)
