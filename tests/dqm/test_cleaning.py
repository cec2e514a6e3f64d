"""What is old leaves the raw and the public area, by a clock that tests set: never the newest, never anything outside."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtools import clock
from dmtools.dqm import generations
from dmtools.dqm.parsing import cleaning
from tests.dqm.pages import Source, some_jobs
from tests.dqm.parser_steps import Mirror

DAY = 86400
HOUR = timedelta(hours=1)


def rules(after: timedelta, *, lifetime: timedelta = 100 * HOUR, quota: int = 10**9) -> cleaning.Rules:
    return cleaning.Rules(lifetime, quota, clock.now() + after)


def numbers(place: Path) -> list[int]:
    return [one.number for one in generations.every(place)]


def some(place: Path, count: int, size: int = 100) -> None:
    for number in range(count):
        generations.publish(place, {"page.html": b"%d" % number * size})


def clean(area: Path, after: timedelta, wanted: dict[str, set[int]] | None = None, **rest: object) -> cleaning.Account:
    return cleaning.clean(area, rules(after, **rest), wanted or {})  # type: ignore[arg-type]


def test_line_6_what_is_older_than_its_lifetime_goes_and_the_newest_stays(tmp_path: Path) -> None:
    """Original: TMP_FILES_LIFETIME was never read, the cleaning never worked."""
    for place in ("production/live", "playback/live", "production/runs/380000"):
        some(tmp_path / place, 4)
    assert clean(tmp_path, 99 * HOUR).removed == 0
    done = clean(tmp_path, 101 * HOUR)
    assert (done.removed, done.over) == (9, 0)
    assert done.freed > 300
    for place in ("production/live", "playback/live", "production/runs/380000"):
        assert numbers(tmp_path / place) == [4]
        assert os.listdir(tmp_path / place) == ["g0000000004"]
    assert clean(tmp_path, 10_000 * HOUR).removed == 0


def test_the_newest_is_the_newest_whole_one(tmp_path: Path) -> None:
    live = tmp_path / "production/live"
    some(live, 3)
    (live / "g0000000003/page.html").unlink()
    clean(tmp_path, 200 * HOUR)
    assert numbers(live) == [2]


def test_over_the_quota_the_oldest_go_first_of_all_sites_but_no_young_ones(tmp_path: Path) -> None:
    for _ in range(5):
        some(tmp_path / "production/live", 1, 1000)
        some(tmp_path / "playback/live", 1, 1000)
    assert clean(tmp_path, timedelta(0), quota=1).removed == 0
    size = next(generations.every(tmp_path / "production/live")).size
    done = clean(tmp_path, 2 * HOUR, quota=5 * size)
    assert (done.removed, done.over) == (5, 0)
    assert (numbers(tmp_path / "production/live"), numbers(tmp_path / "playback/live")) == ([5, 4], [5, 4, 3])
    done = clean(tmp_path, 2 * HOUR, quota=1)
    assert (done.removed, done.over) == (3, 2 * size - 1)
    assert (numbers(tmp_path / "production/live"), numbers(tmp_path / "playback/live")) == ([5], [5])


def test_old_runs_that_nobody_wants_go_whole(tmp_path: Path) -> None:
    for run in (380000, 379999, 379998):
        some(tmp_path / f"production/runs/{run}", 2)
        some(tmp_path / f"other/runs/{run}", 2)
    clean(tmp_path, timedelta(0), {"production": {380000}})
    assert os.listdir(tmp_path / "production/runs") == ["380000"]
    assert len(os.listdir(tmp_path / "other/runs")) == 3


def test_leftovers_of_killed_writers_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    site = tmp_path / "production"
    live = site / "live"
    some(live, 2)
    for name in (".new-1-abc", ".gone-1-abc"):
        (live / name).mkdir()
        (live / name / "page.html").write_text("half")
    (live / "g0000000001/page.html").unlink()
    (live / "g0000000009").mkdir()
    for name in (".site.json.123.tmp", ".broken.json.123.tmp"):
        (site / name).write_text("half")
    everything = sorted(os.listdir(live))
    clean(tmp_path, timedelta(minutes=30))
    assert sorted(os.listdir(live)) == everything
    clean(tmp_path, timedelta(hours=2))
    assert sorted(os.listdir(live)) == ["g0000000002", "g0000000009"]
    assert os.listdir(site) == ["live"]
    clean(tmp_path, timedelta(hours=101))
    assert os.listdir(live) == ["g0000000002"]


def test_line_6_nothing_outside_is_touched_and_no_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    some(outside / "live", 3)
    some(outside / "runs/380000", 3)
    (outside / "live/.new-1-a").mkdir()
    area = tmp_path / "area"
    some(area / "production/live", 2)
    (area / "linked").symlink_to(outside)
    (area / "production/runs").symlink_to(outside / "runs")
    (area / "production/live/g0000000007").symlink_to(outside / "live/g0000000001")
    (area / "production/live/.new-2-b").symlink_to(outside / "live")
    (area / "production/.site.json.9.tmp").symlink_to(outside / "live/g0000000001/page.html")
    for name in ("Production", "not a site", "..x", "live"):
        (area / name).mkdir()
        (area / name / "file").write_text("somebody's")
    (area / "production/notes.txt").write_text("somebody's")
    before = sorted(str(path) for path in outside.rglob("*"))
    clean(area, 10_000 * HOUR, {"production": set(), "linked": set()}, quota=1)
    assert sorted(str(path) for path in outside.rglob("*")) == before
    assert numbers(area / "production/live") == [2]
    assert (area / "production/notes.txt").exists()
    assert (area / "Production/file").exists()
    assert clean(tmp_path / "nowhere", HOUR).removed == 0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200)), min_size=1, max_size=12),
    st.integers(0, 300),
    st.integers(1, 5000),
)
@settings(max_examples=25)
def test_whatever_the_ages_and_quotas_each_place_keeps_its_newest(grabs: list[tuple[int, int]], hours: int, quota: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        area = Path(directory)
        for place, size in grabs:
            some(area / f"site{place % 2}" / ("live" if place < 2 else "runs/380000"), 1, size)
        newest = {place: numbers(place)[0] for place in [*area.glob("*/live"), *area.glob("*/runs/*")]}
        clean(area, hours * HOUR, quota=quota)
        assert {place: numbers(place)[0] for place in newest} == newest


@pytest.mark.parametrize("hours", [90, 110])
def test_a_pass_cleans_by_the_clock_and_the_settings(home: Path, hours: int) -> None:
    mirror = Mirror(home)
    at: datetime = clock.now()
    for number in range(3):
        mirror.grab(Source(some_jobs(2 + number), at=at))
    mirror.parse()
    mirror.grab(Source(some_jobs(9), at=at))
    done = mirror.parse("--json", env={"DMTOOLS_CLOCK_OFFSET": str(hours * 3600)}).json
    assert done["counts"]["raw>public"] == 1
    assert done["counts"].get("raw>removed", 0) == (3 if hours > 100 else 0)
    assert done["counts"].get("public>removed", 0) == (1 if hours > 100 else 0)
    assert len(mirror.page().jobs) == 9
