"""What was read of a grab before anything is cleaned: private, never written outside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from dmtools.dqm import record

RULES = "1"  # of reading and cleaning; a higher number lets all old runs be made anew
FRAGMENT = 2000  # characters of a place that is not understood which are kept for people

# What is not understood, as public words.
NO_PAGE, NO_JOBS, ROW, CELL, LINK, LOG, RUN, TWICE, DIFFERS, DOCUMENT = (
    *("no such page", "no table of jobs", "row", "cell", "link", "log", "run", "twice", "differs", "document"),
)


class NotUnderstood(Exception):
    """The grab is not what this program knows; `troubles` say where."""

    def __init__(self, *troubles: Trouble) -> None:
        super().__init__("; ".join(trouble.what for trouble in troubles))
        self.troubles = troubles


@dataclass(frozen=True)
class Trouble:
    """One place that is not understood: the kind, which thing (private), and the offending fragment (private)."""

    what: str
    subject: str
    fragment: str = ""


@dataclass
class FoundJob:
    """One job as the page has it. `logs` are its parts in order; `at` is UTC."""

    id: str
    host: str
    pid: int | None = None
    state: str = record.UNKNOWN
    exit_code: int | None = None
    at: datetime | None = None
    age: float | None = None
    tag: str | None = None
    lumi: int | None = None
    rss_bytes: int | None = None
    events: int | None = None
    rate: float | None = None
    logs: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundLink:
    """A connection of the page: its URI, private, and what the page says of it."""

    uri: str
    said: str

    @property
    def state(self) -> str:
        """open: it is live; closed; other: it is being made, or the word is a new one."""
        word = self.word.partition(" ")[0]
        return {"live": record.OPEN, "closed": record.CLOSED, "error": record.CLOSED}.get(word, record.OTHER)

    @property
    def word(self) -> str:
        """The page's own word, if it is one of those that it has; its details may hold anything."""
        found = re.fullmatch(r"(live|open|closed|error|sync|download)(?:: ?(\d{1,3}(?:\.\d)?%)?.*)?", self.said, re.DOTALL)
        return " ".join(filter(None, found.groups())) if found else ""


@dataclass
class FoundPage:
    """One page. `secrets` are words that must not be seen outside, `graphs` the kinds of its graphs in their order."""

    run: int | None = None
    original_run: int | None = None
    links: list[FoundLink] = field(default_factory=list)
    jobs: list[FoundJob] = field(default_factory=list)
    runs: tuple[int, ...] = ()
    graphs: tuple[str, ...] = ()
    secrets: set[str] = field(default_factory=set)
    troubles: list[Trouble] = field(default_factory=list)


def unique(jobs: Sequence[FoundJob]) -> None:
    """Raises NotUnderstood when two rows have one id: nobody could say which is true."""
    seen: set[str] = set()
    for job in jobs:
        if job.id in seen:
            raise NotUnderstood(Trouble(TWICE, job.id))
        seen.add(job.id)


def state_of(exit_code: int | None) -> str:
    """The state of a job whose document is whole: without an exit code it runs."""
    if exit_code is None:
        return record.RUNNING
    return record.STOPPED if exit_code == 0 else record.CRASHED
