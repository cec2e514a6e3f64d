"""How the declarations stand, for dm-monitoring, dm-train-ok and dm-trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, func, select

from dmtools import clock
from dmtools.control import probes
from dmtools.control.entry import Figure, Note, Probing, Stuck
from dmtools.datalogger import declarations
from dmtools.datalogger.declarations import D
from dmtools.datalogger.states import DECLARED, DIFFERS
from dmtools.ledger import tables

FEW = 3
ALL = "datalogger-declare --reconcile"


def notes(look: Probing) -> Iterator[Note]:
    """Each catalogue: how many files are declared there, how many half, how many not."""
    query = select(D.catalogue, D.state, func.count()).group_by(D.catalogue, D.state).order_by(D.catalogue)
    counts: dict[str, dict[str, int]] = {}
    for catalogue, state, number in look.connection.execute(query):
        counts.setdefault(catalogue, {})[state] = number
    for catalogue, found in counts.items():
        said = ", ".join(f"{found[state]} {state}" for state in declarations.ORDER if state in found)
        well = set(found) == {DECLARED}
        yield Note("catalogue", catalogue, DECLARED if well else DIFFERS if DIFFERS in found else "open", said, well)


def stuck(look: Probing) -> Iterator[Stuck]:
    """The oldest that did not go through, and why."""
    for one in declarations.read(look.connection, D.state != DECLARED, D.reason.is_not(None))[:FEW]:
        step = (
            f"look which of the two is right; then: {ALL}"
            if one.state == DIFFERS
            else "the next pass tries again; at once: " + ALL
        )
        yield Stuck(one.shown, "declaration", one.state, one.since, one.reason or "", step)


def waits(look: Probing) -> Figure:
    """How long the oldest file that is out is not declared; one that differs needs a person."""
    labels = {"pipeline": "datalogger"}
    open_ = declarations.read(look.connection, D.state != DECLARED)
    if not open_:
        return Figure("undeclared", labels, 0, "datalogger: every file that is out is declared", "s")
    first = min(open_, key=lambda one: one.made)
    seconds = look.age(first.made)
    said = f"datalogger: {first.shown} is {first.state} for {clock.age(seconds)}" + (f": {first.reason}" if first.reason else "")
    limits = look.settings.train_ok
    ranges = (probes.over(limits.oldest_warning_seconds), probes.over(limits.oldest_critical_seconds))
    differs = next((one for one in open_ if one.state == DIFFERS), None)
    if differs is not None:
        said = f"datalogger: {differs.shown} differs: {differs.reason}"
        return Figure("undeclared", labels, seconds, said, "s", *ranges, state=probes.WARNING)
    return Figure("undeclared", labels, seconds, said, "s", *ranges)


def of_file(connection: Connection, number: int) -> dict[str, Any]:
    """Where a file is declared: by catalogue its state, or its state and why."""
    rows = connection.execute(select(tables.datalogger_declaration).where(D.file_id == number).order_by(D.catalogue))
    return {row.catalogue: f"{row.state}: {row.reason}" if row.reason else row.state for row in rows}
