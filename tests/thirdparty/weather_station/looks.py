"""What dm-trace and dm-check ask: the life of a reading and why it waits; does the archive hold what the table says?"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import inspect, select

from dmtools.control import hindrances, traces
from dmtools.control.checking import Finding, Inspection
from dmtools.control.entry import Match, Question, Trace
from weather_station.archive import places
from weather_station.register import ARCHIVED, BAD, NEW
from weather_station.tables import reading

WHY = {ARCHIVED: ("it is in the archive", ""), BAD: ("its first line is no head", "mend it or take it away")}


def trace(q: Question) -> Iterator[Trace]:
    """The reading of just this name."""
    if not inspect(q.connection).has_table(reading.name):
        return
    for row in q.connection.execute(select(reading).where(reading.c.name == q.text)):
        why, step, see = (*WHY.get(row.state, ("it waits for its turn", "nothing: weather-archive takes it")), "")
        if row.state == NEW:  # a hold, a full disk, a locked database, a pass that was killed or hangs ...
            for found in hindrances.of_component(q.connection, q.settings, q.at, "weather", "archive"):
                why, step, see = found.said, found.step, found.see
                break
        yield Trace(row.name, "weather", "reading", row.state, why, step, {}, traces.journal(q, "reading", row.id), see)


def search(q: Question) -> list[Match]:
    """Those that hold the text in their name."""
    if not inspect(q.connection).has_table(reading.name):
        return []
    query = select(reading.c.name, reading.c.state).where(reading.c.name.contains(q.text, autoescape=True)).limit(q.limit)
    return [Match(row.name, "reading", row.state) for row in q.connection.execute(query)]


def check(look: Inspection) -> Iterator[Finding]:
    """Archived readings that are not in the archive."""
    with look.this.ledger.read() as connection:
        if not inspect(connection).has_table(reading.name):
            return
        names = connection.execute(select(reading.c.name).where(reading.c.state == ARCHIVED)).scalars().all()
    _, store = places(look.this.home)
    for name in names:
        if not (store / name).exists():
            yield Finding("weather", "gone", name, "the table says Archived, and it is not in the archive", next="restore it")
