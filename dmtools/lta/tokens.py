"""`lta-rest-server token`: who may ask for what, at the terminal. A token is shown once; only its hash is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from dmtools import clock
from dmtools.command.run import Refused
from dmtools.lta.api import ADMIN, Books, Problem, answer
from dmtools.lta.api.tokens import AddToken, ListTokens, RevokeToken, Token, Tokens
from dmtools.lta.books import Who
from dmtools.lta.direct import Direct


def made() -> str:
    """A new token: 256 bits of chance in a word."""
    return secrets.token_urlsafe(32)


def hashed(token: str) -> str:
    """What is kept of it."""
    return hashlib.sha256(token.encode()).hexdigest()


def act(context: Any, words: tuple[str, ...], role: str | None, site: str | None, days: int | None) -> None:
    """Add NAME, list, revoke NAME. Raises Refused."""
    books = Direct(context.ledger, Who("lta-rest-server", ADMIN), context.settings)
    verb, names = (words[0] if words else "list"), words[1:]
    if verb == "list" and not names:
        _list(context, books)
    elif verb == "add" and len(names) == 1:
        _add(context, books, names[0], role, site, days)
    elif verb == "revoke" and len(names) == 1:
        _revoke(context, books, names[0])
    else:
        raise Refused("write: token add NAME --role ROLE, token list, or token revoke NAME")


def _add(context: Any, books: Books, name: str, role: str | None, site: str | None, days: int | None) -> None:
    if role is None:
        raise Refused("say what it may: --role reader, worker, operator or admin")
    token = made()
    context.plan(f"a token {name} for a {role}{f' at {site}' if site else ''}{f', good for {days} days' if days else ''}")
    if context.dry_run:
        return
    ask = AddToken(name=name, role=role, site=site, days=days, sha256=hashed(token))
    try:
        found = answer(books, ask, Token)
    except Problem as problem:
        raise Refused(str(problem)) from None
    context.answer = {"schema": 1, "token": token, **_record(found)}
    context.say(token)
    context.say("It is shown once: put it into a file of mode 0600, and give that file to nobody but its owner.")


def _list(context: Any, books: Books) -> None:
    found = answer(books, ListTokens(), Tokens).tokens
    context.answer = {"schema": 1, "tokens": [_record(one) for one in found]}
    for line in lines(found, clock.now()):
        context.say(line)


def _revoke(context: Any, books: Books, name: str) -> None:
    context.plan(f"the token {name} is revoked")
    if context.dry_run:
        return
    try:
        found = answer(books, RevokeToken(name=name), Token)
    except Problem as problem:
        raise Refused(str(problem)) from None
    context.answer = {"schema": 1, **_record(found)}
    context.say(f"{name} is revoked; a server that runs lets it in for two seconds more at most")


def lines(found: tuple[Token, ...], at: datetime) -> Iterator[str]:
    """A line each."""
    if not found:
        yield "there is no token; make one with: lta-rest-server token add NAME --role ROLE"
    for one in found:
        site = f" at {one.site}" if one.site else ""
        yield f"{one.name:20} {one.role}{site}, made {clock.local(one.created)}, {state(one, at)}"


def state(one: Token, at: datetime) -> str:
    """For people."""
    if one.revoked is not None:
        return f"revoked {clock.local(one.revoked)}"
    if one.expires is None:
        return "good until it is revoked"
    return f"expired {clock.local(one.expires)}" if one.expires <= at else f"good until {clock.local(one.expires)}"


def _record(one: Token) -> dict[str, Any]:
    times = {name: clock.iso(getattr(one, name)) for name in ("created", "expires", "revoked")}
    return {"name": one.name, "role": one.role, "site": one.site, **times}
