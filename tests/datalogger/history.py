"""A history in the tables, as years of passes would have left it: windows, files, statistics, each by a formula."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, delete, insert, select, update

from dmtools import settings
from dmtools.datalogger.stats import connecting, store
from dmtools.ledger import open_ledger, tables
from dmtools.spool import folders

ZONE = ZoneInfo("America/Chicago")


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC)


@dataclass
class History:
    """`days` days of each device up to `last`; `states`: (name, day) -> (state, why); `odd`: (name, day) -> the figures then."""

    home: Path
    names: tuple[str, ...]
    last: date
    days: int
    states: Mapping[tuple[str, date], tuple[str, str]] = field(default_factory=dict)
    odd: Mapping[tuple[str, date], Mapping[str, float]] = field(default_factory=dict)

    def all_days(self) -> list[date]:
        return [self.last - timedelta(days=n) for n in reversed(range(self.days))]

    def figures(self, name: str, day: date) -> dict[str, float]:
        """What the device read that day."""
        dice = random.Random(f"{name}{day}")
        base, size = sum(name.encode()) % 700 + 20, sum(name.encode()) % 17 + 1
        mean = base + size * (0.3 * math.sin(day.toordinal() / 29) + 0.1 * dice.random())
        plain = {"mean": mean, "mode": mean + 0.02 * size, "std": size * (0.9 + 0.2 * dice.random())}
        plain |= {"min": mean - 3.2 * size - dice.random(), "max": mean + 3.5 * size + dice.random()}
        return (
            plain
            | {"complete": 1.0 if dice.random() < 0.9 else dice.choice((0.9995, 0.993, 0.93, 0.7))}
            | dict(self.odd.get((name, day), {}))
        )

    def write(self, days: Iterable[date] | None = None) -> None:
        """Books the windows and the statistics of these days, or of all."""
        found = settings.load(home=self.home)
        home, ledger = folders.id_for(self.home, dry_run=False), open_ledger(found)
        windows, rows = [], []
        for day in self.all_days() if days is None else days:
            start, end = midnight(day), midnight(day + timedelta(days=1))
            for name in self.names:
                state, why = self.states.get((name, day), ("done", ""))
                windows.append(self._window(home, name, start, end, state, why))
                if state == "done":
                    rows.append(self._row(name, day, start, end))
        ledger.transact(lambda c: _book(c, home, windows))
        ledger.close()
        with store.opened(connecting.url_of(found)) as engine:
            store.create(engine)
            with connecting.writing(engine) as connection:
                for first in range(0, len(rows), 5000):
                    connection.execute(insert(store.statistics).prefix_with("OR REPLACE"), rows[first : first + 5000])

    def _window(self, home: str, name: str, start: datetime, end: datetime, state: str, why: str) -> dict[str, Any]:
        kind = "device" if ":" in name else "event"
        row = {"home": home, "kind": kind, "name": name, "node": "MLrn", "start": start, "end": end, "origin": "schedule"}
        row |= {"state": state, "since": end, "ready": end, "failures": 0, "reason": why, "upto": start, "stars": 0, "doubles": 0}
        return row | {"rows": 1_296_000 if state == "done" else 0}

    def _row(self, name: str, day: date, start: datetime, end: datetime) -> dict[str, Any]:
        found = self.figures(name, day)
        spread = {key: found[key] for key in ("mean", "mode", "std", "min", "max")}
        row: dict[str, Any] = {"kind": "device" if ":" in name else "event", "name": name, "start": start.timestamp()}
        row |= {"end": end.timestamp(), "file": "a.h5", "series": 0, "units": "A", "state": "done", "count": 1_296_000}
        row |= {f"value_{key}": value for key, value in spread.items()} | {
            f"interval_{key}": value for key, value in spread.items()
        }
        row |= {"doubles": 0, "stars": 0, "non_finite": 0, "stuck": 1, "complete": found["complete"]}
        return row | {"distilled": end.timestamp() + 7200, "version": "1"}


def _book(connection: Connection, home: str, windows: list[dict[str, Any]]) -> None:
    done = {"home": home, "kind": "device", "origin": "schedule", "state": "published", "draft": "d", "place": "p", "adopted": 0}
    days = {(row["start"], row["end"]) for row in windows if row["state"] == "done"}
    w, f = tables.datalogger_window.c, tables.datalogger_file.c
    there = connection.execute(select(tables.datalogger_window).where(w.home == home).limit(1)).first() is not None
    for row in windows if there else ():
        connection.execute(delete(tables.datalogger_window).where(w.home == home, w.name == row["name"], w.start == row["start"]))
    for first in range(0, len(windows), 5000):
        connection.execute(insert(tables.datalogger_window), windows[first : first + 5000])
    for start, end in sorted(days):
        file = connection.execute(select(tables.datalogger_file).where(f.start == start)).first()
        at = {"start": start, "end": end, "since": end, "distilled": end, "series": 0, "name": f"params-{start:%Y%m%d}"}
        number = file.id if file else _number(connection.execute(insert(tables.datalogger_file).values(done | at)))
        connection.execute(update(tables.datalogger_window).where(w.start == start, w.state == "done").values(file_id=number))


def _number(made: Any) -> int:
    return int(made.inserted_primary_key[0])
