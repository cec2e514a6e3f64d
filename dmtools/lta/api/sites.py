"""Sites, the control word, and how all stands."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from dmtools.lta.api import OPERATOR, WORKER, Ask, Short, Size, Why, WordOf
from dmtools.lta.api import Site as SiteName


class SiteState(Struct, frozen=True, kw_only=True):
    """A site as it posted itself last; `age`: seconds since then by the database's clock, None: never."""

    name: str
    state: str
    error: str | None
    free: int | None
    quota: int | None
    reserved: int
    queue: int | None
    host: str | None
    at: datetime | None
    age: float | None
    holders: tuple[str, ...] = ()


class Sites(Struct, frozen=True, kw_only=True):
    """All sites."""

    sites: tuple[SiteState, ...]


class ListSites(Ask, frozen=True, kw_only=True):
    """How the sites stand: state, error, free space, quota, queue, who holds claims."""

    METHOD: ClassVar[str] = "GET"
    PATH: ClassVar[str] = "/sites"
    ANSWER: ClassVar[type[Struct]] = Sites


class Heartbeat(Ask, frozen=True, kw_only=True):
    """A site tells how it is.

    `state`: Run or Error, as the site finds itself; the words of people are asked for with Control. None: not known.
    """

    PATH: ClassVar[str] = "/sites/{name}/heartbeat"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = SiteState

    name: SiteName
    state: Annotated[str, Meta(pattern=r"^(Run|Error)\Z")]
    error: Annotated[str, Meta(max_length=2000)] | None = None
    free: Size | None = None
    quota: Size | None = None
    queue: Size | None = None
    host: Short


class Word(Struct, frozen=True, kw_only=True):
    """The word in force for a component: run, halt or drain; who said it and why."""

    word: str
    by: str | None = None
    why: str | None = None


class Control(Ask, frozen=True, kw_only=True):
    """Run, halt or drain, as it is in force for a component of lta."""

    METHOD: ClassVar[str] = "GET"
    PATH: ClassVar[str] = "/control/{component}"
    ANSWER: ClassVar[type[Struct]] = Word

    component: WordOf


class Say(Ask, frozen=True, kw_only=True):
    """Says run, halt or drain.

    `component` all: the whole pipeline.
    """

    PATH: ClassVar[str] = "/control/{component}"
    ROLE: ClassVar[str] = OPERATOR
    ANSWER: ClassVar[type[Struct]] = Word

    component: WordOf
    word: Annotated[str, Meta(pattern=r"^(run|halt|drain)\Z")]
    why: Why


class Figures(Struct, frozen=True, kw_only=True):
    """Counts and bytes by state; `errands`: those that are open. `duplicates`: shipped twice to one destination (can't be)."""

    counts: dict[str, int]
    bytes: dict[str, int]
    disks: dict[str, int]
    directories: dict[str, int]
    errands: dict[str, int]
    duplicates: int


class Status(Ask, frozen=True, kw_only=True):
    """How many things are in which state."""

    METHOD: ClassVar[str] = "GET"
    PATH: ClassVar[str] = "/status"
    ANSWER: ClassVar[type[Struct]] = Figures
