"""What is in bundles."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from dmtools.lta.api import WORKER, Adler32, Ask, Done, Few, Name, Number, Sha512, Size


class NewFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file in a bundle; `source` and `mtime_ns`: where it lay when it was bundled."""

    name: Name
    size: Size
    sha512: Sha512
    adler32: Adler32
    source: Name | None = None
    mtime_ns: Size | None = None


class AddFiles(Ask, frozen=True, kw_only=True):
    """What is in a bundle.

    The same again is no error; other content under the same name is a Conflict.
    """

    PATH: ClassVar[str] = "/bundles/{id}/files"
    ROLE: ClassVar[str] = WORKER
    ANSWER: ClassVar[type[Struct]] = Done

    id: Number
    files: Annotated[tuple[NewFile, ...], Meta(min_length=1, max_length=1000)]


class File(Struct, frozen=True, kw_only=True):
    """A file in a bundle."""

    id: int
    bundle_id: int
    name: str
    size: int
    sha512: str
    adler32: str
    source: str | None
    mtime_ns: int | None


class Files(Struct, frozen=True, kw_only=True):
    """A page of files in the order of their ids."""

    files: tuple[File, ...]
    next: int | None = None


class ListFiles(Ask, frozen=True, kw_only=True):
    """What is in a bundle, page by page."""

    METHOD: ClassVar[str] = "GET"
    PATH: ClassVar[str] = "/bundles/{id}/files"
    ANSWER: ClassVar[type[Struct]] = Files

    id: Number
    after: Size = 0
    limit: Few = 1000


class FindFiles(Ask, frozen=True, kw_only=True):
    """In which bundles a file is.

    `name`: exactly; `like`: a part of it (slow: all are looked at).
    """

    METHOD: ClassVar[str] = "GET"
    PATH: ClassVar[str] = "/files"
    ANSWER: ClassVar[type[Struct]] = Files

    name: Name | None = None
    like: Name | None = None
    after: Size = 0
    limit: Few = 100
