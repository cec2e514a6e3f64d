"""Bundles: list, add, claim, advance, quarantine, reset, history."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from dmtools.lta.api import (
    OPERATOR,
    WORKER,
    Adler32,
    Ask,
    Done,
    Few,
    Name,
    Number,
    Seconds,
    Sha512,
    Short,
    Site,
    Size,
    Why,
    WordOf,
)  # fmt: skip


class Bundle(Struct, frozen=True, kw_only=True):
    """A bundle as it stands. `ideal`: its name at all sites; `name`: URL of its zip at the source; `home`: whose HOME has it.

    `twin`: an earlier bundle for the same destination with the same content, under another name.
    """

    id: int
    destination: str
    ideal: str
    home: str
    name: str
    size: int
    sha512: str
    adler32: str
    files: int | None
    directory_id: int | None
    state: str
    since: datetime
    ready: datetime
    holder: str | None
    fence: int
    failures: int
    error_class: str | None
    reason: str | None
    origin: str | None
    reserved: int
    buffer: str | None
    tape: str | None
    job: str | None
    proved: datetime | None
    audited: datetime | None
    twin: int | None = None


class Bundles(Struct, frozen=True, kw_only=True):
    """A page of bundles in the order of their ids; `next` is the `after` of the next page, None: this was the last."""

    bundles: tuple[Bundle, ...]
    next: int | None = None


class ListBundles(Ask, frozen=True, kw_only=True):
    """Bundles, by state, destination or name, page by page.

    `name`: exactly this ideal name; `like`: a part of it.
    """

    METHOD: ClassVar[str] = "GET"
    PATH: ClassVar[str] = "/bundles"
    ANSWER: ClassVar[type[Struct]] = Bundles

    states: tuple[WordOf, ...] = ()
    destination: Site | None = None
    name: Name | None = None
    like: Name | None = None
    directory_id: Number | None = None
    after: Size = 0
    limit: Few = 100


class GetBundle(Ask, frozen=True, kw_only=True):
    """One bundle."""

    METHOD: ClassVar[str] = "GET"
    PATH: ClassVar[str] = "/bundles/{id}"
    ANSWER: ClassVar[type[Struct]] = Bundle

    id: Number


class Known(Ask, frozen=True, kw_only=True):
    """Which of these names are known for a destination.

    Answers those of the ideal names that live bundles for the destination have.
    """

    PATH: ClassVar[str] = "/bundles/known"
    ANSWER: ClassVar[type[Struct]] = Bundles

    destination: Site
    names: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=1000)]


class Glimpse(Struct, frozen=True, kw_only=True):
    """What a look at a name needs of a bundle."""

    id: int
    ideal: str
    size: int


class Glimpses(Struct, frozen=True, kw_only=True):
    """Bundles in short, in no order."""

    bundles: tuple[Glimpse, ...]


class Glance(Ask, frozen=True, kw_only=True):
    """Which of these names are known for a destination, in short.

    As Known, for those who ask for thousands.
    """

    PATH: ClassVar[str] = "/bundles/glance"
    ANSWER: ClassVar[type[Struct]] = Glimpses

    destination: Site
    names: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=1000)]


class NewBundle(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bundle that appeared."""

    destination: Site
    ideal: Name
    home: Short
    name: Name
    size: Size
    sha512: Sha512
    adler32: Adler32
    files: Size | None = None
    directory_id: Number | None = None


class Added(Struct, frozen=True, kw_only=True):
    """The bundles in the order in which they were given; `new`: how many were not known before."""

    bundles: tuple[Bundle, ...]
    new: int


class AddBundles(Ask, frozen=True, kw_only=True):
    """Adds bundles, each once.

    The same content under the same name again is the same bundle; other content is a Conflict, and nothing is added.
    """

    PATH: ClassVar[str] = "/bundles"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Added

    bundles: Annotated[tuple[NewBundle, ...], Meta(min_length=1, max_length=1000)]


class Claim(Ask, frozen=True, kw_only=True):
    """Claims bundles for some time; each later write proves itself by the fence.

    Claims the longest ready ones. `reserve`: keeps room of the destination's quota for each, in the same transaction.

    While the quota is not known nothing is claimed that needs it; one larger than the whole quota is quarantined.
    `ids`: only among these.
    """

    PATH: ClassVar[str] = "/bundles/claim"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Bundles

    states: Annotated[tuple[WordOf, ...], Meta(min_length=1)]
    destination: Site
    most: Few = 1
    holder: Short
    seconds: Seconds = 600
    reserve: bool = False
    home: Short | None = None
    ids: tuple[Number, ...] = ()


class Held(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A claim: which bundle, and the fence that the claim gave."""

    id: Number
    fence: Size


class Extend(Ask, frozen=True, kw_only=True):
    """Keeps claims longer.

    Answers how many of the claims hold still, and now for longer.
    """

    PATH: ClassVar[str] = "/bundles/extend"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Done

    held: Annotated[tuple[Held, ...], Meta(min_length=1, max_length=1000)]
    seconds: Seconds = 600


class Release(Ask, frozen=True, kw_only=True):
    """Hands claims back; one that is no longer the asker's is left alone.

    Hands claims back with nothing changed; room that was reserved is free again while nothing was sent (Untouched).
    """

    PATH: ClassVar[str] = "/bundles/release"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Done

    held: Annotated[tuple[Held, ...], Meta(min_length=1, max_length=1000)]


class BundleMove(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One legal change of state by the holder. `keep`: the claim stays; `wait`: seconds before it may be claimed again.

    `failed`: it counts as a failed attempt; after [lta] max_attempts of them it is Quarantined instead of `to`. Evidence
    is needed where it is the point: JsonMade -> PushDone and NERSCRunning -> NERSCDone name the `size` and `sha512` (or
    `adler32` for a push) that were read back there, which must be the bundle's.
    """

    id: Number
    fence: Size
    before: WordOf
    to: WordOf
    why: Why | None = None
    failed: bool = False
    error_class: WordOf | None = None
    wait: Annotated[int, Meta(ge=0, le=30 * 86400)] = 0
    keep: bool = False
    size: Size | None = None
    sha512: Sha512 | None = None
    adler32: Adler32 | None = None
    buffer: Name | None = None
    tape: Name | None = None
    job: Short | None = None


class Advance(Ask, frozen=True, kw_only=True):
    """Changes states, all or none; each is a legal change by the holder of the claim.

    All of them or none.
    """

    PATH: ClassVar[str] = "/bundles/advance"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Bundles

    moves: Annotated[tuple[BundleMove, ...], Meta(min_length=1, max_length=1000)]


class Quarantine(Ask, frozen=True, kw_only=True):
    """Sets a bundle aside with a reason.

    With a fence as its holder; without one as an operator.
    """

    PATH: ClassVar[str] = "/bundles/{id}/quarantine"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Bundle

    id: Number
    why: Why
    fence: Size | None = None
    error_class: WordOf | None = None


class Reset(Ask, frozen=True, kw_only=True):
    """Takes a bundle out of quarantine.

    Back to the state it was quarantined in, its failures forgotten, no longer claimed.
    """

    PATH: ClassVar[str] = "/bundles/{id}/reset"
    ROLE: ClassVar[str] = OPERATOR
    ANSWER: ClassVar[type[Struct]] = Bundle

    id: Number
    why: Why


class Set(Ask, frozen=True, kw_only=True):
    """Gives a bundle up, or asks for another try.

    What only a person may: Abort, Retry.
    """

    PATH: ClassVar[str] = "/bundles/{id}/set"
    ROLE: ClassVar[str] = OPERATOR
    ANSWER: ClassVar[type[Struct]] = Bundle

    id: Number
    to: WordOf
    why: Why


class Audited(Ask, frozen=True, kw_only=True):
    """The copy on tape was read again and is right.

    Writes when a bundle's tape copy was read again and found right.
    """

    PATH: ClassVar[str] = "/bundles/{id}/audited"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Bundle

    id: Number


class Step(Struct, frozen=True, kw_only=True):
    """One entry of the journal."""

    at: datetime
    before: str | None
    to: str | None
    by: str
    why: str | None


class History(Struct, frozen=True, kw_only=True):
    """A bundle's journal, the oldest first."""

    steps: tuple[Step, ...]


class BundleHistory(Ask, frozen=True, kw_only=True):
    """All that happened to a bundle."""

    METHOD: ClassVar[str] = "GET"
    PATH: ClassVar[str] = "/bundles/{id}/history"
    ANSWER: ClassVar[type[Struct]] = History

    id: Number
