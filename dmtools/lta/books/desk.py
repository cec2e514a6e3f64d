"""Where an ask is carried out: the transaction, who asks, the settings, the database's clock; how far a worker's site reaches."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from dmtools.ledger.engine import Ledger
from dmtools.ledger.journal import States
from dmtools.lta.api import ADMIN, LOCAL, OPERATOR, NotAllowed, Wrong
from dmtools.lta.books import clocks
from dmtools.lta.states import ERRAND_STATES, ERRANDS_REMOTE, QUARANTINED, REMOTE, STATES, is_a_persons
from dmtools.settings import Settings

Pairs = frozenset[tuple[str, str]]


def _here(states: States, remote: Pairs) -> Pairs:
    pairs = ((state.name, after) for state in states.states for after in state.next)
    return frozenset(p for p in pairs if p not in remote and not is_a_persons(*p) and p[1] != QUARANTINED)


# Which changes the workers of each end may make.
BUNDLES = {True: _here(STATES, REMOTE), False: REMOTE}
ERRANDS = {True: _here(ERRAND_STATES, ERRANDS_REMOTE), False: ERRANDS_REMOTE}


@dataclass(frozen=True)
class Who:
    """Who asks: a command, or the name of a token; its role; and the site to which a worker is bound."""

    name: str
    role: str
    site: str | None = None

    @property
    def is_bound(self) -> bool:
        """Is it a worker (or reader), who may only what belongs to its site?"""
        return self.role not in (OPERATOR, ADMIN)

    @property
    def is_here(self) -> bool:
        """Does it work at the source?"""
        return self.site == LOCAL


@dataclass(frozen=True)
class Desk:
    """One transaction on the tables, for one who asks."""

    connection: Connection
    ledger: Ledger
    who: Who
    settings: Settings

    @functools.cached_property
    def now(self) -> datetime:
        """The database's clock: both ends are judged by it."""
        return clocks.now(self.ledger, self.connection)

    def after(self, seconds: float) -> datetime:
        """An instant so many seconds from now."""
        return self.now + timedelta(seconds=seconds)

    def at_source(self) -> None:
        """Raises NotAllowed for the worker of a remote site."""
        if self.who.is_bound and not self.who.is_here:
            raise NotAllowed(f"{self.who.name} works at {self.who.site}; this belongs to the workers at the source")

    def may(self, pairs: dict[bool, Pairs], destination: str, before: str, after: str) -> None:
        """Raises NotAllowed when a worker's site is not the one that makes this change of a thing for the destination."""
        self.at(destination)
        mine = pairs[self.who.is_here]
        set_aside = after == QUARANTINED and any(before == pair[0] for pair in mine)
        if self.who.is_bound and (before, after) not in mine and not set_aside:
            raise NotAllowed(f"{before} -> {after} is not for {self.who.name}, a {self.who.role} at {self.who.site}")

    def may_claim(self, pairs: dict[bool, Pairs], destination: str, states: Collection[str]) -> None:
        """Raises NotAllowed when a worker's site has nothing to do with things in these states."""
        self.at(destination)
        mine = {before for before, _ in pairs[self.who.is_here]}
        if self.who.is_bound and (foreign := [state for state in states if state not in mine]):
            raise NotAllowed(f"what is {foreign[0]} is not for {self.who.name}, a {self.who.role} at {self.who.site}")

    def at(self, site: str) -> None:
        """Raises NotAllowed for a worker of another remote site."""
        if self.who.is_bound and self.who.site not in (LOCAL, site):
            raise NotAllowed(f"{self.who.name} works at {self.who.site}, not at {site}")


def known(states: States, *names: str) -> None:
    """Raises Wrong for a state that doesn't exist."""
    for name in names:
        if name not in states.names():
            raise Wrong(f"there is no state {name!r}; there are: {', '.join(states.names())}")
