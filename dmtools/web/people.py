"""`dm-web user ...`: accounts at the terminal."""

from __future__ import annotations

import getpass
import sys
from typing import Any

import click

from dmtools import clock
from dmtools.command import Context, Refused
from dmtools.web import accounts

ACTIONS = ("add", "list", "remove", "role", "password")
_USAGE = "dm-web user add NAME --role ROLE, user list, user role NAME --role ROLE, user password NAME, user remove NAME"


def act(context: Context, words: tuple[str, ...], role: str | None) -> None:
    """Does what the words say. Raises Refused."""
    action, named = (words[0] if words else "list"), words[1:]
    if action not in ACTIONS or len(named) != (0 if action == "list" else 1):
        raise Refused(f"dm-web user {' '.join(words)}: write {_USAGE}")
    if (role is not None) != (action in ("add", "role")):
        what = "needs --role, one of" if role is None else "takes no --role; there are"
        raise Refused(f"dm-web user {action} {what} {', '.join(accounts.ROLES)}")
    if action == "list":
        _list(context)
    else:
        _change(context, action, accounts.checked_name(named[0]), role or "")


def _list(context: Context) -> None:
    with context.ledger.read() as connection:
        found = accounts.every(connection, clock.now())
    for one in found:
        open_now = f", signed in {one.sessions} times" if one.sessions else ""
        context.say(f"{one.name}  {one.role}  since {clock.local(one.created)}, password of {clock.local(one.changed)}{open_now}")
    if not found:
        context.say("there is no user yet; dm-web user add NAME --role ROLE makes one")
    context.answer = {"schema": 1, "users": [_record(one) for one in found]}


def _record(one: accounts.Account) -> dict[str, Any]:
    times = {"created": clock.iso(one.created), "changed": clock.iso(one.changed)}
    return {"name": one.name, "role": one.role, **times, "sessions": one.sessions}


def _change(context: Context, action: str, name: str, role: str) -> None:
    with context.ledger.read() as connection:  # asked first: nobody types a password for nothing
        if action != "add":
            accounts.require(connection, name)
        elif accounts.password_of(connection, name) is not None:
            raise accounts.taken(name)
    context.plan(f"user {action} {name}{' ' + role if role else ''}")
    if context.dry_run:
        return
    stored = accounts.hashed(_password(name)) if action in ("add", "password") else ""
    at = clock.now()
    work = {
        "add": lambda c: accounts.add(c, name, role, stored, at),
        "remove": lambda c: accounts.remove(c, name),
        "role": lambda c: accounts.give_role(c, name, role),
        "password": lambda c: accounts.give_password(c, name, stored, at),
    }[action]
    context.ledger.transact(work)
    done = {
        "add": f"{name} is {accounts.article(role)} and {accounts.MEANING.get(role, '')}",
        "remove": f"{name} is removed and signed out everywhere",
        "role": f"{name} is {accounts.article(role)} now and {accounts.MEANING.get(role, '')}",
        "password": f"{name} has another password and is signed out everywhere",
    }[action]
    context.say(done)
    context.answer = {"schema": 1, "action": action, "name": name, "role": role or None}


def _password(name: str) -> str:
    """From the terminal, twice and unseen; else the first line of stdin. Never from the command line. Raises Refused."""
    if sys.stdin.isatty():
        first = getpass.getpass(f"Password of {name}: ")
        if first != getpass.getpass("The same again: "):
            raise Refused("the two passwords differ; nothing was changed")
    else:
        first = sys.stdin.readline().rstrip("\r\n")
        if not first:
            raise Refused("there is no terminal to ask for the password, and stdin's first line is empty; write it there")
    if len(first) < accounts.SHORT:
        click.echo(f"dm-web: warning: a password of fewer than {accounts.SHORT} letters is guessed soon", err=True)
    return first
