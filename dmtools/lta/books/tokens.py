"""Tokens in the table: only their hash is there; one live token a name."""

from __future__ import annotations

from sqlalchemy import insert, select, update

from dmtools import names
from dmtools.ledger import tables
from dmtools.lta.api import WORKER, Conflict, Unknown, Wrong
from dmtools.lta.api.tokens import AddToken, ListTokens, RevokeToken, Token, Tokens
from dmtools.lta.books import rows
from dmtools.lta.books.desk import Desk

TABLE = tables.lta_token


def listed(desk: Desk, _ask: ListTokens) -> Tokens:
    """All tokens."""
    query = select(*rows.columns(TABLE, Token)).order_by(TABLE.c.id)
    return Tokens(tokens=tuple(rows.made(Token, row) for row in desk.connection.execute(query)))


def add(desk: Desk, ask: AddToken) -> Token:
    """A new one."""
    if ask.role == WORKER and ask.site is None:
        raise Wrong("a worker is bound to a site: name it; the workers at the source are of the site local")
    live, key = names.key(ask.name), bytes.fromhex(ask.sha256)
    where = (TABLE.c.live_key == live) | (TABLE.c.token_key == key)
    there = desk.connection.execute(select(*rows.columns(TABLE, Token), TABLE.c.token_key).where(where).with_for_update()).first()
    if there is not None:
        if (
            there.token_key == key
            and there.revoked is None
            and (there.name, there.role, there.site) == (ask.name, ask.role, ask.site)
        ):
            return rows.one(desk.connection, TABLE, Token, "token", TABLE.c.token_key == key)  # asked again
        raise Conflict(f"there is a token {there.name}; revoke it first, or take another name; it was left as it was")
    expires = None if ask.days is None else desk.after(ask.days * 86400)
    row = {"name": ask.name, "live_key": live, "token_key": key, "role": ask.role, "site": ask.site, "created": desk.now}
    desk.connection.execute(insert(TABLE).values({**row, "expires": expires}))
    return rows.one(desk.connection, TABLE, Token, "token", TABLE.c.live_key == live)


def revoke(desk: Desk, ask: RevokeToken) -> Token:
    """No longer good, from now on; one that was revoked already stays so."""
    newest = select(*rows.columns(TABLE, Token), TABLE.c.id).where(TABLE.c.name == ask.name).order_by(TABLE.c.id.desc()).limit(1)
    row = desk.connection.execute(newest.with_for_update()).one_or_none()
    if row is None:
        raise Unknown(f"there is no token {ask.name}")
    if row.revoked is None:
        desk.connection.execute(update(TABLE).where(TABLE.c.id == row.id).values(revoked=desk.now, live_key=None))
    return rows.one(desk.connection, TABLE, Token, "token", TABLE.c.id == row.id)
