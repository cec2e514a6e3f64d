"""Clock events, from the logger to HDF5: what broke before can't any more; each event of the formula once, at its instant."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import h5py
import pytest

from tests.datalogger.steps import NOW, Plant, when
from tests.support import run

FILE = "events-20261104T060000Z-20261105T060000Z.h5"
YESTERDAY = (when("2026-11-04T06:00"), when("2026-11-05T06:00"))
CYCLE = 60_066_666
Events = list[tuple[int, str, float]]


def should(start: datetime, end: datetime, hertz: object = 1) -> Events:
    """The events of [start, end), by the words of docs/datalogger.md alone; zone: 6 hours behind UTC."""
    rate, found = Fraction(str(hertz)), []
    k = math.floor(start.timestamp() * rate) - 1
    while (ms := math.floor(1000 * k / rate)) < end.timestamp() * 1000:
        if ms >= start.timestamp() * 1000:
            wall = datetime.fromtimestamp(ms / 1000 - 6 * 3600, UTC)
            found.append((ms * 1000 % CYCLE, f"{wall:%d-%b-%Y %H:%M:%S.%f}"[:-3].upper(), ms / 1000))
        k += 1
    return found


def rows(path: Path, table: str) -> Events:
    with h5py.File(path) as file:
        return [(cycle, text.decode(), epoch) for cycle, text, epoch in file[table][:].tolist()]


def tables(path: Path) -> list[str]:
    with h5py.File(path) as file:
        return sorted(file)


@pytest.fixture
def events(plant: Plant) -> Plant:
    """A HOME that logs one event a second, and one that never comes."""
    plant.set(events=["8f", "ee"])
    return plant


def ask(plant: Plant, *options: object, at: datetime = NOW, env: dict[str, str] | None = None, cwd: Path | None = None):  # type: ignore[no-untyped-def]
    return run("datalogger-events", *options, home=plant.home, env=plant.clock(at) | (env or {}), cwd=cwd)


def cron(plant: Plant, at: datetime = NOW, **more):  # type: ignore[no-untyped-def]
    return ask(plant, "--days", 1, "--outdir", plant.out, at=at, **more)


def test_line_1_and_2_an_error_as_text_of_one_event_harms_no_other_and_is_told_apart_from_none(events: Plant) -> None:
    events.set(events=["8f", "ee", "0f", "00"])
    events.start()
    events.faults(
        'op="say"; match="event=0f"; reason="!Invalid event - CLIB_SYNTAX"',
        'op="header"; match="event=8f"',
        'op="html"; match="event=00"',
    )
    told = cron(events).gave(1)
    assert "Event0f 2026-11-04T06:00:00Z to 2026-11-05T06:00:00Z: the logger said: !Invalid event - CLIB_SYNTAX" in told.err
    wanted = {"8f": "done", "ee": "empty", "0f": "error", "00": "done"}
    assert events.states() == {f"{name} 2026-11-04": state for name, state in wanted.items()}
    assert tables(events.out / FILE) == ["Event00", "Event8f"]
    assert rows(events.out / FILE, "Event8f") == should(*YESTERDAY)
    with h5py.File(events.out / FILE) as file:
        assert file.attrs["empty"] == "ee"
        assert file["Event8f"].attrs["event"] == "8f"
    assert len(rows(events.out / FILE, "Event00")) in (1438, 1439)  # supercycles of a day
    events.faults()
    cron(events, NOW + timedelta(hours=2)).ok()
    later = rows(events.out / FILE.replace(".h5", "_s01.h5"), "Event0f")
    assert (len(later), later[0]) == (15 * 86_400, should(*YESTERDAY)[0])
