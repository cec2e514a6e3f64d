"""What FTS3 calls things: keys of jobs and files in its JSON, states, the tables that hold them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from dmtools import clock

BASE_ID = uuid.UUID("01874efb-4735-4595-bc9c-591aef8240c9")
CANCELED_BY_USER = "Job canceled by the user"
SOME_FAILED = "One or more files failed. Please have a look at the details for more information"
QUEUE_TIMEOUT = "Job has been canceled because it stayed in the queue for too long (max-time-in-queue timeout)"
STAGING_TIMEOUT = "SOURCE [110] bring-online timeout has been exceeded"
ARCHIVE_TIMEOUT = "Transfer has been forced-canceled because it has been in ARCHIVING state beyond its archive timeout"

JOB_KEYS = (
    "verify_checksum",
    "submit_host",
    "internal_job_params",
    "user_dn",
    "dst_file_report",
    "job_metadata",
    "job_id",
    "cred_id",
    "overwrite_flag",
    "retry",
    "source_se",
    "vo_name",
    "job_finished",
    "retry_delay",
    "dest_se",
    "reason",
    "copy_pin_lifetime",
    "os_project_id",
    "source_spacetoken",
    "job_state",
    "submit_time",
    "bring_online",
    "job_type",
    "priority",
    "archive_timeout",
    "destination_spacetoken",
    "cancel_job",
    "max_time_in_queue",
    "target_qos",
)
FILE_KEYS = (
    "file_index",
    "transfer_host",
    "finish_time",
    "throughput",
    "bringonline_token",
    "job_id",
    "source_surl",
    "start_time",
    "retry",
    "log_file",
    "dest_surl_uuid",
    "dest_surl",
    "archive_start_time",
    "user_filesize",
    "activity",
    "log_debug",
    "vo_name",
    "staging_host",
    "archive_finish_time",
    "file_metadata",
    "scitag",
    "recoverable",
    "source_se",
    "reason",
    "internal_file_params",
    "staging_metadata",
    "src_token_id",
    "dest_se",
    "filesize",
    "pid",
    "archive_metadata",
    "dst_token_id",
    "file_id",
    "priority",
    "checksum",
    "staging_start",
    "staging_finished",
    "file_state_initial",
    "hashed_id",
    "file_state",
    "tx_duration",
    "selection_strategy",
)
NOT_IN_ARCHIVED_JOB = ("retry_delay", "os_project_id")
NOT_IN_ARCHIVED_FILE = (
    "activity",
    "vo_name",
    "priority",
    "recoverable",
    "dest_surl_uuid",
    "hashed_id",
    "log_file",
    "src_token_id",
    "dst_token_id",
)
_FILE_CONSTANTS = {
    "bringonline_token": "NULL",
    "log_file": "NULL",
    "log_debug": "NULL",
    "internal_file_params": "NULL",
    "file_state_initial": "''",
}
_OF_THE_JOB = {"job_id": "jobs.job_id", "vo_name": "jobs.vo_name"}
JSON_KEYS = frozenset({"job_metadata", "file_metadata", "staging_metadata", "archive_metadata"})
FLAG_KEYS = frozenset({"dst_file_report", "cancel_job", "recoverable"})
FILE_COLUMNS = tuple(key for key in FILE_KEYS if key not in _FILE_CONSTANTS and key not in _OF_THE_JOB)

JOB_ACTIVE = ("STAGING", "SUBMITTED", "READY", "ACTIVE", "ARCHIVING")
JOB_TERMINAL = ("FINISHED", "FAILED", "FINISHEDDIRTY", "CANCELED")
MOVING = ("STAGING", "STARTED", "SUBMITTED", "READY", "ACTIVE", "ON_HOLD", "ON_HOLD_STAGING")
FILE_ACTIVE = (*MOVING, "ARCHIVING")


def quoted(states: tuple[str, ...]) -> str:
    """States as an SQL list."""
    return "(" + ",".join(f"'{state}'" for state in states) + ")"


def file_expression(key: str) -> str:
    """The SQL expression of one key of a file's JSON."""
    return _FILE_CONSTANTS.get(key) or _OF_THE_JOB.get(key) or f"files.{key}"


SCHEMA = f"""
CREATE TABLE IF NOT EXISTS jobs(n INTEGER PRIMARY KEY, {", ".join(JOB_KEYS)},
  archived INTEGER NOT NULL DEFAULT 0, first_file INTEGER NOT NULL, last_file INTEGER NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS jobs_id ON jobs(job_id) WHERE archived=0;
CREATE INDEX IF NOT EXISTS jobs_all_ids ON jobs(job_id);
CREATE INDEX IF NOT EXISTS jobs_open ON jobs(n) WHERE job_finished IS NULL;
CREATE INDEX IF NOT EXISTS jobs_finished ON jobs(job_finished) WHERE archived=0;
CREATE INDEX IF NOT EXISTS jobs_waiting ON jobs(max_time_in_queue)
  WHERE max_time_in_queue IS NOT NULL AND job_finished IS NULL;
CREATE TABLE IF NOT EXISTS files(file_id INTEGER PRIMARY KEY, job INTEGER NOT NULL, not_before REAL NOT NULL DEFAULT 0,
  archive_until REAL, link TEXT NOT NULL, {", ".join(key for key in FILE_COLUMNS if key != "file_id")});
CREATE INDEX IF NOT EXISTS files_states ON files(job, file_state);
CREATE INDEX IF NOT EXISTS files_queue ON files(priority DESC, file_id) WHERE file_state='SUBMITTED';
CREATE INDEX IF NOT EXISTS files_timers ON files(not_before) WHERE file_state IN ('STAGING','STARTED','ARCHIVING');
CREATE INDEX IF NOT EXISTS files_held ON files(file_id) WHERE file_state IN ('ON_HOLD','ON_HOLD_STAGING');
CREATE INDEX IF NOT EXISTS files_running ON files(file_id) WHERE file_state IN ('READY','ACTIVE');
CREATE INDEX IF NOT EXISTS files_dying ON files(file_id) WHERE file_state='CANCELED' AND finish_time IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS files_destinations ON files(dest_surl_uuid) WHERE dest_surl_uuid IS NOT NULL;
CREATE TABLE IF NOT EXISTS retries(file_id INTEGER NOT NULL, attempt INTEGER NOT NULL, datetime TEXT NOT NULL,
  reason TEXT NOT NULL, transfer_host TEXT);
CREATE INDEX IF NOT EXISTS retries_files ON retries(file_id);
CREATE TABLE IF NOT EXISTS copies(copy INTEGER PRIMARY KEY, destination TEXT NOT NULL, source TEXT NOT NULL,
  job_id TEXT NOT NULL, file_id INTEGER NOT NULL, started_at TEXT NOT NULL, opened_at TEXT, identity TEXT,
  closed_at TEXT, outcome TEXT);
CREATE INDEX IF NOT EXISTS copies_open ON copies(copy) WHERE closed_at IS NULL;
CREATE TABLE IF NOT EXISTS submissions(submission INTEGER PRIMARY KEY, job_id TEXT NOT NULL, sid TEXT, at TEXT NOT NULL,
  answered INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS fault_uses(fault TEXT PRIMARY KEY, uses INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS bans(kind TEXT NOT NULL, name TEXT NOT NULL, status TEXT, allow_submit INTEGER, since TEXT,
  PRIMARY KEY(kind, name));
"""


class Refused(Exception):
    """A request that is answered with an HTTP error and FTS3's text for it."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


class User(Struct, frozen=True):
    """The one who holds the server's token."""

    dn: str
    vo: str
    delegation_id: str
    root: bool

    @property
    def vo_id(self) -> uuid.UUID:
        """The name space of this VO's deterministic job ids."""
        return uuid.uuid5(BASE_ID, self.vo)


class Task(Struct):
    """One file to copy, as the scheduler hands it to a copying thread."""

    file_id: int
    job: int
    job_id: str
    source: str
    destination: str
    checksum: str
    mode: str
    overwrite: bool
    strict: bool
    cleanup: bool
    report: bool
    timeout: float
    attempt: int
    retries: int
    retry_delay: int
    archive_timeout: int
    link: str
    copy: int = 0


def now_text(seconds_ago: float = 0) -> str:
    """An instant as FTS3 writes it: UTC, whole seconds, no zone."""
    instant = clock.now()
    if seconds_ago:
        instant = datetime.fromtimestamp(instant.timestamp() - seconds_ago, UTC)
    return instant.strftime("%Y-%m-%dT%H:%M:%S")


def epoch() -> float:
    """Seconds since 1970 by the house's clock."""
    return clock.now().timestamp()


def value_of(key: str, stored: object) -> object:
    """A column as JSON shows it: flags are booleans, metadata are already JSON."""
    if stored is None:
        return None
    if key in JSON_KEYS:
        return msgspec.Raw(str(stored).encode())
    return bool(stored) if key in FLAG_KEYS else stored
