"""Full directories and the catalogue."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from dmtools.lta.api import OPERATOR, WORKER, Ask, Done, Few, Name, Number, Seconds, Sha512, Short, Size, Why, WordOf
from dmtools.lta.api.bundles import Held


class Directory(Struct, frozen=True, kw_only=True):
    """A full directory as it stands; `request`: the sum of its plan of bundles."""

    id: int
    ideal: str
    home: str
    path: str
    state: str
    since: datetime
    ready: datetime
    holder: str | None
    fence: int
    files: int
    bytes: int
    request: str | None
    failures: int
    reason: str | None


class Directories(Struct, frozen=True, kw_only=True):
    """A page of directories in the order of their ids."""

    directories: tuple[Directory, ...]
    next: int | None = None


class ListDirectories(Ask, frozen=True, kw_only=True):
    """Full directories, by state or name."""

    METHOD: ClassVar[str] = "GET"
    PATH: ClassVar[str] = "/directories"
    ANSWER: ClassVar[type[Struct]] = Directories

    states: tuple[WordOf, ...] = ()
    name: Name | None = None
    like: Name | None = None
    after: Size = 0
    limit: Few = 100


class NewExpected(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many files a directory has when it is full."""

    ideal: Name
    files: Number


class Expect(Ask, frozen=True, kw_only=True):
    """How many files directories have when they are full."""

    PATH: ClassVar[str] = "/directories/expected"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Done

    expected: Annotated[tuple[NewExpected, ...], Meta(min_length=1, max_length=1000)]


class Seen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a directory of the warehouse holds now."""

    ideal: Name
    path: Name
    files: Size
    bytes: Size


class Verdict(Struct, frozen=True, kw_only=True):
    """Of one directory: `state` None: not full yet, or nobody knows (`expected` None), which is never full."""

    ideal: str
    expected: int | None
    state: str | None


class Verdicts(Struct, frozen=True, kw_only=True):
    """In the order in which they were asked."""

    verdicts: tuple[Verdict, ...]


class Full(Ask, frozen=True, kw_only=True):
    """Books the directories that are full.

    Directories with just the expected number of files become unclaimed; more files than expected: problem.
    """

    PATH: ClassVar[str] = "/directories/full"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Verdicts

    home: Short
    seen: Annotated[tuple[Seen, ...], Meta(min_length=1, max_length=1000)]


class ClaimDirectories(Ask, frozen=True, kw_only=True):
    """Claims directories of a HOME for some time.

    `ids`: only among these.
    """

    PATH: ClassVar[str] = "/directories/claim"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Directories

    states: Annotated[tuple[WordOf, ...], Meta(min_length=1)]
    home: Short
    most: Few = 1
    holder: Short
    seconds: Seconds = 600
    ids: tuple[Number, ...] = ()


class DirectoryMove(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As BundleMove."""

    id: Number
    fence: Size
    before: WordOf
    to: WordOf
    why: Why | None = None
    failed: bool = False
    wait: Annotated[int, Meta(ge=0, le=30 * 86400)] = 0
    keep: bool = False
    request: WordOf | None = None


class AdvanceDirectories(Ask, frozen=True, kw_only=True):
    """Changes states of directories, all or none."""

    PATH: ClassVar[str] = "/directories/advance"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Directories

    moves: Annotated[tuple[DirectoryMove, ...], Meta(min_length=1, max_length=1000)]


class ExtendDirectories(Ask, frozen=True, kw_only=True):
    """Keeps claims of directories longer."""

    PATH: ClassVar[str] = "/directories/extend"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Done

    held: Annotated[tuple[Held, ...], Meta(min_length=1, max_length=1000)]
    seconds: Seconds = 600


class SetDirectory(Ask, frozen=True, kw_only=True):
    """Takes up a directory again, gives it up, or keeps its files.

    What a person may: unclaimed (take it up again), deprecated, neverdelete, LTArequest (delete after all).
    """

    PATH: ClassVar[str] = "/directories/{id}/set"
    ROLE: ClassVar[str] = OPERATOR
    ANSWER: ClassVar[type[Struct]] = Directory

    id: Number
    to: WordOf
    why: Why


class CatalogueFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file must be."""

    lfn: Name
    size: Size
    sha512: Sha512


class LoadCatalogue(Ask, frozen=True, kw_only=True):
    """Adds to the catalogue.

    The same again is no error; other content under the same LFN is a Conflict.
    """

    PATH: ClassVar[str] = "/catalogue"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Done

    files: Annotated[tuple[CatalogueFile, ...], Meta(min_length=1, max_length=1000)]


class Catalogue(Struct, frozen=True, kw_only=True):
    """What the catalogue has of them; those it doesn't have are missing."""

    files: tuple[CatalogueFile, ...]


class LookUp(Ask, frozen=True, kw_only=True):
    """What files must be, by the catalogue."""

    PATH: ClassVar[str] = "/catalogue/find"
    ANSWER: ClassVar[type[Struct]] = Catalogue

    lfns: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=1000)]
