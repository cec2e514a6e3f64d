"""dm-check of datalogger on damaged homes: what it says of each thing, what --repair mends, what it leaves to a person."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import h5py
import pytest

from tests.datalogger.steps import NOW, Plant, devices, rows, should, when
from tests.support import Result, run

DAY = (when("2026-11-04T06:00"), when("2026-11-05T06:00"))
FILE = "params-20261104T060000Z-20261105T060000Z.h5"


def check(plant: Plant, *words: str, later: float = 0) -> Result:
    return run("dm-check", *words, home=plant.home, env=plant.clock(NOW + timedelta(hours=later)))


def found(told: Result) -> set[tuple[str, str]]:
    """(rule, subject) of each finding."""
    return {(one["rule"], one["subject"].rpartition("/")[2]) for one in told.json["findings"]}


def change(plant: Plant, *statements: str) -> None:
    with closing(sqlite3.connect(plant.home / "dmtools.db")) as db, db:
        for statement in statements:
            db.execute(statement)


def old(path: Path, data: bytes = b"x") -> Path:
    """A file that nobody has written to for a while."""
    path.write_bytes(data)
    os.utime(path, (0, 0))
    return path


@pytest.fixture
def done(plant: Plant) -> Plant:
    """A day of two devices is out."""
    plant.start()
    plant.cron().ok()
    assert check(plant, "--storage", "all").ok().out == "directories and tables agree\n"
    return plant


def test_what_killed_runs_left_is_told_and_removed_and_nothing_else(done: Plant) -> None:
    home_id = (done.home / "run/home-id").read_text().strip()[:8]
    draft = done.home / "datalogger/draft"
    left = [
        old(draft / f"B_VIMIN-20261101T060000Z-{home_id}-77.rows"),
        old(draft / f"draft-{home_id}-schedule-params-20261101T060000Z-20261102T060000Z.h5"),
        old(draft / f".draft-{home_id}-schedule-{FILE}.part"),
        old(done.out / f".{FILE}.part"),
        old(done.out / f".{FILE}.converted.part"),
    ]
    others = [old(draft / "B_VIMIN-20261101T060000Z-12345678-77.rows"), old(done.out / ".of-another-program")]
    young = done.out / ".params-20261105T060000Z-20261106T060000Z.h5.part"
    young.write_bytes(b"just being written")
    kept = sorted(draft.glob("draft-*"))
    told = check(done, "--json").ok()
    assert found(told) == {("draft-left" if one.parent == draft else "copy-left", one.name) for one in left}
    assert all(path.exists() for path in left), "without --repair nothing is written"
    check(done, "--repair").ok()
    assert [path for path in left if path.exists()] == []
    assert all(path.exists() for path in (*others, young, *(set(kept) - set(left))))
    assert check(done, "--json").ok().json["findings"] == []


def test_a_published_file_that_is_gone_comes_back_from_its_draft_and_one_that_was_changed_is_told(done: Plant) -> None:
    file = done.out / FILE
    data = file.read_bytes()
    file.write_bytes(data[:-1] + b"?")
    assert check(done).ok().out == "directories and tables agree\n", "its size is right, and reading it may stage a tape"
    (said,) = check(done, "--json", "--storage", "sample").gave(1).json["findings"]
    assert (said["rule"], said["mend"]) == ("file-differs", "")
    file.write_bytes(data[:-1])
    (said,) = check(done, "--repair", "--json").gave(1).json["findings"]
    assert f"it has {len(data) - 1} bytes" in said["says"]
    assert "move it away; then dm-check --repair" in said["next"]
    assert file.read_bytes() == data[:-1], "it was not touched"
    file.unlink()
    assert found(check(done, "--json").gave(1)) == {("file-gone", FILE)}
    check(done, "--repair").ok()
    assert file.read_bytes() == data
    next((done.home / "datalogger/draft").glob("draft-*")).unlink()
    file.unlink()
    (said,) = check(done, "--repair", "--json").gave(1).json["findings"]
    step = "datalogger-params --startat 2026-11-04T06:00:00Z --stopat 2026-11-05T06:00:00Z --adopt"
    assert step in said["next"]
    shutil.rmtree(done.out)
    assert found(check(done, "--json").ok()) == {("out-away", "out")}, "a mount that is away is no loss"


def test_statistics_that_are_damaged_or_gone_are_told(done: Plant) -> None:
    run("datalogger-distill", home=done.home, env=done.clock(NOW)).ok()
    assert check(done).ok().out == "directories and tables agree\n"
    path = done.home / "datalogger/GMPSAI.db"
    path.write_bytes(b"no database at all, but something else" * 100)
    (said,) = check(done, "--json").gave(1).json["findings"]
    assert (said["rule"], "datalogger-distill --again" in said["next"]) == ("statistics-broken", True)
    path.unlink()
    assert found(check(done, "--json").gave(1)) == {("statistics-gone", "GMPSAI.db")}
    run("datalogger-distill", "--again", home=done.home, env=done.clock(NOW)).ok()
    assert check(done).ok().out == "directories and tables agree\n"


def test_drafts_that_lack_what_is_booked_are_owed_again_and_had_again(plant: Plant) -> None:
    plant.start()
    foreign = old(plant.out / FILE)  # so ours can't go out
    plant.cron().gave(1)
    draft = plant.home / "datalogger/draft"
    next(draft.glob("draft-*.h5")).unlink()
    next(draft.glob("B_VIMIN*.rows")).write_bytes(b"")
    change(plant, "UPDATE datalogger_file SET adler32 = NULL", "UPDATE tally SET n = n + 3 WHERE pipeline = 'datalogger'")
    told = check(plant, "--json").gave(1)
    assert found(told) >= {("draft-short", "B:VIMIN 2026-11-04T06:00:00Z to 2026-11-05T06:00:00Z"), ("counts", "done")}
    foreign.unlink()
    check(plant, "--repair").ok()
    assert plant.states() == {"B:VIMIN 2026-11-04": "owed", "B:VIMAX 2026-11-04": "done"}
    plant.cron(NOW + timedelta(hours=1)).ok()
    had = {name: rows(plant.out / file, name) for file in plant.files() for name in devices(plant.out / file)}
    assert had == {name: should(name, *DAY) for name in ("B:VIMIN", "B:VIMAX")}
    assert check(plant, later=1).ok().out == "directories and tables agree\n"


def test_days_that_the_tables_lost_are_owed_again_and_what_is_lost_is_told(plant: Plant) -> None:
    plant.set(since="2026-10-20")
    plant.start()
    plant.cron().gave(1)
    change(plant, "DELETE FROM datalogger_window WHERE name = 'B:VIMAX' AND start LIKE '2026-11-02%'")
    change(plant, "DELETE FROM datalogger_file WHERE name LIKE 'params-20261102%'")
    told = check(plant, "--json").gave(1)
    wanted = {
        ("window-gone", "B:VIMAX 2026-11-02T06:00:00Z"),
        ("file-unknown", "B:VIMIN 2026-11-02T06:00:00Z to 2026-11-03T06:00:00Z"),
        ("out-unknown", "params-20261102T060000Z-20261103T060000Z.h5"),
        ("counts", "done"),
        ("lost", "windows"),
    }
    assert found(told) - {("draft-left", name) for _, name in found(told)} == wanted
    (lost,) = [one for one in told.json["findings"] if one["rule"] == "lost"]
    assert "nothing can bring them back" in lost["next"]
    check(plant, "--repair").ok()
    assert plant.states()["B:VIMAX 2026-11-02"] == plant.states()["B:VIMIN 2026-11-02"] == "done", "the file that is out has it"
    assert found(check(plant, "--json").ok()) == {("lost", "windows")}


def test_lost_tables_are_rebuilt_from_the_files_and_nothing_is_asked_for_twice(done: Plant) -> None:
    (done.out / "notes.txt").write_text("of somebody")
    with h5py.File(done.out / "params-20261103T060000Z-20261104T060000Z.h5", "w") as other:
        other["x"] = [1]
    query = "SELECT kind, name, node, start, end, origin, state, upto, rows, first, last FROM datalogger_window ORDER BY name"
    before = done.sql(query)
    for path in done.home.glob("dmtools.db*"):
        path.unlink()
    told = check(done, "--repair", "--json").gave(1)
    assert [one["subject"].rpartition("/")[2] for one in told.json["findings"] if not one["note"] and not one["mended"]] == [
        "params-20261103T060000Z-20261104T060000Z.h5"
    ]
    assert "is no file of this kind" in told.err
    assert done.sql(query) == before
    asked = len(done.asked())
    done.cron(NOW + timedelta(hours=1)).ok()
    assert len(done.asked()) == asked
    assert done.states() == {"B:VIMIN 2026-11-04": "done", "B:VIMAX 2026-11-04": "done"}
    life: Any = run("dm-trace", FILE, "--json", home=done.home, env=done.clock(NOW)).ok().json
    assert life["state"] == "published"
    assert check(done, "--json", later=1).gave(1).json["findings"] != []
