"""What a pipeline tells of itself, so that the dm-* commands can control, count, trace and check it without knowing it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from dmtools.ledger.journal import States
from dmtools.settings import Settings


@dataclass(frozen=True)
class Component:
    """One command of a pipeline. `cron`: the five fields of its crontab line; empty: people run it by hand."""

    name: str
    meaning: str
    cron: str = ""
    arguments: str = ""


@dataclass(frozen=True)
class Entry:
    """One event of a history; `start` and `end` are the states before and after, None for a mere note."""

    at: datetime
    start: str | None
    end: str | None
    by: str
    why: str | None


@dataclass
class Trace:
    """The life of one thing, where it is now, why it doesn't move, what to do, and the title of the page that says more."""

    subject: str
    pipeline: str
    kind: str
    state: str
    why: str
    next: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    history: list[Entry] = field(default_factory=list)
    see: str = ""


@dataclass(frozen=True)
class Match:
    """One thing that a part of a name found."""

    subject: str
    kind: str
    state: str


@dataclass(frozen=True)
class Question:
    """What dm-trace asks a pipeline: the text as it was typed, against this database at this instant."""

    text: str
    settings: Settings
    connection: Connection
    at: datetime
    limit: int = 20


@dataclass(frozen=True)
class Figure:
    """One thing that dm-train-ok measures. A range is the Monitoring Plugins': what lies in it is well; empty: never an alarm.

    `family` and `unit` (s, B, % or none) name it, `labels` say of what; `value` None: it can't be told. `said` is for
    people; `state` is a verdict that no range can give: OK, WARNING, CRITICAL or UNKNOWN; `see` is the title of the page
    that helps (`troubles`), where it is not that of the family.
    """

    family: str
    labels: dict[str, str]
    value: float | None
    said: str
    unit: str = ""
    warning: str = ""
    critical: str = ""
    state: str = ""
    see: str = ""


@dataclass(frozen=True)
class Probing:
    """What dm-train-ok gives a pipeline's own probes."""

    settings: Settings
    connection: Connection
    at: datetime


@dataclass(frozen=True)
class Pipeline:
    """The entry of one pipeline in the register (`dmtools.pipelines`).

    `open`: states with work left, which the forecast counts; `done`: states whose inflow is the rate; `bad`: states that
    wait for a person. `oldest(connection, states)` gives when the oldest item of each state came into it. `trace`,
    `search` and `near` name functions (`module:function`, loaded only by dm-trace): what has just this name (an iterable
    of Trace), what holds it as a part, what looks like it (iterables of Match); each is asked with a Question. `check` and
    `repair` name dm-check's: (Inspection) -> findings, and (Inspection, findings) -> None. `probes` names what dm-train-ok
    asks beyond what it sees by itself: (Probing) -> an iterable of Figure.
    """

    name: str
    meaning: str
    states: States
    open: tuple[str, ...]
    done: tuple[str, ...]
    bad: tuple[str, ...]
    components: tuple[Component, ...]
    oldest: Callable[[Connection, Sequence[str]], dict[str, datetime]]
    trace: str = ""
    search: str = ""
    near: str = ""
    check: str = ""
    repair: str = ""
    probes: str = ""

    def component_names(self) -> tuple[str, ...]:
        """The names of its components."""
        return tuple(component.name for component in self.components)

    def ask(self, what: str, question: Question) -> Iterable[Any]:
        """Asks its function `trace`, `search` or `near`; nothing when it has none."""
        place = getattr(self, what)
        if not place:
            return ()
        module, _, function = place.partition(":")
        found: Iterable[Any] = getattr(importlib.import_module(module), function)(question)
        return found
