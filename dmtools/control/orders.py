"""A person's word: run, halt or drain for all, a pipeline or a component; and how things stand."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

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


def _is_below(inner: str, scope: str) -> bool:
    return scope in ("all", inner) or inner.startswith(f"{scope}/")


def standing(connection: Connection, settings: Settings, entries: Iterable[Pipeline], at: datetime) -> dict[str, Any]:
    """The words in force: for everything, each pipeline, each component; and every hold."""
    found = holds.open_holds(connection, settings, at)
    return {
        "state": max((h.state for h in found if h.scope == "all"), key=RANK.__getitem__, default="run"),
        "holds": [hold.record() for hold in found],
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
