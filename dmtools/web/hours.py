"""What came into the states in each of the last 24 hours: from the five-minute counts, at most 288 of them a state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from dmtools.control.entry import Pipeline
from dmtools.ledger import tables

COUNT = 24
HOUR = timedelta(hours=1)


@dataclass
class Hour:
    """One hour: items and bytes that were done, and items that turned bad. The last one is not over yet."""

    start: datetime
    done: int = 0
    size: int = 0
    bad: int = 0


def of(connection: Connection, entry: Pipeline, at: datetime) -> list[Hour]:
    """The day before the instant, by hours of the clock."""
    first = at.replace(minute=0, second=0, microsecond=0) - (COUNT - 1) * HOUR
    hours = [Hour(first + number * HOUR) for number in range(COUNT)]
    column = tables.flow.c
    where = (column.pipeline == entry.name, column.state.in_((*entry.done, *entry.bad)), column.bucket >= first)
    for row in connection.execute(select(column.state, column.bucket, column.n, column.bytes).where(*where)):
        number = int((row.bucket - first) / HOUR)
        if number < COUNT and row.state in entry.done:
            hours[number].done += row.n
            hours[number].size += row.bytes
        elif number < COUNT:
            hours[number].bad += row.n
    return hours
