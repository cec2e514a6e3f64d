"""The directory that a bundle was made of: whether its files may go, and whether they all are gone."""

from __future__ import annotations

from dmtools import names
from dmtools.control.passes import Pass
from dmtools.lta import holder, pages
from dmtools.lta.api import Books, answer
from dmtools.lta.api.bundles import Bundle, ListBundles
from dmtools.lta.api.directories import (
    AdvanceDirectories,
    ClaimDirectories,
    Directories,
    Directory,
    DirectoryMove,
    ListDirectories,
)
from dmtools.lta.deleting.guards import Kept
from dmtools.lta.restoring.wanted import alive
from dmtools.lta.states import FILES_DELETED, LOCAL_FILES_DELETED, LTA_REQUEST

SECONDS = 10  # a claim for one change of state


def _of(books: Books, bundle: Bundle) -> Directory | None:
    number = bundle.directory_id
    if number is None:
        return None
    found = answer(books, ListDirectories(after=number - 1, limit=1), Directories).directories
    return found[0] if found and found[0].id == number else None


def refuse_kept(books: Books, bundle: Bundle) -> None:
    """Raises Kept when the files of its directory are not to be deleted."""
    directory = _of(books, bundle)
    if directory is not None and directory.state != LTA_REQUEST:
        raise Kept(f"its directory {names.shown(directory.ideal)} is {directory.state}, not {LTA_REQUEST}")
    if directory is None and bundle.directory_id is not None:
        raise Kept("its directory is unknown to the tables")


def book(this: Pass, books: Books, bundle: Bundle) -> bool:
    """The directory is filesdeleted when it has bundles and the files of all of them are gone. False: not now."""
    directory = _of(books, bundle)
    if directory is None or directory.state != LTA_REQUEST:
        return True
    bundles = alive(pages.bundles(books, ListBundles(directory_id=directory.id)))
    if not bundles or any(one.state != LOCAL_FILES_DELETED for one in bundles):
        return True  # the last of them books it
    ask = ClaimDirectories(
        states=(LTA_REQUEST,), home=directory.home, holder=holder.name(this.by), seconds=SECONDS, ids=(directory.id,)
    )
    held = answer(books, ask, Directories).directories
    for one in held:
        why = f"the files of its {len(bundles)} bundles are deleted here"
        move = DirectoryMove(id=one.id, fence=one.fence, before=LTA_REQUEST, to=FILES_DELETED, why=why)
        answer(books, AdvanceDirectories(moves=(move,)), Directories)
        this.log(f"{names.shown(directory.ideal)} is {FILES_DELETED}")
    return bool(held)
