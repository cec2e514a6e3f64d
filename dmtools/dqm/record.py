"""What robber, parser and server tell each other, as typed JSON files. Instants have their zone; they are written in UTC."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from dmtools import durable

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
RUNNING, STOPPED, CRASHED, UNKNOWN = "running", "stopped", "crashed", "unknown"  # of a job
JOB_STATES = (RUNNING, STOPPED, CRASHED, UNKNOWN)
OPEN, CLOSED, OTHER = "open", "closed", "other"  # of a link between the page and its source
# Why a page can't be had. Public: it names no host and no address; the robber's log has the details.
AWAY, REFUSED, SLOW, NO_BROWSER, WRONG = "away", "refused", "too slow", "no browser", "failed"
TROUBLES = (AWAY, REFUSED, SLOW, NO_BROWSER, WRONG)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job. `key` is made of its own id and tells nothing; None: the page does not say, or it was not understood."""

    key: str
    host: str
    state: str
    at: Instant | None = None  # when its data were made
    age: float | None = None  # seconds, as the page showed it
    exit_code: int | None = None
    tag: str | None = None
    lumi: int | None = None
    rss_bytes: int | None = None
    events: int | None = None
    rate: float | None = None  # events a second
    log: str | None = None  # its log's file in the generation


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A connection of the page to a source of its data; `said` is the page's own word for its state."""

    name: str
    state: str
    said: str = ""


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """A graph of the page and its PNG file in the generation."""

    name: str
    file: str


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """page.json of a public generation: one run of one site, clean of what is private."""

    schema: int = 1
    site: str
    live: bool  # False: an old run
    run: int | None
    original_run: int | None = None  # of playback: the run that is played
    grabbed: Instant  # when the robber got this content first
    data: Instant | None = None  # the newest instant of its own data
    links: tuple[Link, ...] = ()
    jobs: tuple[Job, ...] = ()
    runs: tuple[int, ...] = ()  # old runs that the page names
    graphs: tuple[Graph, ...] = ()
    withheld: int = 0  # texts and pictures that could not be cleaned, so they are not shown


class RobberSays(msgspec.Struct, frozen=True, kw_only=True):
    """raw/SITE/robber.json: how the robber stands with one site."""

    schema: int = 1
    site: str
    at: Instant  # when this was written
    tried: Instant | None = None  # when the last grab began
    confirmed: Instant | None = None  # when the page last was got, changed or not
    generation: str | None = None  # the name of the live generation that it was then
    failures: int = 0  # since it last was got
    since: Instant | None = None  # the first of them
    trouble: str = ""  # one of the words above; empty: none
    next_try: Instant | None = None
    browser: str = ""  # chromium, firefox or http


class SiteSays(msgspec.Struct, frozen=True, kw_only=True):
    """public/SITE/site.json: what the parser knows of one site; the verdict is for those who read it (`freshness`)."""

    schema: int = 1
    site: str
    title: str
    at: Instant  # when this was written: the parser lives
    live: str | None = None  # the mark of the public live generation
    heard: Instant | None = None  # when the robber last said anything
    confirmed: Instant | None = None  # when the page last was got
    trouble: str = ""  # of the robber, as above
    trouble_since: Instant | None = None
    broken_since: Instant | None = None  # what was got since then is not understood
    data: Instant | None = None  # of the live page: the newest instant of its data
    link: str = ""  # open, closed or other; empty: the page names none
    running: int = 0  # jobs
    old_runs: tuple[int, ...] = ()  # that are published
    old_broken: tuple[int, ...] = ()  # that are not understood


def counts(jobs: Iterable[Job]) -> dict[str, int]:
    """How many jobs are in each state; a state that is none of the four is unknown."""
    found = Counter(job.state if job.state in JOB_STATES else UNKNOWN for job in jobs)
    return {state: found[state] for state in JOB_STATES}


def worst_link(states: Collection[str]) -> str:
    """Of the states of a page's links; empty: it names none."""
    return next((state for state in (CLOSED, OTHER, OPEN) if state in states), "")


Told = TypeVar("Told", RobberSays, SiteSays, Page)


def read(path: Path, kind: type[Told]) -> Told | None:
    """What a file tells; None when it isn't there, or holds something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None


def write(path: Path, told: RobberSays | SiteSays) -> None:
    """Replaces the file at once. Raises OSError."""
    durable.write_file(path, msgspec.json.encode(told))
