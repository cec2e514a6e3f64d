"""Windows that a person asks for, with the flags of the original; and older files in the new layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.datalogger.steps import Plant, devices, rows, should, when
from tests.support import Result

OLD = Path(__file__).parent / "old"
MIDNIGHT = when("2026-11-05T06:00")


@pytest.fixture
def desk(short_tmp: Path) -> Path:
    """The working directory of a person."""
    place = short_tmp / "desk"
    place.mkdir()
    return place


def names(desk: Path) -> list[str]:
    return sorted(path.name for path in desk.iterdir() if path.suffix == ".h5" and not path.name.startswith("draft-"))


def test_without_options_it_is_the_last_second_before_midnight_in_the_working_directory(plant: Plant, desk: Path) -> None:
    plant.log("B:VIMIN", "T:720HZ", hertz="720")
    plant.start()
    done = plant.params("--maxcount", 2, cwd=desk).ok()
    name = "params-20261105T055959Z-20261105T060000Z.h5"
    assert names(desk) == [name]
    assert done.out.strip() == str(desk / name)
    assert rows(desk / name, "T:720HZ") == should("T:720HZ", when("2026-11-05T05:59:59"), MIDNIGHT, "720")
    assert plant.states() == {"B:VIMIN 2026-11-05": "empty", "T:720HZ 2026-11-05": "done"}
    assert plant.sql("SELECT DISTINCT origin FROM datalogger_window") == [("hand",)]


def test_line_5_the_same_window_again_doubles_nothing_and_a_partial_one_is_completed(plant: Plant, desk: Path) -> None:
    plant.start()
    plant.faults('op="say"; match="start=\\"2026-11-05+06"; reason="!down"')
    (desk / "list").write_text("# what is logged\nMLrn B:VIMIN 0.1 A\nMLrn B:VIMAX 0.1\n")
    ask = ("--startat", "2026-11-05 00:00:00", "--stopat", "2026-11-05T14:30Z", "--paramfile", desk / "list")
    first = plant.params(*ask, cwd=desk).ok()
    assert plant.params(*ask, cwd=desk).ok().out.count("has it already") == 2
    assert names(desk) == [Path(first.out.strip()).name]
    assert rows(Path(first.out.strip()), "B:VIMIN") == should("B:VIMIN", MIDNIGHT, when("2026-11-05T14:30"))
    plant.set(chunk_minutes=60)
    plant.faults('op="say"; match="start=\\"2026-11-05+06"; reason="!down"')
    ask = ("--startat", "2026-11-05 00:00:00", "--hours", 8, "--maxcount", 1)
    half = plant.params(*ask, cwd=desk).gave(1)
    assert "the same command asks for the rest" in half.err
    plant.faults()
    plant.params(*ask, cwd=desk).ok()
    parts = [desk / "params-20261105T060000Z-20261105T140000Z.h5", desk / "params-20261105T060000Z-20261105T140000Z_s01.h5"]
    assert [row for part in parts for row in rows(part, "B:VIMIN")] == should("B:VIMIN", MIDNIGHT, when("2026-11-05T14:00"))


def test_a_draft_directory_on_another_file_system(plant: Plant, desk: Path) -> None:
    other = Path("/dev/shm") / f"dm-{desk.parent.name}"
    other.mkdir()
    try:
        plant.start()
        done = plant.params("--hours", 3, "--draftdir", other, "--outdir", desk, "--adopt").ok()
        assert rows(Path(done.out.strip()), "B:VIMAX") == should("B:VIMAX", when("2026-11-05T03:00"), MIDNIGHT)
        assert plant.sql("SELECT adopted, origin FROM datalogger_file") == [(1, "hand")]
        assert [path.name.partition("-")[0] for path in other.iterdir()] == ["draft"]  # kept for the statistics
    finally:
        shutil.rmtree(other)


REFUSED = [
    (("--startat", "2026-11-05 09:30"), "is not over yet"),
    (("--startat", "2026-11-04 12:00", "--stopat", "2026-11-04 12:00"), "has no length"),
    (("--startat", "2026-11-04 13:00", "--stopat", "2026-11-04 12:00"), "its start must be before its end"),
    (("--stopat", "2026-10-20 00:00:00", "--days", 1), "the logger keeps 10 days"),
    (("--stopat", "2026-11-01 01:30"), "comes twice in America/Chicago"),
    (("--stopat", "2026-03-08 02:30"), "is left out in America/Chicago"),
    (("--stopat", "yesterday"), "is no time; write YYYY-MM-DD hh:mm:ss"),
    (("--outdir", "/nowhere"), "the directory /nowhere is not there"),
    (("--paramfile", "bad"), "line 2: 'MLrn' is not `node device [hertz [units]]`: it lacks the device"),
    (("--paramfile", "twice"), "names B:VIMIN twice"),
    (("one.h5",), "files stand behind --convert"),
]


def test_what_nobody_can_have_is_refused_with_what_to_do(plant: Plant, desk: Path) -> None:
    (desk / "bad").write_text("MLrn B:VIMIN\nMLrn\n")
    (desk / "twice").write_text("MLrn B:VIMIN\nBooster B:VIMIN\n")
    for options, said in REFUSED:
        told = plant.params(*options, cwd=desk).gave(2)
        assert said in told.err, told
    assert plant.sql("SELECT COUNT(*) FROM datalogger_window") == [(0,)]
    plan = plant.params("--minutes", 10, "--dryrun", "--logger", "Booster", cwd=desk).ok()
    assert "would ask Booster for B:VIMIN of 20261105T055000Z to 20261105T060000Z" in plan.out
    assert plant.sql("SELECT COUNT(*) FROM datalogger_window") == [(0,)]
    assert names(desk) == []


def convert(plant: Plant, desk: Path, *files: object) -> Result:
    return plant.params("--convert", *files, "--outdir", desk)


@pytest.mark.parametrize("old", sorted(OLD.glob("*.h5")), ids=lambda path: path.stem)
def test_the_older_layouts_are_read(plant: Plant, desk: Path, old: Path) -> None:
    """Files that pandas wrote: 20 samples of B:VIMIN, k / 2 at k / 15 s; of B:VIMAX 15, k / 4; some have all rows twice."""
    made = Path(convert(plant, desk, old).ok().out.strip())
    start = 1583798400.0
    star = float("nan") if "stars" in old.name else 1.5
    minimum = [(start + k / 15, star if k == 3 else k / 2) for k in range(20)]
    assert repr(rows(made, "B:VIMIN")) == repr(minimum)
    if "columns" in old.name:
        assert rows(made, "B:VIMAX") == [(start + k / 15, k / 4) for k in range(15)]
    assert made.name == "params-20200310T000000Z-20200310T000002Z.h5"


def test_a_file_that_is_cut_short_or_no_such_file_holds_up_no_other(plant: Plant, desk: Path) -> None:
    good = next(OLD.glob("B_VIMIN*"))
    (desk / "cut.h5").write_bytes(good.read_bytes()[:3000])
    (desk / "text.h5").write_text("no HDF5")
    told = convert(plant, desk, desk / "cut.h5", desk / "text.h5", desk / "gone.h5", good).gave(1)
    assert told.err.count("not converted") == 3
    assert devices(Path(told.out.strip())) == ["B:VIMIN"]
    assert (desk / "cut.h5").exists()
