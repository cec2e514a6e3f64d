"""What daq-archive tells: the same words for the same trouble."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dmtools import clock
from dmtools.batch import Status
from dmtools.control.passes import Pass
from dmtools.daq.states import BAD, WAITING
from dmtools.daq.zips import Step, Zip

CORRECT = "correct [daq] batch_options, memory_mb or job_seconds; the next pass submits it again"


def steps(this: Pass, booked: Sequence[Step]) -> None:
    """Attempts that failed: those that come again, and those that need a person."""
    for one in booked:
        lfn = one.zip.shown
        if one.after == BAD:
            left = "its files stay at the site"
            advice = f"put it right, then: daq-archive --retry {one.values.get('error_class')}"
            this.problem("Bad", lfn, why=one.why, left=left, next=advice)
        elif one.after == WAITING:
            until = clock.local(one.values["next_try"])
            left = "its files stay at the site"
            this.problem("zip job failed", lfn, why=one.why, left=left, next=f"done again after {until}", failed=False)


def held_job(this: Pass, one: Zip, status: Status, until: datetime) -> None:
    """A job that the batch system will not run by itself."""
    left = "its files stay at the site"
    advice = f"release it in the batch system; else it is ended and done again after {clock.local(until)}"
    why = f"job {status.id or one.job_key}: {status.reason or 'no reason is given'}"
    this.problem("zip job held", one.shown, why=why, left=left, next=advice, failed=False)


def refused_job(this: Pass, one: Zip, status: Status) -> None:
    """A job that the batch system does not take: it has none of it."""
    left = "its files stay at the site; no attempt is counted"
    why = f"job {one.job_key}: {status.reason}"
    this.problem("zip job refused", one.shown, why=why, left=left, next=CORRECT, failed=False)


def unproved_zip(this: Pass, one: Zip, why: str) -> None:
    """A zip of which the storage can't say now whether it is there."""
    left = "it stays as it is, neither done nor failed"
    this.problem("zip not proved yet", one.shown, why=why, left=left, next="the next pass asks again", failed=False)
