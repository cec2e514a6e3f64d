"""The stretches of a window of which there are no samples, and why: nothing there at the logger, `*****`, or forgotten by it.

They are booked before `upto` of their window moves past them; those from `upto` on are of no account, and the next pass clears
them. So of each second before `upto` the tables say what became of it: it is had, or in one of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, insert, select

from dmtools import clock
from dmtools.control.passes import Pass
from dmtools.datalogger import wall
from dmtools.datalogger.states import EMPTY, LOST, OWED
from dmtools.datalogger.windows import Window
from dmtools.ledger import tables

if TYPE_CHECKING:
    from dmtools.datalogger.reading import Floats

STARS, SCATTERED = "stars", "scattered"
WORDS = {EMPTY: "empty at the logger", STARS: "***** at the logger", LOST: "lost", OWED: "not had yet"}
MOST = 200  # of a piece that are booked one by one, the widest; of the others how many they are
G = tables.datalogger_gap.c


@dataclass(frozen=True)
class Gap:
    """[start, end), UTC; `kind`: empty, stars or lost; owed: not had yet; scattered: many short ones, `why` says how many."""

    start: datetime
    end: datetime
    kind: str
    why: str

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.end - self.start).total_seconds()


def within(
    seconds: Floats, stars: Floats, span: tuple[float, float], hertz: float, last: float | None = None, *, torn: bool = False
) -> list[Gap]:
    """Where [start, end) of an answer lacks samples for a second or more, or lacks one. `last`: the sample before, if it was had.

    A sample stands for the time until the next one. `torn`: what was before is lacking, and with it the sample that stood for
    the first moments. Without a rate (hertz 0) nothing is known but that there is none at all.
    """
    import numpy as np

    start, end = span
    period = 1 / hertz if hertz else 0.0
    if not len(seconds):
        begin = max(start, last + period) if last is not None else start
        return [_named(begin, end, stars)] if begin < end else []
    if not hertz:
        return []
    least = max(period / 2, 1.0) - 1e-3
    edges = np.concatenate(([start - period if last is None else last], seconds, [end]))
    lacks = np.diff(edges) - period
    wide = lacks >= least
    wide[-1] = lacks[-1] >= (period / 20 if period > 1 else least)
    if last is None:
        wide[0] = lacks[0] > (1e-6 if torn else max(period, 1.0) - 1e-6)
    where = np.flatnonzero(wide)
    order = where[np.argsort(lacks[where], kind="stable")]
    found = [_named(max(start, float(edges[n]) + period), float(edges[n + 1]), stars) for n in np.sort(order[-MOST:])]
    return found + _scattered([_named(float(edges[n]) + period, float(edges[n + 1]), stars) for n in np.sort(order[:-MOST])])


def _scattered(found: Sequence[Gap]) -> list[Gap]:
    """Too many short ones as one."""
    if not found:
        return []
    seconds, widest = sum(one.seconds for one in found), max(one.seconds for one in found)
    stars = sum(one.kind == STARS for one in found)
    why = f"{seconds:g} s in {len(found)} stretches of at most {widest:g} s, {stars} of them *****, too many to list"
    return [Gap(found[0].start, found[-1].end, SCATTERED, why)]


def _named(start: float, end: float, stars: Floats) -> Gap:
    found = int(((stars >= start) & (stars < end)).sum())
    kind, why = (STARS, f"{found} values are *****") if found else (EMPTY, "the logger gave no samples of it")
    return Gap(wall.instant(start), wall.instant(end), kind, why)


def lost(start: datetime, end: datetime, why: str) -> Gap:
    """What the logger had forgotten."""
    return Gap(start, end, LOST, why)


def put(this: Pass, window: Window, found: Sequence[Gap]) -> bool:
    """Books what lies behind `upto` of a window that is ours; False when it is not any more."""

    def work(connection: Connection) -> bool:
        if not this.leases.still_held(connection, [window.resource]):
            return False
        mine = {"window_id": window.id}
        rows = [mine | {"start": one.start, "end": one.end, "kind": one.kind, "why": one.why} for one in found]
        connection.execute(delete(tables.datalogger_gap).where(G.window_id == window.id, G.start >= window.upto))
        if rows:
            connection.execute(insert(tables.datalogger_gap), rows)
        return True

    return this.ledger.transact(work)


def unbooked(connection: Connection, window: Window) -> bool:
    """Did a killed pass leave some that are of no account?"""
    query = select(G.id).where(G.window_id == window.id, G.start >= window.upto).limit(1)
    return connection.execute(query).first() is not None


def of(connection: Connection, window: Window) -> list[Gap]:
    """All of a window, in order, those that touch each other as one; what is not had yet is the last."""
    query = select(tables.datalogger_gap).where(G.window_id == window.id, G.start < window.upto).order_by(G.start, G.id)
    found = [Gap(row.start, row.end, row.kind, row.why) for row in connection.execute(query)]
    if window.upto < window.end:
        found.append(Gap(window.upto, window.end, OWED, window.reason or "it was not asked for yet"))
    return list(_joined(found))


def _joined(found: Sequence[Gap]) -> Iterator[Gap]:
    held: Gap | None = None
    for one in found:
        if held is not None and held.kind == one.kind and held.end == one.start and held.why == one.why:
            held = Gap(held.start, one.end, one.kind, one.why)
            continue
        if held is not None:
            yield held
        held = one
    if held is not None:
        yield held


def line(one: Gap) -> str:
    """`2026-11-01T06:00:00Z to 2026-11-01T09:00:00Z lost: why`."""
    return f"{_stamp(one.start)} to {_stamp(one.end)} {one.kind}: {one.why}"


def said(found: Sequence[Gap]) -> str:
    """For people: how long all of each kind are together."""
    sums = {kind: sum(one.seconds for one in found if one.kind == kind) for kind in WORDS}
    parts = [f"{clock.age(seconds)} {WORDS[kind]}" for kind, seconds in sums.items() if seconds]
    return ", ".join([*parts, *(one.why for one in found if one.kind == SCATTERED)])


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}" + (f".{at:%f}".rstrip("0").rstrip(".")) + "Z"
