"""Arriving disks and the slots they are put into."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from dmtools.lta.api import OPERATOR, WORKER, Ask, Done, Few, Name, Number, Seconds, Short, Size, Why, WordOf
from dmtools.lta.api.bundles import Held

Uuid = Annotated[str, Meta(pattern=r"^[0-9A-Za-z]+(-[0-9A-Za-z]+){4}\Z", max_length=100)]


class Disk(Struct, frozen=True, kw_only=True):
    """A disk as it stands."""

    id: int
    uuid: str
    state: str
    since: datetime
    ready: datetime
    holder: str | None
    fence: int
    home: str | None
    slot: str | None
    at: str | None
    target: str | None
    files: int | None
    bytes: int | None
    files_done: int
    bytes_done: int
    failures: int
    reason: str | None
    seen: datetime | None
    begun: datetime | None
    ended: datetime | None


class Disks(Struct, frozen=True, kw_only=True):
    """A page of disks in the order of their ids."""

    disks: tuple[Disk, ...]
    next: int | None = None


class ListDisks(Ask, frozen=True, kw_only=True):
    """Disks, by state or UUID."""

    METHOD: ClassVar[str] = "GET"
    PATH: ClassVar[str] = "/dump/disks"
    ANSWER: ClassVar[type[Struct]] = Disks

    states: tuple[WordOf, ...] = ()
    uuid: Uuid | None = None
    after: Size = 0
    limit: Few = 100


class Slot(Struct, frozen=True, kw_only=True):
    """A slot as it was seen last: `empty`, `disk`, `bad` or `reserved`."""

    home: str
    path: str
    state: str
    disk: str | None
    reason: str | None
    seen: datetime


class Slots(Struct, frozen=True, kw_only=True):
    """All slots."""

    slots: tuple[Slot, ...]


class ListSlots(Ask, frozen=True, kw_only=True):
    """The slots and what is in them."""

    METHOD: ClassVar[str] = "GET"
    PATH: ClassVar[str] = "/dump/slots"
    ANSWER: ClassVar[type[Struct]] = Slots


class SeenSlot(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in a slot now: `disk` with its UUID and directory `at`, or empty, bad (with why) or reserved."""

    path: Name
    state: Annotated[str, Meta(pattern=r"^(empty|disk|bad|reserved)\Z")]
    uuid: Uuid | None = None
    at: Name | None = None
    reason: Why | None = None


class Inventory(Ask, frozen=True, kw_only=True):
    """What is in the slots.

    Books what the slots of one HOME hold, in one transaction: new disks, disks that are back, disks that are gone.

    A UUID that was dumped before stays Done and is told; one in two slots at once is set aside. Answers the disks that
    are in the slots.
    """

    PATH: ClassVar[str] = "/dump/inventory"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Disks

    home: Short
    slots: Annotated[tuple[SeenSlot, ...], Meta(min_length=1, max_length=1000)]


class ClaimDisks(Ask, frozen=True, kw_only=True):
    """Claims disks to dump.

    Inventoried disks of the HOME, the longest seen first, while fewer than `at_once` are Dumping; lost ones, too.
    """

    PATH: ClassVar[str] = "/dump/disks/claim"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Disks

    home: Short
    at_once: Few
    holder: Short
    seconds: Seconds = 600


class DiskMove(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One legal change of state by the holder; the same state again books progress."""

    id: Number
    fence: Size
    before: WordOf
    to: WordOf
    why: Why | None = None
    failed: bool = False
    keep: bool = False
    target: Name | None = None
    files: Size | None = None
    bytes: Size | None = None
    files_done: Size | None = None
    bytes_done: Size | None = None


class AdvanceDisks(Ask, frozen=True, kw_only=True):
    """Changes states of disks, or books their progress."""

    PATH: ClassVar[str] = "/dump/disks/advance"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Disks

    moves: Annotated[tuple[DiskMove, ...], Meta(min_length=1, max_length=100)]


class ExtendDisks(Ask, frozen=True, kw_only=True):
    """Keeps claims of disks longer."""

    PATH: ClassVar[str] = "/dump/disks/extend"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Done

    held: Annotated[tuple[Held, ...], Meta(min_length=1, max_length=1000)]
    seconds: Seconds = 600


class SetDisk(Ask, frozen=True, kw_only=True):
    """Takes up a disk again, or out.

    What a person may: Inventoried (dump it, or dump it again), Removed.
    """

    PATH: ClassVar[str] = "/dump/disks/{uuid}/set"
    ROLE: ClassVar[str] = OPERATOR
    ANSWER: ClassVar[type[Struct]] = Disk

    uuid: Uuid
    to: WordOf
    why: Why


class Target(Struct, frozen=True, kw_only=True):
    """Where disks are dumped to; `free` as posted by the local site."""

    path: str
    free: int | None


class Targets(Struct, frozen=True, kw_only=True):
    """All targets."""

    targets: tuple[Target, ...]


class ListTargets(Ask, frozen=True, kw_only=True):
    """Where disks were and are dumped to."""

    METHOD: ClassVar[str] = "GET"
    PATH: ClassVar[str] = "/dump/targets"
    ANSWER: ClassVar[type[Struct]] = Targets
