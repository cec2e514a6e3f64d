"""lta-dump-control: what is in the slots comes to the warehouse, whole, proved and once."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from tests.lta.dump_steps import DAY, WILD, Train, told, tree
from tests.support import Result, run


@pytest.fixture
def train(home: Path) -> Train:
    """A HOME whose slots are empty."""
    return Train(home)


def test_disks_come_whole_into_the_warehouse_each_file_in_its_manifest_and_the_last_dump_wakes_the_glue(train: Train) -> None:
    for number in (1, 2, 3):
        for name in (b"one", WILD[number], b"deep/er/two"):
            train.file(number, DAY.encode() + b"/%d-" % number + name)
    train.file(1, DAY + "/empty", b"")
    large = train.file(2, DAY + "/large", os.urandom(5 << 20))
    os.utime(large, ns=(1, 1_500_000_000_123_456_789))
    train.expected({"/" + DAY: 11})
    assert train.glue().json["state"] == "idle"
    wanted = tree(train.disk(1)) | tree(train.disk(2)) | tree(train.disk(3))
    found = train.dump()
    assert tree(train.warehouse) == wanted
    assert (train.warehouse / DAY / "large").stat().st_mtime_ns == 1_500_000_000_123_456_789
    assert found.json["counts"] == {">Inventoried": 3, "Inventoried>Dumping": 3, "Dumping>Done": 3}
    assert train.states() == {"1": "Done", "2": "Done", "3": "Done"}
    listed = [json.loads(line) for n in (1, 2, 3) for line in train.manifest(n).read_text().splitlines()]
    assert {unquote_to_bytes(one["name"]): one["sha512"] for one in listed} == {
        name: hashlib.sha512(data).hexdigest() for name, data in wanted.items()
    }
    assert train.directories() == {"/" + DAY: "unclaimed"}
    assert train.glue().json["counts"][">Untouched"] == 1
    assert train.bundled() == wanted
    assert train.dump().json["state"] == "idle"
    assert tree(train.disk(1)).items() <= wanted.items()  # nothing is taken from a disk


def test_a_directory_whose_expected_count_is_missing_is_never_full_and_one_with_fewer_files_is_not_yet(train: Train) -> None:
    train.file(1, "data/a/1")
    train.file(1, "data/b/1")
    train.expected({"/data/b": 2})
    train.dump()
    assert train.directories() == {}
    assert train.glue().json["state"] == "idle"
    assert train.zips() == []
    train.file(2, "data/b/2")
    train.dump()
    assert train.directories() == {"/data/b": "unclaimed"}


def test_more_files_than_expected_are_a_problem_that_is_told_and_nothing_is_bundled(train: Train) -> None:
    train.file(1, DAY + "/1")
    train.file(1, DAY + "/2")
    train.expected({"/" + DAY: 1})
    assert "--take-up" in told(train.dump())
    assert train.directories() == {"/" + DAY: "problem"}
    train.glue()
    assert train.zips() == []
    (train.warehouse / DAY / "2").unlink()
    train.run("lta-glue", "--take-up", "/" + DAY + "/").ok()
    train.glue()
    assert train.directories() == {"/" + DAY: "LTArequest"}


def test_the_inventory_tells_slots_that_are_bad_reserved_or_empty_and_directories_that_are_no_uuid(train: Train) -> None:
    train.set(slots_reserved=["demo/lta/slots/slot2"])
    train.file(1, "data/1")
    train.file(2, "data/2")
    (train.slot(3) / "not-a-uuid").mkdir()
    train.slot(4).rmdir()
    found = train.dump("--inventory")
    assert "slot3" in told(found)
    assert "not-a-uuid" in told(found)
    assert "slot4" in told(found)
    assert "slot2" not in told(found)
    slots = {Path(path).name: (state, disk) for path, state, disk in train.sql("SELECT path, state, disk FROM lta_slot")}
    assert slots == {
        "slot1": ("disk", train.uuid(1)),
        "slot2": ("reserved", None),
        "slot3": ("bad", None),
        "slot4": ("bad", None),
    }
    assert train.states() == {"1": "Inventoried"}
    assert tree(train.warehouse) == {}
    (train.slot(3) / "not-a-uuid").rmdir()
    (train.slot(3) / "lost+found").mkdir()
    (train.slot(3) / ".hidden").mkdir()
    assert "slot3" not in told(train.dump())
    assert train.sql("SELECT state FROM lta_slot WHERE path LIKE '%slot3'") == [("empty",)]
    assert tree(train.warehouse) == {b"data/1": (train.disk(1) / "data/1").read_bytes()}


def test_the_same_uuid_in_two_slots_is_set_aside_and_so_are_two_uuids_in_one_slot(train: Train) -> None:
    train.file(1, "data/1")
    twin = train.slot(2) / train.uuid(1)
    twin.mkdir()
    train.disk(3)
    train.disk(4, slot=3)
    found = train.dump(codes=(1,))
    assert "in 2 slots at once" in told(found)
    assert "2 directories named by a UUID" in told(found)
    assert train.states() == {"1": "Error"}
    assert tree(train.warehouse) == {}
    twin.rmdir()
    train.dump("--again", train.uuid(1))
    train.dump()
    assert train.states()["1"] == "Done"


def test_a_disk_that_was_dumped_before_is_told_and_not_dumped_again_but_by_a_persons_word(train: Train) -> None:
    train.file(1, "data/1", b"first")
    train.dump()
    train.disk(1).rename(train.home / "away")
    train.dump()
    assert train.states() == {"1": "Removed"}
    (train.home / "away").rename(train.slot(2) / train.uuid(1))
    (train.warehouse / "data/1").unlink()
    assert "dumped before" in told(train.dump())
    assert told(train.dump()) == ""  # once
    assert train.states() == {"1": "Done"}
    assert tree(train.warehouse) == {}
    train.dump("--again", train.uuid(1))
    train.dump()
    assert tree(train.warehouse) == {b"data/1": b"first"}
    train.run("lta-dump-control", "--remove", train.uuid(1)).ok()
    train.run("lta-dump-control", "--again", "../../etc").gave(2)
    train.run("lta-dump-control", "--again", train.uuid(7)).gave(2)


def test_wanted_trees_match_whole_names_of_directories_and_year_any_four_digits(train: Train) -> None:
    paths = (
        "data/exp/110/1", "data/exp/1109/2", "data/experiment/110/3", "data/exp/2016/a.b/4", "data/exp/2017/a.b/sub/5",
        "data/exp/2017/axb/6", "data/exp/20167/a.b/7", "data/exp/year/a.b/8", "other/9",
    )  # fmt: skip
    for path in paths:
        train.file(1, path, b"")
    os.symlink(train.disk(1) / "other", train.disk(1) / "data/exp/2018")
    train.set(wanted=["data/exp/110/", "/data/exp/YEAR/a.b", "data/exp/110", "data/exp/2017"])
    train.dump()
    assert sorted(int(Path(os.fsdecode(name)).name) for name in tree(train.warehouse)) == [1, 4, 5, 6]
    for wrong in ("../x", "data/../x", "", "/", "."):
        train.set(wanted=[wrong])
        assert "[lta] wanted" in told(train.dump(codes=(2,)))


def test_links_on_a_disk_are_not_followed_out_of_it(train: Train, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("outside")
    train.file(1, "data/1")
    os.symlink(tmp_path / "secret", train.disk(1) / "data/link")
    os.symlink(tmp_path, train.disk(1) / "data/directory")
    os.mkfifo(train.disk(1) / "data/pipe")
    assert "not followed" in told(train.dump())
    assert set(tree(train.warehouse)) == {b"data/1"}
    assert train.states() == {"1": "Done"}
    os.symlink(train.disk(1), train.slot(2) / train.uuid(2))  # nor into it
    train.dump()
    assert train.states() == {"1": "Done"}


def test_other_content_in_the_warehouse_is_never_overwritten_and_equal_content_is_taken_for_the_copy(train: Train) -> None:
    train.file(1, "data/same", b"same")
    train.file(1, "data/other", b"mine")
    train.file(1, "data/third", b"3")
    train.stored("data/same", b"same")
    train.stored("data/other", b"hers")
    inode = (train.warehouse / "data/same").stat().st_ino
    assert "other content" in told(train.dump(codes=(1,)))
    assert train.states() == {"1": "Error"}
    assert "1 of 3 files" in train.reason(1)
    assert tree(train.warehouse) == {b"data/same": b"same", b"data/other": b"hers", b"data/third": b"3"}
    assert (train.warehouse / "data/same").stat().st_ino == inode


def test_two_disks_with_the_same_file_and_two_passes_at_once_double_nothing(train: Train) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for number in (1, 2, 3):
        for name in range(20):
            train.file(number, f"data/{name}", b"%d" % name)
    with ThreadPoolExecutor(2) as pool:
        passes: list[Result] = list(pool.map(lambda _: train.dump(), range(2)))
    assert sum(one.json["counts"].get("Dumping>Done", 0) for one in passes) == 3
    assert tree(train.warehouse) == {b"data/%d" % name: b"%d" % name for name in range(20)}


def test_a_halt_hands_disks_back_and_a_drain_begins_none(train: Train) -> None:
    train.file(1, "data/1")
    run("dm-command", "drain", "lta/dump-control", home=train.home).ok()
    assert train.dump().json["state"] == "draining"
    assert train.states() == {"1": "Inventoried"}
    run("dm-command", "halt", "lta/dump-control", home=train.home).ok()
    assert train.dump().json["state"] == "halted"
    assert tree(train.warehouse) == {}
    run("dm-command", "run", "lta/dump-control", home=train.home).ok()
    train.dump()
    assert train.states() == {"1": "Done"}


def test_load_more_disks_is_told_when_no_disk_is_left_to_dump(train: Train) -> None:
    train.file(1, "data/1")
    train.dump()
    figures = train.run("dm-train-ok").gave(0, 1, 2, 3)
    assert "LOAD MORE DISKS" in figures.out
    train.file(2, "data/2")
    train.dump("--inventory")
    assert "LOAD MORE DISKS" not in train.run("dm-train-ok").gave(0, 1, 2, 3).out
