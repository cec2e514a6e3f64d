"""What an FTS3 server says of jobs and files, and which id it gives to a job: without any of its client."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

BASE_ID = uuid.UUID("01874efb-4735-4595-bc9c-591aef8240c9")  # FTS3's own, under which job ids follow from VO and sid
BULK = 100  # ids a request: a URL line holds some 215
TERMINAL = frozenset(("FINISHED", "FAILED", "FINISHEDDIRTY", "CANCELED"))
UNDER_WAY = frozenset(("SUBMITTED", "READY", "ACTIVE", "STAGING", "ARCHIVING", "QOS_TRANSITION", "QOS_REQUEST_SUBMITTED"))


@dataclass(frozen=True)
class FileStatus:
    """One file of a job as the server tells it."""

    source: str
    destination: str
    state: str
    reason: str
    started: bool


@dataclass(frozen=True)
class JobStatus:
    """One job as the server tells it; state `""`: it doesn't know the job."""

    job: str
    state: str
    reason: str
    files: tuple[FileStatus, ...]


def job_id(vo: str, sid: str) -> str:
    """The id that FTS3 gives to a job with a deterministic sid: known before it is sent."""
    return str(uuid.uuid5(uuid.uuid5(BASE_ID, vo), sid))
