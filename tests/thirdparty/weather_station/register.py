"""What dmtools' own commands need to know of the pipeline `weather`. Loaded often, so it imports little."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from dmtools.control.entry import Component, Pipeline
from dmtools.ledger.journal import State, States
from weather_station.tables import reading

NEW, ARCHIVED, BAD = "New", "Archived", "Bad"
STATES = States(
    pipeline="weather",
    kind="reading",
    states=(
        State(NEW, "seen in the inbox", "archive", (ARCHIVED, BAD)),
        State(ARCHIVED, "in the archive, and gone from the inbox", "archive"),
        State(BAD, "no reading: it stays in the inbox", "archive", (NEW,)),
    ),
)


def oldest(connection: Connection, states: Sequence[str]) -> dict[str, datetime]:
    """When the oldest reading of each state came into it: one look into the index for each."""
    found = {s: connection.execute(select(func.min(reading.c.since)).where(reading.c.state == s)).scalar() for s in states}
    return {state: since for state, since in found.items() if since is not None}


PIPELINE = Pipeline(
    name="weather",
    meaning="the readings of a weather station, from its inbox into the archive",
    states=STATES,
    open=(NEW,),
    done=(ARCHIVED,),
    bad=(BAD,),
    components=(Component("archive", "inbox -> archive", "*/10 * * * *"),),
    oldest=oldest,
    trace="weather_station.looks:trace",
    search="weather_station.looks:search",
    check="weather_station.looks:check",
)
