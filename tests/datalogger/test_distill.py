"""datalogger-distill: the figures of each device and window, once, whatever happens to files, databases and passes."""

from __future__ import annotations

import json
import sqlite3
import statistics
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from sqlalchemy import create_engine, text

from dmtools.datalogger.stats import store
from tests.datalogger.steps import Plant, should, when
from tests.support import Result, run

DAY = (when("2026-11-04T06:00"), when("2026-11-05T06:00"))
FILE = "params-20261104T060000Z-20261105T060000Z.h5"
NAMES = ("B:VIMAX", "B:VIMIN")
SHARES = {"q01": 0.01, "q05": 0.05, "q25": 0.25, "q75": 0.75, "q95": 0.95, "q99": 0.99}


def distill(plant: Plant, *options: object) -> Result:
    """A pass, an hour after the files were made."""
    return run("datalogger-distill", *options, home=plant.home, env=plant.clock(when("2026-11-05T16:00")))


def database(plant: Plant) -> Path:
    return plant.home / "datalogger/GMPSAI.db"


def stored(plant: Plant) -> list[Any]:
    """The rows, without when they were made."""
    with closing(sqlite3.connect(database(plant))) as db:
        names = [row[1] for row in db.execute("PRAGMA table_info(statistics)") if row[1] != "distilled"]
        quoted = ", ".join(f'"{name}"' for name in names)
        return db.execute(f"SELECT {quoted} FROM statistics ORDER BY name, start, end").fetchall()


def waits(plant: Plant) -> list[str]:
    return [row[0] for row in plant.sql("SELECT name FROM datalogger_file WHERE distilled IS NULL")]


def quantile(ordered: list[float], share: float) -> float:
    at = share * (len(ordered) - 1)
    low = int(at)
    return ordered[low] + (ordered[min(low + 1, len(ordered) - 1)] - ordered[low]) * (at - low)


def spread(numbers: list[float]) -> dict[str, float]:
    """By the standard library alone."""
    ordered, counted = sorted(numbers), Counter(numbers)
    most = max(counted.values())
    found = {"mean": statistics.fmean(numbers), "mode": min(n for n, times in counted.items() if times == most)}
    found |= {"std": statistics.stdev(numbers), "min": ordered[0], "max": ordered[-1], "median": statistics.median(ordered)}
    return found | {name: quantile(ordered, share) for name, share in SHARES.items()}


@pytest.fixture
def had(plant: Plant) -> Plant:
    """A day of two devices is out, its draft is still there, and nothing is distilled."""
    plant.start()
    plant.cron().ok()
    return plant


def test_line_6_the_mean_is_kept_and_a_test_of_one_second_stands_beside_its_day(had: Plant, short_tmp: Path) -> None:
    assert distill(had).ok().out == ""
    (day_max, day_min) = store.read(f"sqlite:///{database(had)}")
    for row in (day_max, day_min):
        rows = should(row.name, *DAY)
        assert {name: getattr(row.value, name) for name in store.NAMES} == pytest.approx(spread([value for _, value in rows]))
        intervals = [round(after - before, 6) for (before, _), (after, _) in pairwise(rows)]
        assert {name: getattr(row.interval, name) for name in store.NAMES} == pytest.approx(spread(intervals))
        assert (row.count, row.first, row.last, row.complete, row.state) == (8640, rows[0][0], rows[-1][0], 1.0, "done")
        assert (row.gaps, row.gap_seconds, row.doubles, row.stars, row.non_finite) == (0, 0.0, 0, 0, 0)
    before = stored(had)
    one = ("--startat", "2026-11-04 00:00:00", "--seconds", 1, "--outdir", short_tmp, "--draftdir", short_tmp)
    had.params(*one).ok()
    distill(had).ok()
    assert stored(had) == before, "a window by hand gets no statistics"
    had.params("--startat", "2026-11-04 00:00:00", "--seconds", 11, *one[4:], "--adopt").ok()
    distill(had).ok()
    assert [row for row in stored(had) if row in before] == before
    with closing(sqlite3.connect(database(had))) as db:
        query = "SELECT seconds, value FROM stats WHERE parameter = 'B:VIMIN' AND epoch = ? AND stat = ? ORDER BY seconds"
        counts = db.execute(query, (DAY[0].timestamp(), "count")).fetchall()
        (_, first_two), (_, day) = db.execute(query, (DAY[0].timestamp(), "mean")).fetchall()
    assert counts == [(11.0, 2.0), (86400.0, 8640.0)]
    assert (first_two, day) == (
        pytest.approx(statistics.fmean(value for _, value in should("B:VIMIN", *DAY)[:2])),
        pytest.approx(statistics.fmean(value for _, value in should("B:VIMIN", *DAY))),
    )


def test_line_6_nan_infinities_stars_and_a_device_without_values_break_no_sql(plant: Plant) -> None:
    plant.log("B:VIMIN", "B:VIMAX", "B:NONE")
    plant.start()
    plant.faults(
        'op="not-finite"; match="B:VIMIN"',
        'op="stars"; match="B:VIMAX"',
        'op="say"; match="B:NONE"; reason="No values"',
    )
    plant.cron().ok()
    distill(plant).ok()
    rows = {row.name: row for row in store.read(f"sqlite:///{database(plant)}")}
    none = rows["B:NONE"]
    assert (none.count, none.state, none.value, none.interval, none.gaps) == (0, "empty", store.Spread(), store.Spread(), 1)
    assert rows["B:VIMAX"].stars > 0
    held = rows["B:VIMIN"]
    assert held.count == 8640
    assert held.non_finite > 0
    assert all(value is not None and np.isfinite(value) for value in vars(held.value).values())
    assert distill(plant, "--again").ok()
    assert len(stored(plant)) == 3


def test_a_draft_is_read_before_its_file_is_out_and_not_again(had: Plant) -> None:
    second = "params-20261105T060000Z-20261106T060000Z.h5"
    (had.out / second).write_text("another file has its name")
    told = had.cron(at=when("2026-11-06T15:00")).gave(1)
    assert "not published" in told.err
    distill(had).ok()
    states = had.sql("SELECT name, state FROM datalogger_file WHERE distilled IS NOT NULL ORDER BY id")
    assert states == [(FILE, "published"), (second, "draft")]
    before = stored(had)
    (had.out / second).unlink()
    had.cron(at=when("2026-11-06T15:10")).ok()
    assert distill(had, "--json").ok().json["state"] == "idle"
    assert stored(had) == before
    assert len(before) == 4


def test_a_file_cut_short_is_told_once_and_holds_up_no_other(had: Plant) -> None:
    had.cron(at=when("2026-11-06T15:00")).ok()
    for draft in (had.home / "datalogger/draft").glob("*.h5"):
        draft.unlink()
    whole = (had.out / FILE).read_bytes()
    (had.out / FILE).write_bytes(whole[: len(whole) // 2])
    told = distill(had, "-v").gave(1)
    assert f"{len(whole) // 2} bytes where {len(whole)} are booked" in told.err
    assert "which may lie on tape" in told.err
    assert {row[4] for row in stored(had)} == {"params-20261105T060000Z-20261106T060000Z.h5"}
    assert waits(had) == [FILE]
    assert distill(had).ok().err == "", "cron would mail it each hour"
    shown = run("dm-monitoring", "datalogger", home=had.home, env=had.clock(when("2026-11-06T16:00"))).ok().out
    assert "1 files wait for theirs" in shown
    assert "are booked" in shown
    spoilt = bytearray(whole)
    spoilt[len(whole) // 2] ^= 1
    (had.out / FILE).write_bytes(spoilt)
    assert "can't be read: the file is damaged" in distill(had).gave(1).err
    (had.out / FILE).write_bytes(whole)
    distill(had).ok()
    assert waits(had) == []
    assert len(stored(had)) == 4


def test_two_at_once_and_one_killed_before_it_booked_give_the_same_rows(had: Plant) -> None:
    with ThreadPoolExecutor(2) as crew:
        done = list(crew.map(lambda _: distill(had), range(2)))
    assert [one.code for one in done] == [0, 0], done
    before = stored(had)
    with closing(sqlite3.connect(had.home / "dmtools.db")) as db, db:
        db.execute("UPDATE datalogger_file SET distilled = NULL")
    distill(had).ok()
    assert stored(had) == before
    assert len(before) == 2
    assert waits(had) == []


def test_a_database_that_is_locked_damaged_or_newer_is_told_and_the_next_pass_goes_on(had: Plant) -> None:
    had.set()
    file = had.home / "dmtools.toml"
    file.write_text("database.busy_seconds = 1\n" + file.read_text())
    with closing(sqlite3.connect(database(had), isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        told = distill(had).gave(75)
    assert f"{database(had)}: it is locked by another program" in told.err
    assert waits(had) == [FILE]
    database(had).write_bytes(b"no database at all, but long enough to be looked at as one" * 40)
    assert "it is damaged" in distill(had).gave(75).err
    database(had).unlink()
    distill(had).ok()
    before = stored(had)
    with closing(sqlite3.connect(database(had))) as db, db:
        db.execute("UPDATE statistics_schema SET number = 99")
    assert "newer than this program knows" in distill(had, "--again").gave(2).err
    database(had).unlink()
    distill(had).ok()
    assert stored(had) == before, "a database that was lost is made anew"


def test_again_takes_names_and_file_shows_what_would_be_stored(had: Plant, short_tmp: Path) -> None:
    distill(had).ok()
    assert distill(had, "--again", FILE, "--json").ok().json["counts"] == {"published>distilled": 1}
    assert "x.h5 is no file that gets statistics here" in distill(had, "--again", "x.h5").gave(2).err
    assert "would distil" in distill(had, "--again", "--dry-run").ok().out
    assert "two things" in distill(had, "--again", "--file", had.out / FILE).gave(2).err
    shown = distill(had, "--file", had.out / FILE, "--json").ok().json["files"][0]["tables"]
    kept = list(store.read(f"sqlite:///{database(had)}", ["B:VIMIN"]))
    assert [json.loads(json.dumps(vars(one.value))) for one in kept] == [shown[1]["value"]]
    assert "value: mean" in distill(had, "--file", had.out / FILE).ok().out
    other = short_tmp / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = [1.0]
    told = distill(had, "--file", other, had.out / FILE).gave(1)
    assert "--convert" in told.err
    assert FILE in told.out


def test_statistics_in_mysql_are_the_same_and_never_nan(mariadb: str, had: Plant) -> None:
    distill(had).ok()
    before = list(store.read(f"sqlite:///{database(had)}"))
    had.set(stats_url=mariadb)
    distill(had, "--again").ok()
    distill(had, "--again").ok()

    def plain(rows: list[store.Statistics]) -> list[dict[str, Any]]:
        return [vars(row) | {"distilled": 0} for row in rows]

    assert plain(list(store.read(mariadb))) == plain(before)
    odd = store.Spread(mean=float("nan"), min=-1.7976931348623157e308, max=float("inf"), mode=5e-324)
    row = store.Statistics(**(vars(before[0]) | {"name": "B:ODD", "units": "µA", "value": odd, "interval": store.Spread()}))
    with store.opened(mariadb) as engine:
        store.upsert(engine, [row])
    (found,) = store.read(mariadb, ["B:ODD"])
    assert (found.units, found.value) == ("µA", store.Spread(min=-1.7976931348623157e308, mode=5e-324))
    made = create_engine(mariadb)
    try:
        with made.connect() as connection:
            query = text("SELECT stat, value FROM stats WHERE parameter = 'B:VIMIN' AND stat IN ('mean', 'interval mode')")
            assert dict(connection.execute(query).all()) == {"mean": before[1].value.mean, "interval mode": 10.0}
    finally:
        made.dispose()
    had.set(stats_url="mysql+pymysql://nobody@127.0.0.1:1/none")
    assert "it doesn't answer" in distill(had, "--again").gave(75).err


def test_events_have_statistics_too(plant: Plant, short_tmp: Path) -> None:
    plant.start()
    ask = ("--minutes", 5, "--maxEvt", "0c", "--adopt", "--outdir", short_tmp, "--draftdir", short_tmp)
    file = Path(run("datalogger-events", *ask, home=plant.home, env=plant.clock(plant.at)).ok().out.strip())
    distill(plant).ok()
    found = {row.name: row for row in store.read(f"sqlite:///{database(plant)}")}
    with h5py.File(file) as held:
        rows = {name.removeprefix("Event"): held[name][:] for name in held}
    assert found.keys() == rows.keys() >= {"00", "07", "0c"}
    for name, row in found.items():
        assert (row.kind, row.count, row.units) == ("event", len(rows[name]), "us")
        assert (row.value.min, row.value.max) == (rows[name]["SCmicrosec"].min(), rows[name]["SCmicrosec"].max())
    assert {round(found[name].cadence or 0): found[name].gaps for name in ("07", "0c")} == {720: 0, 15: 0}
