"""What the passes of the source share: the bundles of their HOME, claimed for a while, and one change of state at a time."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from dmtools.control.passes import Pass
from dmtools.ledger.chunks import chunks
from dmtools.ledger.leases import Lease
from dmtools.lta import holder, pages
from dmtools.lta.api import Books, Conflict, Done, answer
from dmtools.lta.api.bundles import Advance, Bundle, BundleMove, Bundles, Claim, Held, ListBundles, Release
from dmtools.lta.gate import Gate
from dmtools.lta.home import Home

MOST = 1000
SLOW = 20_000_000  # bytes a second that any disk gives


@dataclass(frozen=True)
class Work:
    """A pass, the books, the HOME whose bundles it works on."""

    this: Pass
    books: Books
    home: Home

    @property
    def destination(self) -> str:
        """The remote site."""
        return self.this.settings.lta.destination

    @property
    def holder(self) -> str:
        """Who has what this pass claims, for people and dm-leases."""
        return holder.name(self.this.by)

    @functools.cached_property
    def _gate(self) -> Gate:
        return Gate(self.this, self.books)

    def goes(self, *, new: bool = True) -> bool:
        """May the next unit of work begin, by the words here and at the server?"""
        return self._gate.goes(new=new)

    def bundles(self, *states: str) -> Iterator[Bundle]:
        """Those of this HOME in these states, as they come."""
        ask = ListBundles(states=states, destination=self.destination)
        return (one for one in pages.bundles(self.books, ask) if one.home == self.home.id)

    def claim(
        self, states: Sequence[str], *, most: int, reserve: bool = False, ids: Sequence[int] = (), more: int = 0
    ) -> list[Bundle]:
        """Those that nobody else holds and whose time has come, ours for [lta] lease_seconds and so many `more`."""
        ask = Claim(
            states=tuple(states), destination=self.destination, most=most, holder=self.holder,
            seconds=min(86400, self.this.settings.lta.lease_seconds + more), reserve=reserve, home=self.home.id, ids=tuple(ids),
        )  # fmt: skip
        return list(answer(self.books, ask, Bundles).bundles)

    def claimed(self, wanted: Sequence[Bundle], state: str) -> Iterator[Bundle]:
        """The same for bundles that were read: as they stand now. Long enough to read the largest of their zips."""
        more = max((one.size for one in wanted), default=0) // SLOW
        for part in chunks([one.id for one in wanted], MOST):
            yield from self.claim((state,), most=len(part), ids=part, more=more)

    def release(self, one: Bundle) -> None:
        """Hands a claim back with nothing changed."""
        answer(self.books, Release(held=(Held(id=one.id, fence=one.fence),)), Done)

    def advance(self, move: BundleMove) -> Bundle | None:
        """One change; None, and logged, when somebody was quicker."""
        try:
            (now,) = answer(self.books, Advance(moves=(move,)), Bundles).bundles
        except Conflict as problem:
            self.this.log(f"left to others: {problem}")
            return None
        self.this.moved(move.before, now.state)
        return now

    @contextmanager
    def alone(self, what: str) -> Iterator[Lease | None]:
        """The lease of a step that one pass of this HOME does at a time; None: another one is at it."""
        name = f"lta-{what}-{self.home.id}"
        granted = self.this.leases.claim([name])
        try:
            yield granted.get(name)
        finally:
            self.this.leases.release(list(granted))
