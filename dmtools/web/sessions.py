"""Who is signed in: a random token in the browser, only its hash in the tables; and the mark that a form is ours."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from dmtools.ledger import tables

S, U = tables.web_session.c, tables.web_user.c


@dataclass(frozen=True)
class Session:
    """One sign-in: of whom, with which role now, and until when."""

    user: str
    role: str
    expires: datetime


def key(token: str) -> bytes:
    """What the tables hold of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def begin(connection: Connection, user: str, at: datetime, length: timedelta) -> str:
    """A new session; gives its token. Sessions that are over are taken out of the table."""
    connection.execute(delete(tables.web_session).where(S.expires <= at))
    token = secrets.token_urlsafe(32)
    row = {"token_key": key(token), "user": user, "created": at, "expires": at + length}
    connection.execute(insert(tables.web_session), [row])
    return token


def read(connection: Connection, at: datetime) -> dict[bytes, Session]:
    """Every session that is not over, by the hash of its token: few, for they end within hours."""
    query = select(S.token_key, S.user, U.role, S.expires).join(tables.web_user, U.name == S.user).where(S.expires > at)
    return {bytes(row.token_key): Session(row.user, row.role, row.expires) for row in connection.execute(query)}


def one(connection: Connection, token: str, at: datetime) -> Session | None:
    """The session of a token as the tables have it at this instant."""
    query = select(S.user, U.role, S.expires).join(tables.web_user, U.name == S.user)
    row = connection.execute(query.where(S.token_key == key(token), S.expires > at)).first()
    return Session(row.user, row.role, row.expires) if row else None


def end(connection: Connection, token: str) -> None:
    """Ends one session."""
    connection.execute(delete(tables.web_session).where(S.token_key == key(token)))


def end_all(connection: Connection, user: str) -> int:
    """Ends every session of a user; gives how many there were."""
    return connection.execute(delete(tables.web_session).where(S.user == user)).rowcount


def form_mark(secret: str) -> str:
    """What a form must send back: who does not hold the cookie `secret` can't know it."""
    return hmac.new(secret.encode("utf-8", "replace"), b"form", hashlib.sha256).hexdigest()


def is_ours(secret: str, mark: str) -> bool:
    """Did the form come from a page that this browser got from us?"""
    return bool(secret) and hmac.compare_digest(form_mark(secret).encode(), mark.encode("utf-8", "replace"))
