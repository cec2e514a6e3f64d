"""The asks of lta carried out on its tables: a function an ask, each within one transaction that its caller has begun."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from dmtools.lta.api import ADMIN, OPERATOR, ROLES, Ask, NotAllowed
from dmtools.lta.books.desk import Desk, Who
from dmtools.lta.books.registry import FUNCTIONS

__all__ = ["Desk", "Who", "answer_of"]


def answer_of(desk: Desk, ask: Ask) -> Struct:
    """The answer. Raises what `api.Books.do` does; what was written is the caller's to commit, or to roll back then."""
    allow(desk.who, ask)
    function: Callable[[Desk, Any], Struct] = FUNCTIONS[type(ask)]
    return function(desk, ask)


def allow(who: Who, ask: Ask | type[Ask]) -> None:
    """Raises NotAllowed when the role of the one who asks is too little; what binds a worker's site stands with each ask."""
    if ROLES.index(who.role) < ROLES.index(ask.ROLE):
        wanted = {OPERATOR: "an operator", ADMIN: "an admin"}.get(ask.ROLE, f"a {ask.ROLE}")
        raise NotAllowed(f"{who.name} is a {who.role}; this needs {wanted}; nothing was changed")
