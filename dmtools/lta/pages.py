"""Asks that answer page by page -> everything, one thing after the other."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from dmtools.lta.api import Books, answer
from dmtools.lta.api.bundles import Bundle, Bundles, ListBundles
from dmtools.lta.api.directories import Directories, Directory, ListDirectories
from dmtools.lta.api.errands import Errand, Errands, ListErrands
from dmtools.lta.api.files import File, Files, FindFiles, ListFiles

MOST = 1000


def bundles(books: Books, ask: ListBundles) -> Iterator[Bundle]:
    """All bundles that the ask is about."""
    after: int | None = ask.after
    while after is not None:
        page = answer(books, replace(ask, after=after, limit=MOST), Bundles)
        yield from page.bundles
        after = page.next


def directories(books: Books, ask: ListDirectories) -> Iterator[Directory]:
    """All directories that the ask is about."""
    after: int | None = ask.after
    while after is not None:
        page = answer(books, replace(ask, after=after, limit=MOST), Directories)
        yield from page.directories
        after = page.next


def errands(books: Books, ask: ListErrands) -> Iterator[Errand]:
    """All errands that the ask is about."""
    after: int | None = ask.after
    while after is not None:
        page = answer(books, replace(ask, after=after, limit=MOST), Errands)
        yield from page.errands
        after = page.next


def files(books: Books, ask: ListFiles | FindFiles) -> Iterator[File]:
    """All files that the ask is about."""
    after: int | None = ask.after
    while after is not None:
        page = answer(books, replace(ask, after=after, limit=MOST), Files)
        yield from page.files
        after = page.next
