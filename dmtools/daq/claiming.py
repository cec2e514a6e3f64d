"""Zips that this pass works on: claimed, read again, moved in one transaction while they are still ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection

from dmtools import clock
from dmtools.control.passes import Pass
from dmtools.daq.zips import Step, Zip, book, by_ids
from dmtools.ledger.engine import Stale


@contextmanager
def claimed(this: Pass, zips: Sequence[Zip]) -> Iterator[list[Zip]]:
    """Those of the zips that nobody else works on, as they are now; only those that still stand as they were read."""
    granted = this.leases.claim([one.resource for one in zips])
    try:
        with this.ledger.read() as connection:
            now = by_ids(connection, [one.id for one in zips if one.resource in granted])
        same = (one for one in zips if one.id in now)
        yield [now[one.id] for one in same if _stands(now[one.id], one)]
    finally:
        this.leases.release(list(granted))


def _stands(now: Zip, read: Zip) -> bool:
    """Is it still in the state, and in the attempt, in which it was read; not in the same one again?"""
    return (now.state, now.since, now.job_key) == (read.state, read.since, read.job_key)


Writes = Callable[[Connection, list[Step]], object]


def take(this: Pass, steps: Sequence[Step], *, first: Writes | None = None, then: Writes | None = None) -> list[Step]:
    """Books the steps of those that are ours still, with what `first` and `then` write; gives those that were booked."""

    def work(connection: Connection) -> tuple[list[Step], dict[tuple[str, str], int]]:
        held = this.leases.still_held(connection, [one.zip.resource for one in steps])
        ours = [one for one in steps if one.zip.resource in held]
        if not ours:
            return [], {}
        if first is not None:
            first(connection, ours)
        moved = book(connection, ours, by=this.by, at=clock.now())
        if then is not None:
            then(connection, ours)
        return ours, moved

    if not steps:
        return []
    try:
        ours, moved = this.ledger.transact(work)
    except Stale as problem:
        this.log(f"{problem}; left to it")
        return []
    for (before, after), n in moved.items():
        this.moved(before, after, n)
    return ours


def each(this: Pass, zips: Sequence[Zip], size: int = 100, *, new: bool = False) -> Iterator[list[Zip]]:
    """The zips in batches, claimed one batch after the other, as long as the pass may go on."""
    for first in range(0, len(zips), size):
        if not this.goes(new=new):
            return
        with claimed(this, zips[first : first + size]) as ours:
            if ours:
                yield ours
