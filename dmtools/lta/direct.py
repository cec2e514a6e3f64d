"""Asks carried out on this installation's own tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, exc

from dmtools.ledger.engine import Ledger, Stale
from dmtools.lta.api import READER, Ask, Conflict, Wrong
from dmtools.lta.books import Desk, Who, answer_of
from dmtools.settings import Settings

T = TypeVar("T")
_TRIES = 8


class Direct:
    """The tables of this installation; `who` asks."""

    def __init__(self, ledger: Ledger, who: Who, settings: Settings) -> None:
        self.ledger, self.who, self.settings = ledger, who, settings

    def do(self, ask: Ask) -> Struct:
        """The answer. Raises what `api.Books.do` does, and LedgerUnavailable; nothing was written then."""
        asked = checked(ask)
        if writes(asked):
            return transact(self.ledger, lambda c: answer_of(Desk(c, self.ledger, self.who, self.settings), asked))
        with self.ledger.read() as connection:
            return answer_of(Desk(connection, self.ledger, self.who, self.settings), asked)


def writes(ask: Ask) -> bool:
    """Does it write? What any reader may ask does not, even when it is a POST for its length."""
    return ask.METHOD != "GET" and ask.ROLE != READER


def checked(ask: Ask) -> Ask:
    """The same, as it would come over the wire. Raises Wrong for what is out of its bounds."""
    try:
        return msgspec.convert(msgspec.to_builtins(ask), type(ask))
    except msgspec.ValidationError as problem:
        raise Wrong(f"{type(ask).__name__}: {problem}") from None


def transact(ledger: Ledger, work: Callable[[Connection], T], kept: Callable[[], T | None] = lambda: None) -> T:
    """Runs it in a writing transaction; from its start again when another has just written the same key.

    `kept`: what an earlier run of the same work gave, if there was one. Raises Conflict.
    """
    for left in range(_TRIES - 1, -1, -1):
        try:
            return ledger.transact(work)
        except exc.IntegrityError:
            if (found := kept()) is not None:
                return found
            if not left:
                raise Conflict("others write the same all the time; nothing was changed; try again") from None
        except Stale as problem:
            raise Conflict(f"{problem}; nothing was changed") from None
    raise AssertionError("not reached")
