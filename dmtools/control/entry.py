"""What a pipeline tells of itself, so that the dm-* commands can control, count, trace and check it without knowing it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from dmtools.command.named import named
from dmtools.control import troubles
from dmtools.ledger.journal import States
from dmtools.settings import Settings


@dataclass(frozen=True)
class Component:
    """One command of a pipeline. `cron`: the five fields of its crontab line; empty: people run it by hand.

    `optional`: a site may do without it, or have it elsewhere, so it is not late before it ran here once. `command`: its
    command, where that is not PIPELINE-NAME. `loop`: it goes on by itself, and cron only starts it again.
    """

    name: str
    meaning: str
    cron: str = ""
    arguments: str = ""
    optional: bool = False
    command: str = ""
    loop: bool = False


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

    def record(self) -> dict[str, str]:
        """What every trace says in JSON, without its facts and history."""
        said = {name: getattr(self, name) for name in ("subject", "pipeline", "kind", "state", "why", "next")}
        return said | {"see": self.see and troubles.page(self.see)}


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
    entry: Pipeline | None = None  # who is asked

    def cron_of(self, component: str) -> str:
        """The crontab times of a component of the pipeline that is asked; empty: none, or it isn't known."""
        return self.entry.cron_of(component) if self.entry is not None else ""


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
    """What dm-train-ok and dm-monitoring give a pipeline's own functions."""

    settings: Settings
    connection: Connection
    at: datetime
    entry: Pipeline | None = None  # who is asked

    def age(self, since: datetime) -> float:
        """Seconds since then; 0 for what another clock says is to come."""
        return max(0.0, (self.at - since).total_seconds())


@dataclass(frozen=True)
class Counted:
    """How many items are in each state now, of how many bytes, and since when the oldest of each is in it."""

    number: dict[str, int]
    size: dict[str, int]
    since: dict[str, datetime]


@dataclass(frozen=True)
class Buffer:
    """A place that a pipeline fills: a directory here, whose disk is asked; without a path its owner posts what is free.

    `fills` and `empties`: the states whose inflow takes room there, and gives room back; the forecast stands on them.
    `warning` and `critical`: the least free space in per cent; None: [train_ok] free_*_percent.
    """

    name: str
    path: Path | None = None
    fills: tuple[str, ...] = ()
    empties: tuple[str, ...] = ()
    warning: float | None = None
    critical: float | None = None


@dataclass(frozen=True)
class Stuck:
    """One thing that doesn't move: since when, why, and what to do, as dm-trace says it."""

    subject: str
    kind: str
    state: str
    since: datetime
    why: str
    next: str = ""


@dataclass(frozen=True)
class Note:
    """How one more thing of a pipeline stands, for dm-monitoring: a `disk`, `jobs`, ...; `said` is for people."""

    kind: str
    name: str
    state: str
    said: str
    well: bool = True


@dataclass(frozen=True)
class Pipeline:
    """The entry of one pipeline in the register (`dmtools.pipelines`).

    `open`: states with work left, which the forecast counts; `done`: states whose inflow is the rate; `bad`: states that
    wait for a person. `oldest(connection, states)` gives when the oldest item of each state came into it. `trace`,
    `search` and `near` name functions (`module:function`, loaded only by dm-trace): what has just this name (an iterable
    of Trace), what holds it as a part, what looks like it (iterables of Match); each is asked with a Question. `check` and
    `repair` name dm-check's: (Inspection) -> findings, and (Inspection, findings) -> None. `probes` names what dm-train-ok
    asks beyond what it sees by itself: (Probing) -> an iterable of Figure.

    `ages`: the open states in which an item must not grow old; None: all of them. `buffers` and `stuck` name functions, too:
    (Probing) -> the places that it fills, an iterable of Buffer; and its oldest things that don't move, a few Stuck.
    `duplicates`: (Probing) -> how many items are being moved twice at once. `notes`: (Probing) -> how its disks, jobs and the
    like stand, an iterable of Note. `person`: the command with which a person begins on what is bad; empty: NAME-triage.

    `counts`: (Probing) -> Counted or None, where files say at any time how the items stand; else, and with None, it is what
    the passes booked. `works`: (Probing) -> whether the pipeline works in this HOME, though perhaps no pass of it ever ran here.

    `held`: (Connection, now) -> who holds what by the pipeline's own tables, an iterable of `claims.Claim`; `hand_back`:
    (Ledger, Settings, claims, by) -> those of them that it ended.

    `site`: (Settings) -> a directory of plain files with an index.html, which dm-web shows below /NAME/ to who is signed in.
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
    ages: tuple[str, ...] | None = None
    buffers: str = ""
    stuck: str = ""
    duplicates: str = ""
    notes: str = ""
    person: str = ""
    counts: str = ""
    works: str = ""
    held: str = ""
    hand_back: str = ""
    site: str = ""

    def component_names(self) -> tuple[str, ...]:
        """The names of its components."""
        return tuple(component.name for component in self.components)

    def cron_of(self, component: str) -> str:
        """The crontab times of one of its components; empty: people run it, or there is none of this name."""
        return next((one.cron for one in self.components if one.name == component), "")

    def must_not_age(self) -> tuple[str, ...]:
        """The states in which the age of the oldest item matters."""
        return self.open if self.ages is None else self.ages

    def ask(self, what: str, question: Question | Probing) -> Iterable[Any]:
        """Asks the function that its field `what` names; nothing when it has none."""
        place = getattr(self, what)
        found: Iterable[Any] = named(place)(replace(question, entry=self)) if place else ()
        return found
