"""Errands of a remote site: bundles that are wanted back, and bundles to be read again from tape."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from dmtools.lta.api import WORKER, Ask, Done, Few, Name, Number, Seconds, Sha512, Short, Site, Size, Why, WordOf
from dmtools.lta.api.bundles import Bundle, Bundles, Held

Kind = Annotated[str, Meta(pattern=r"^(recall|fixity)\Z")]


class Errand(Struct, frozen=True, kw_only=True):
    """An errand with its bundle. `place`: URL in the export directory."""

    id: int
    kind: str
    bundle: Bundle
    destination: str
    state: str
    since: datetime
    ready: datetime
    holder: str | None
    fence: int
    failures: int
    reason: str | None
    asked_by: str
    job: str | None
    place: str | None


class Errands(Struct, frozen=True, kw_only=True):
    """A page of errands in the order of their ids."""

    errands: tuple[Errand, ...]
    next: int | None = None


class ListErrands(Ask, frozen=True, kw_only=True):
    """Errands, by kind, state, bundle."""

    METHOD: ClassVar[str] = "GET"
    PATH: ClassVar[str] = "/errands"
    ANSWER: ClassVar[type[Struct]] = Errands

    kind: Kind | None = None
    states: tuple[WordOf, ...] = ()
    bundle_id: Number | None = None
    after: Size = 0
    limit: Few = 100


class AddErrands(Ask, frozen=True, kw_only=True):
    """Asks a remote site for bundles, or to read them again.

    A bundle that has an open errand of the kind keeps that one; only bundles that are proved on tape can have any.
    """

    PATH: ClassVar[str] = "/errands"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Errands

    kind: Kind
    bundles: Annotated[tuple[Number, ...], Meta(min_length=1, max_length=1000)]


class ClaimErrands(Ask, frozen=True, kw_only=True):
    """Claims errands for some time."""

    PATH: ClassVar[str] = "/errands/claim"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Errands

    states: Annotated[tuple[WordOf, ...], Meta(min_length=1)]
    destination: Site
    most: Few = 1
    holder: Short
    seconds: Seconds = 600
    ids: tuple[Number, ...] = ()


class ErrandMove(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As BundleMove. ExportReady and FixityDone need the sha512 that was read; a FixityProblem quarantines its bundle
    when `differs`: the tape answers, and has other bytes or none.
    """

    id: Number
    fence: Size
    before: WordOf
    to: WordOf
    why: Why | None = None
    failed: bool = False
    wait: Annotated[int, Meta(ge=0, le=30 * 86400)] = 0
    keep: bool = False
    sha512: Sha512 | None = None
    differs: bool = False
    place: Name | None = None
    job: Short | None = None


class AdvanceErrands(Ask, frozen=True, kw_only=True):
    """Changes states of errands, all or none."""

    PATH: ClassVar[str] = "/errands/advance"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Errands

    moves: Annotated[tuple[ErrandMove, ...], Meta(min_length=1, max_length=1000)]


class ExtendErrands(Ask, frozen=True, kw_only=True):
    """Keeps claims of errands longer."""

    PATH: ClassVar[str] = "/errands/extend"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Done

    held: Annotated[tuple[Held, ...], Meta(min_length=1, max_length=1000)]
    seconds: Seconds = 600


class ReleaseErrands(Ask, frozen=True, kw_only=True):
    """Hands claims of errands back."""

    PATH: ClassVar[str] = "/errands/release"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Done

    held: Annotated[tuple[Held, ...], Meta(min_length=1, max_length=1000)]


class Due(Bundles, frozen=True, kw_only=True):
    """Bundles to be read again, those that were proved or read longest ago first.

    `proved`: how many are proved on tape at all; `asked`: how many have an open errand of this kind already.
    """

    proved: int
    asked: int


class DueForAudit(Ask, frozen=True, kw_only=True):
    """Bundles whose copy on tape was neither proved nor read since an instant.

    Those that have an open fixity errand are left out.
    """

    METHOD: ClassVar[str] = "GET"
    PATH: ClassVar[str] = "/errands/due"
    ANSWER: ClassVar[type[Struct]] = Due

    before: datetime
    destination: Site | None = None
    limit: Few = 100
