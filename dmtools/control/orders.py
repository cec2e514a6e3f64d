"""A person's word: run, halt or drain for all, a pipeline or a component; and how things stand."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from dmtools import clock
from dmtools.command.run import Refused
from dmtools.control import holds
from dmtools.control.entry import Pipeline
from dmtools.control.holds import CALENDAR, PERSON, RANK, Hold
from dmtools.ledger.leases import HOST
from dmtools.settings import Settings

WORDS = tuple(RANK)


@dataclass(frozen=True)
class Order:
    """What a person wants: a word for some scopes, why, and until when (None: until the next word)."""

    word: str
    scopes: tuple[str, ...]
    by: str
    reason: str = ""
    until: datetime | None = None


def who() -> str:
    """USER@HOST; behind sudo the person who called it."""
    name = os.environ.get("SUDO_USER") if os.geteuid() == 0 else None
    if not name:
        try:
            name = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            name = f"uid{os.geteuid()}"
    return f"{name}@{HOST}"


def obey(connection: Connection, order: Order, at: datetime) -> list[Hold]:
    """Places the holds, or for `run` ends those of persons and errors at and below the scopes. Gives what it ended."""
    ended: list[Hold] = []
    for scope in order.scopes:
        if order.word == "run":
            below = [hold for hold in holds.uncleared(connection) if _is_below(hold.scope, scope)]
            holds.clear(connection, below, by=order.by, at=at)
            ended += below
        else:
            holds.place(connection, Hold(scope, order.word, PERSON, order.by, order.reason, at, order.until))
    return ended


def lines(found: dict[str, Any], now_open: Iterable[Hold], planned: Iterable[Hold], at: datetime) -> Iterator[str]:
    """How things stand, for people: each pipeline, the components that differ from it, the holds, the planned ones."""
    for name, record in found["pipelines"].items():
        yield f"{name}: {record['state']}"
        yield from (f"{name}/{part}: {word}" for part, word in record["components"].items() if word != record["state"])
    yield from (hold.sentence() for hold in now_open)
    yield from (f"planned: {hold.announcement(at)}" for hold in planned)


def until(text: str) -> datetime:
    """The end of a hold, as a person writes it. Raises Refused."""
    try:
        end = clock.parse(text)
    except ValueError as problem:
        raise Refused(str(problem)) from None
    if end <= clock.now():
        raise Refused(f"--until {text} is {clock.local(end)}, which is over already")
    return end


def _is_below(inner: str, scope: str) -> bool:
    return scope in ("all", inner) or inner.startswith(f"{scope}/")


def standing(connection: Connection, settings: Settings, entries: Iterable[Pipeline], at: datetime) -> dict[str, Any]:
    """The words in force: for everything, each pipeline, each component; every hold, and those the calendar will bring."""
    found = holds.open_holds(connection, settings, at)
    return {
        "state": max((h.state for h in found if h.scope == "all"), key=RANK.__getitem__, default="run"),
        "holds": [hold.record() for hold in found],
        "planned": [hold.record() for hold in holds.planned(settings, at)],
        "pipelines": {
            entry.name: {
                "state": holds.in_force(found, entry.name),
                "components": {name: holds.in_force(found, entry.name, name) for name in entry.component_names()},
            }
            for entry in entries
        },
    }


def still_held(scope: str, found: Iterable[Hold]) -> list[Hold]:
    """After `run SCOPE`: the wider holds, and those of the calendar, that hold it all the same."""
    pipeline = scope.partition("/")[0]
    wider = ("all", pipeline, scope)
    return [hold for hold in found if hold.scope in wider or (hold.kind == CALENDAR and scope == "all")]
