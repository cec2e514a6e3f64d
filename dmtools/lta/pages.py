"""Asks that answer page by page -> everything, one thing after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from msgspec.structs import replace

from dmtools.lta.api import Books, answer
from dmtools.lta.api.bundles import Bundle, Bundles, ListBundles
from dmtools.lta.api.directories import Directories, Directory, ListDirectories
from dmtools.lta.api.dump import Disk, Disks, ListDisks
from dmtools.lta.api.errands import Errand, Errands, ListErrands
from dmtools.lta.api.files import File, Files, FindFiles, ListFiles

MOST = 1000


Listing = ListBundles | ListDirectories | ListDisks | ListErrands | ListFiles | FindFiles
P = TypeVar("P", Bundles, Directories, Disks, Errands, Files)


def _pages(books: Books, ask: Listing, kind: type[P]) -> Iterator[P]:
    after: int | None = ask.after
    while after is not None:
        page = answer(books, replace(ask, after=after, limit=MOST), kind)
        yield page
        after = page.next


def bundles(books: Books, ask: ListBundles) -> Iterator[Bundle]:
    """All bundles that the ask is about."""
    return (one for page in _pages(books, ask, Bundles) for one in page.bundles)


def directories(books: Books, ask: ListDirectories) -> Iterator[Directory]:
    """All directories that the ask is about."""
    return (one for page in _pages(books, ask, Directories) for one in page.directories)


def disks(books: Books, ask: ListDisks) -> Iterator[Disk]:
    """All disks that the ask is about."""
    return (one for page in _pages(books, ask, Disks) for one in page.disks)


def errands(books: Books, ask: ListErrands) -> Iterator[Errand]:
    """All errands that the ask is about."""
    return (one for page in _pages(books, ask, Errands) for one in page.errands)


def files(books: Books, ask: ListFiles | FindFiles) -> Iterator[File]:
    """All files that the ask is about."""
    return (one for page in _pages(books, ask, Files) for one in page.files)
