"""Accounts of the web servers: made by hand, each with a role; passwords are kept as argon2 hashes."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, func, insert, select, update

from dmtools.command.run import Refused
from dmtools.ledger import tables
from dmtools.web import sessions

if TYPE_CHECKING:
    from argon2 import PasswordHasher

VIEWER, SHIFTER, OPERATOR = "viewer", "shifter", "operator"
ROLES = (VIEWER, SHIFTER, OPERATOR)  # each may all that those before it may
MEANING = {
    VIEWER: "may read",
    SHIFTER: "may read, and say run, halt and drain",
    OPERATOR: "may do that, and hand back what dead passes hold",
}
SHORT = 10
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ONE_AT_A_TIME = threading.Lock()  # a hash takes 64 MB and both cores; sign-ins queue, pages don't
U, S = tables.web_user.c, tables.web_session.c


@dataclass(frozen=True)
class Account:
    """A user as people see it; `changed`: when the password was set last; `sessions`: how many are open."""

    name: str
    role: str
    created: datetime
    changed: datetime
    sessions: int


def may(role: str, needed: str) -> bool:
    """Has the role the rights of the other one?"""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)


def article(role: str) -> str:
    """The role with its article."""
    return f"{'an' if role[:1] in 'aeiou' else 'a'} {role}"


def checked_name(text: str) -> str:
    """A user's name, in lower case. Raises Refused."""
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        raise Refused(f"{text!r} is no name of a user: write letters a to z, digits, '.', '_' and '-', 64 at most")
    return name


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()


def hashed(password: str) -> str:
    """The argon2id hash of a password, with its salt and parameters. Raises Refused for an empty one."""
    if not password.strip():
        raise Refused("the password is empty")
    return _hasher().hash(password.encode("utf-8", "surrogateescape"))


@cache
def _nobodys() -> str:
    return hashed("a password of nobody, to be compared with when there is no such user")


def matches(stored: str | None, password: str) -> bool:
    """Is it the password? Takes as long for a user that there is not (`stored` None)."""
    from argon2.exceptions import InvalidHashError, VerificationError

    with _ONE_AT_A_TIME:
        try:
            _hasher().verify(stored or _nobodys(), password.encode("utf-8", "surrogateescape"))
        except (VerificationError, InvalidHashError):
            return False
    return stored is not None


def password_of(connection: Connection, name: str) -> str | None:
    """The stored hash; None when there is no such user, or no user can have this name."""
    if not _NAME.fullmatch(name):
        return None
    found: str | None = connection.execute(select(U.password).where(U.name == name)).scalar()
    return found


def add(connection: Connection, name: str, role: str, stored: str, at: datetime) -> None:
    """A new user. Raises Refused when there is one of this name."""
    if password_of(connection, name) is not None:
        raise taken(name)
    row = {"name": name, "role": role, "password": stored, "created": at, "changed": at}
    connection.execute(insert(tables.web_user), [row])


def taken(name: str) -> Refused:
    """There is a user of this name."""
    return Refused(f"there is a user {name} already; dm-web user role {name} --role ROLE, or dm-web user password {name}")


def every(connection: Connection, at: datetime) -> list[Account]:
    """All users, by name."""
    count = select(S.user, func.count().label("n")).where(S.expires > at).group_by(S.user)
    open_now = {row.user: int(row.n) for row in connection.execute(count)}
    rows = connection.execute(select(U.name, U.role, U.created, U.changed).order_by(U.name))
    return [Account(row.name, row.role, row.created, row.changed, open_now.get(row.name, 0)) for row in rows]


def remove(connection: Connection, name: str) -> None:
    """Takes a user out and ends the sessions. Raises Refused when there is none."""
    if not connection.execute(delete(tables.web_user).where(U.name == name)).rowcount:
        raise _nobody(connection, name)
    sessions.end_all(connection, name)


def give_role(connection: Connection, name: str, role: str) -> None:
    """Another role, at once in force. Raises Refused when there is no such user."""
    require(connection, name)
    connection.execute(update(tables.web_user).where(U.name == name).values(role=role))


def give_password(connection: Connection, name: str, stored: str, at: datetime) -> None:
    """Another password; every session of the user ends. Raises Refused when there is no such user."""
    require(connection, name)
    connection.execute(update(tables.web_user).where(U.name == name).values(password=stored, changed=at))
    sessions.end_all(connection, name)


def require(connection: Connection, name: str) -> None:
    """Raises Refused when there is no such user."""
    if password_of(connection, name) is None:
        raise _nobody(connection, name)


def _nobody(connection: Connection, name: str) -> Refused:
    from difflib import get_close_matches

    names = list(connection.execute(select(U.name).order_by(U.name)).scalars())
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}" if names else "there is none yet"
    return Refused(f"there is no user {name}; {hint}")
