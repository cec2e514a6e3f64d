"""What the pages say: states as signs and words, instants with their zone, sizes, and what a shifter is to do."""

from __future__ import annotations

from datetime import datetime, timedelta

from dmtools import clock
from dmtools.dqm.freshness import BROKEN, DOWN, FRESH, STALE
from dmtools.dqm.record import CLOSED, CRASHED, OPEN, OTHER, RUNNING, STOPPED, UNKNOWN, Job, Page

# A sign beside each word: nothing is told by its colour alone.
VERDICT_SIGNS = {FRESH: "✓", STALE: "◔", DOWN: "✕", BROKEN: "?"}
JOB_SIGNS = {RUNNING: "▶", STOPPED: "■", CRASHED: "✕", UNKNOWN: "?"}
LINK_SIGNS = {OPEN: "●", CLOSED: "○", OTHER: "◐"}
STEPS = {
    FRESH: "",
    STALE: "Do not judge the run by this page: look at the page inside. If that is well and this one stays so for five minutes, "
    "call the expert on duty.",
    DOWN: "Look at the page inside. If that is well, call the expert on duty for this mirror: dm-monitoring dqm says more.",
    BROKEN: "Look at the page inside, and tell the expert on duty for this mirror: the program must learn the new page.",
}


def moment(at: datetime | None) -> str:
    """`2026-11-26 12:00:03 CET`."""
    return "–" if at is None else clock.local(at)


def zone() -> str:
    """The zone of all times shown: `CET (UTC+01:00)`."""
    at = clock.now().astimezone()
    offset = at.strftime("%z")
    return f"{at.strftime('%Z')} (UTC{offset[:3]}:{offset[3:]})" if at.utcoffset() else "UTC"


def spoken(seconds: float) -> str:
    """A length of time in a sentence: `45 seconds`, `3 minutes`, `2 hours`."""
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {word}s"
    return f"{int(seconds)} second{'' if int(seconds) == 1 else 's'}"


def instant(job: Job, page: Page) -> datetime | None:
    """When the job's data were made: as the page says, or by the age that it showed when it was grabbed."""
    if job.at is not None or job.age is None:
        return job.at
    return page.grabbed - timedelta(seconds=max(0.0, job.age))


def state(job: Job) -> str:
    """One of the four."""
    return job.state if job.state in JOB_SIGNS else UNKNOWN


def said(job: Job) -> str:
    """Its state in words; a crashed one with its exit code."""
    code = job.exit_code
    return f"{state(job)} {code}" if code is not None and state(job) == CRASHED else state(job)


def memory(size: int | None) -> str:
    """`1,229 MB`."""
    return "–" if size is None else f"{size >> 20:,} MB"


def events(job: Job) -> str:
    """`2,000 (12.5/s)`."""
    if job.events is None:
        return "–"
    return f"{job.events:,}" + (f" ({job.rate:g}/s)" if job.rate is not None else "")


def link(page: Page) -> str:
    """How the page inside stands with its source, in a word."""
    states = [one.state for one in page.links]
    if not states:
        return "the page names none"
    closed = [one for one in states if one != OPEN]
    return "open" if not closed else f"{len(closed)} of {len(states)} not open"
