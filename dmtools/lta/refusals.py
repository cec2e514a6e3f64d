"""What the books refuse -> what a command says and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dmtools.command import Refused, Unavailable
from dmtools.lta.api import Conflict, NotAllowed, Problem


@contextmanager
def refusals() -> Iterator[None]:
    """Somebody was quicker: try again (75). The ask itself may not be, or makes no sense: refused (2)."""
    try:
        yield
    except Conflict as problem:
        kept = "what was booked before stays booked"
        raise Unavailable("changed meanwhile", "the books", str(problem), "the same command again goes on", kept) from None
    except Problem as problem:
        raise Refused(str(problem)) from None


def advice(problem: Problem, otherwise: str) -> str:
    """What a person may do whose word was refused."""
    if isinstance(problem, NotAllowed):
        return "name an operator's token in [lta] token_file, or say it in the HOME that has the tables"
    return otherwise
