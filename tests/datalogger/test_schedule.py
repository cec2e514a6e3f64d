"""What the schedule owes: every day of every device, once; what broke before can't any more."""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from tests.datalogger.steps import NOW, Plant, devices, rows, should, when
from tests.support import run, wait_until

YESTERDAY = (when("2026-11-04T06:00"), when("2026-11-05T06:00"))
FILE = "params-20261104T060000Z-20261105T060000Z.h5"


def test_line_1_an_error_as_text_or_stars_of_one_device_harm_no_other(plant: Plant) -> None:
    plant.log("B:VIMIN", "N:NO", "B:STARS", "B:NODE", "B:GLUED", "B:EMPTY")
    plant.start("--moved", "B:NODE=Booster")
    plant.faults('op="stars"; match="B:STARS"', 'op="glue"; match="B:GLUED"', 'op="say"; match="B:EMPTY"; reason="No values"')
    told = plant.cron().gave(1)
    assert "N:NO 2026-11-04T06:00:00Z to 2026-11-05T06:00:00Z: the logger said: Invalid device name (N:NO)" in told.err
    assert "B:GLUED" in told.err
    wanted = {"B:VIMIN": "done", "N:NO": "error", "B:STARS": "done", "B:NODE": "done", "B:GLUED": "error", "B:EMPTY": "empty"}
    assert plant.states() == {f"{name} 2026-11-04": state for name, state in wanted.items()}
    file = plant.out / FILE
    assert devices(file) == ["B:EMPTY", "B:NODE", "B:STARS", "B:VIMIN"]
    for name in ("B:VIMIN", "B:NODE"):
        assert rows(file, name) == should(name, *YESTERDAY)
    stars = should("B:STARS", *YESTERDAY)
    assert set(rows(file, "B:STARS")) < set(stars)
    assert plant.sql("SELECT stars, rows FROM datalogger_window WHERE name = 'B:STARS'")[0][0] + len(
        rows(file, "B:STARS")
    ) == len(stars)
    plant.faults()
    later = NOW + timedelta(hours=2)
    plant.cron(at=later).gave(1)
    assert devices(plant.out / FILE.replace(".h5", "_s01.h5")) == ["B:GLUED"]
    assert rows(plant.out / FILE.replace(".h5", "_s01.h5"), "B:GLUED") == should("B:GLUED", *YESTERDAY)


def test_line_2_what_is_empty_in_error_incomplete_or_not_asked_is_told_apart_and_gone_on_with(plant: Plant) -> None:
    plant.log("B:VIMIN", "B:HALF", "N:NO")
    early = when("2026-11-05T09:00")
    plant.cron(at=early).gave(75)
    assert set(plant.states().values()) == {"owed"}
    plant.start()
    plant.faults(
        'op="say"; match="start=\\"2026-11-04+12:00:00\\"/end=\\"2026-11-05+00:00:50\\"/node=MLrn+B:HALF"; reason="!down"',
    )
    plant.cron(at=early).gave(1)
    assert plant.states() == {"B:VIMIN 2026-11-04": "done", "B:HALF 2026-11-04": "incomplete", "N:NO 2026-11-04": "error"}
    assert plant.files() == []
    life = run("dm-trace", "B:HALF 2026-11-04", "--json", home=plant.home, env=plant.clock(early)).ok().json
    assert life["state"] == "incomplete"
    assert "!down" in life["why"]
    (draft,) = (plant.home / "datalogger/draft").glob("B_HALF*.rows")
    draft.write_bytes(draft.read_bytes() + b"x" * 1000)  # what a pass leaves that was killed before it booked
    plant.faults()
    plant.cron(at=NOW + timedelta(hours=1)).gave(1)
    assert rows(plant.out / FILE, "B:HALF") == should("B:HALF", *YESTERDAY)
    asked = [query for query in plant.asked() if "B:HALF" in query]
    assert [query for query in asked if 'start="2026-11-04+00' in query] == asked[:1]


def test_line_3_missed_days_are_caught_up_the_most_endangered_first_and_older_ones_are_lost(plant: Plant) -> None:
    plant.set(since="2026-10-24", connections=1)
    plant.cron(at=when("2026-11-01T15:00")).gave(75)  # the logger is away; then no cron until 5 November
    plant.start()
    plant.faults(
        'op="hole"; match="start=\\"2026-11-03+00:00:00"; times=2',
        'op="few"; match="+B:VIMAX"',
        'op="early-end"; match="+B:VIMIN"; times=2',
        'op="http500"; match="10-31+00"; times=1',
    )
    told = plant.cron().gave(1)
    assert "the logger keeps 10 days" in told.err
    lost = {f"{name} 2026-10-{day}": "lost" for name in ("B:VIMIN", "B:VIMAX") for day in ("24", "25", "26")}
    states = plant.states()
    assert {name: state for name, state in states.items() if state != "done"} == lost
    assert len(states) == 24
    days = [query.partition('start="')[2][:10] for query in plant.asked()]
    assert days == sorted(days)
    for name in ("B:VIMIN", "B:VIMAX"):
        assert [row for file in plant.files()[1:] for row in rows(plant.out / file, name)] == should(
            name, when("2026-10-27T05:00"), when("2026-11-05T06:00")
        )
        partly = rows(plant.out / "params-20261026T050000Z-20261027T050000Z.h5", name)
        assert partly == should(name, when("2026-10-26T15:00"), when("2026-10-27T05:00"))[-len(partly) :]
        assert len(partly) > 5000


@pytest.mark.parametrize(("day", "hours", "zone"), [("2026-11-01", 25, "-06"), ("2026-03-08", 23, "-05")])
def test_line_4_days_of_23_and_25_hours_are_right_whatever_the_hosts_zone(plant: Plant, day: str, hours: int, zone: str) -> None:
    plant.log("B:VIMIN")
    plant.set(chunk_minutes=45)  # pieces begin and end in the hour that comes twice
    at = when(f"{day}T09:00") + timedelta(days=1)
    plant.start("--fold", 1 if hours == 25 else 0, at=at)
    plant.cron(at=at, env={"TZ": "Asia/Tokyo"}).ok()
    ((start, end),) = plant.sql('SELECT start, "end" FROM datalogger_window')
    window = (when(start[:19]), when(end[:19]))
    assert window[1] - window[0] == timedelta(hours=hours)
    assert [rows(plant.out / name, "B:VIMIN") for name in plant.files()] == [should("B:VIMIN", *window)]
    assert zone in ("-05", "-06")


def test_line_5_many_runs_at_once_and_again_make_one_file_and_double_no_row(plant: Plant) -> None:
    plant.start()
    with ThreadPoolExecutor(4) as crew:
        done = list(crew.map(lambda _: plant.cron(), range(4)))
    assert {one.code for one in done} == {0}, done
    plant.cron().ok()
    assert plant.files() == [FILE]
    before = (plant.out / FILE).stat()
    for name in ("B:VIMIN", "B:VIMAX"):
        assert rows(plant.out / FILE, name) == should(name, *YESTERDAY)
    later = NOW + timedelta(days=4)  # the draft goes, the file stays as it was
    plant.cron(at=later).gave(0)
    assert (plant.out / FILE).stat() == before
    assert not list((plant.home / "datalogger/draft").glob(f"*{FILE}"))
    ends = plant.sql("SELECT item, COUNT(*) FROM journal WHERE to_state = 'done' GROUP BY item HAVING COUNT(*) > 1")
    assert ends == []


def test_line_5_a_day_that_another_pass_works_on_waits_for_it(plant: Plant) -> None:
    plant.start()
    plant.faults('op="slow"; match="+B:VIMAX"; seconds=6; times=1')
    with ThreadPoolExecutor(1) as crew:
        slow = crew.submit(plant.cron)
        wait_until(lambda: ("done",) in plant.sql("SELECT state FROM datalogger_window"), what="one of two windows")
        plant.cron().ok()
        slow.result().ok()
    plant.cron().ok()
    assert plant.files() == [FILE]
    assert devices(plant.out / FILE) == ["B:VIMAX", "B:VIMIN"]


def test_a_file_goes_out_six_hours_after_its_day_and_what_comes_later_gets_its_own(plant: Plant) -> None:
    plant.start()
    plant.faults('op="tail"; match="+B:VIMAX"; seconds=3000')
    early = when("2026-11-05T09:00")
    plant.cron(at=early).gave(1)
    assert plant.files() == []
    (plant.out / FILE).write_text("another one")
    blocked = plant.cron(at=NOW).gave(1)
    assert "another file of this name" in blocked.err
    assert (plant.out / FILE).read_text() == "another one"
    (plant.out / FILE).unlink()
    plant.cron(at=NOW).ok()
    assert devices(plant.out / FILE) == ["B:VIMIN"]
    plant.faults()
    plant.cron(at=NOW + timedelta(hours=12)).ok()
    assert plant.files() == sorted([FILE, FILE.replace(".h5", "_s01.h5")])
    assert rows(plant.out / FILE.replace(".h5", "_s01.h5"), "B:VIMAX") == should("B:VIMAX", *YESTERDAY)


def test_what_is_owed_is_shown_with_the_time_that_is_left(plant: Plant) -> None:
    plant.cron().gave(75)
    shown = run("dm-monitoring", "--json", home=plant.home, env=plant.clock(NOW)).ok().json["pipelines"]["datalogger"]
    assert shown["counts"]["owed"] == 2
    at = NOW + timedelta(days=8, hours=1)
    check = run("dm-train-ok", home=plant.home, env=plant.clock(at))
    assert re.search(
        r"B:VIMIN 2026-11-04T06:00:00Z to 2026-11-05T06:00:00Z is owed, and the logger has all of it for 13 h", check.out
    )
    told = run("dm-trace", "B:VIMIN", home=plant.home, env=plant.clock(NOW)).ok().out
    assert "the simulator datalogger does not run" in told


@pytest.mark.needs("root")
def test_a_full_disk_in_the_middle_of_a_draft_is_told_and_gone_on_with(plant: Plant, short_tmp: Path) -> None:
    disk = short_tmp / "small"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k,mode=0750", "dm-small", str(disk)], check=True)
    try:
        plant.start()
        told = plant.params("--days", 1, "--draftdir", disk, "--outdir", plant.out).gave(75)
        assert "No space left" in told.err
        assert "Traceback" not in told.err
        assert plant.files() == []
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        plant.params("--days", 1, "--draftdir", disk, "--outdir", plant.out).ok()
        assert rows(plant.out / FILE, "B:VIMAX") == should("B:VIMAX", *YESTERDAY)
        assert rows(plant.out / FILE, "B:VIMIN") == should("B:VIMIN", *YESTERDAY)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_drafted_rows_that_are_gone_are_asked_for_again(plant: Plant) -> None:
    plant.start()
    plant.faults('op="tail"; match="+B:VIMAX"; seconds=3000')
    plant.cron(at=when("2026-11-05T09:00")).gave(1)
    drafts = sorted((plant.home / "datalogger/draft").glob("*.rows"))
    assert [path.name.partition("-")[0] for path in drafts] == ["B_VIMAX", "B_VIMIN"]
    drafts[0].write_bytes(b"")
    drafts[1].unlink()
    plant.faults()
    told = plant.cron().gave(1)
    assert "the drafted rows of B:VIMIN are gone" in told.err
    plant.cron().ok()
    held = {name: rows(plant.out / file, name) for file in plant.files() for name in devices(plant.out / file)}
    assert held == {name: should(name, *YESTERDAY) for name in ("B:VIMIN", "B:VIMAX")}
