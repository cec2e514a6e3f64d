"""The queue's directories: order, hidden files, moves that never replace, the id of a HOME."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmtools.spool import folders as at
from dmtools.spool.folders import Folders, home_id


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    for name in at.ALL:
        (tmp_path / "migrate" / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "migrate/TODO/ListOfLFNs").mkdir()
    return Folders(tmp_path, "migrate")


def test_oldest_first_whatever_the_prefix_and_no_hidden_files(folders: Folders) -> None:
    for name in ("FTSList-3.txt", "DFTSList-1.txt", "FTSList-2.txt", "DDFTSList-4.txt", ".FTSList-0.txt.7.tmp"):
        folders.put(at.TODO, name, b"")
    assert folders.names(at.TODO) == ["DFTSList-1.txt", "FTSList-2.txt", "FTSList-3.txt", "DDFTSList-4.txt"]
    assert folders.names("nowhere") == []


def test_a_move_never_replaces_another_list(folders: Folders) -> None:
    folders.put(at.TODO, "a", b"waits")
    folders.put(at.DOING, "a", b"goes")
    with pytest.raises(FileExistsError):
        folders.transfer(at.DOING, at.TODO, "a")
    assert folders.path(at.TODO, "a").read_bytes() == b"waits"
    assert folders.where("a") == [at.TODO, at.DOING]
    folders.drop_many(at.TODO, ["a", "never-there"])
    folders.transfer(at.DOING, at.TODO, "a")
    assert folders.where("a") == [at.TODO]


def test_many_lists_are_whole_and_leave_no_hidden_files(folders: Folders) -> None:
    folders.put_many(at.OKAY, [(f"l{n}", b"%d" % n) for n in range(20)])
    folders.put_many(at.OKAY, [("l1", b"new")])
    folders.put_many(at.OKAY, [])
    found = {path.name: path.read_bytes() for path in (folders.root / at.OKAY).iterdir()}
    assert found == {f"l{n}": b"%d" % n for n in range(20)} | {"l1": b"new"}


def test_what_is_set_aside_meets_nothing_there(folders: Folders) -> None:
    places = []
    for data in (b"one", b"two"):
        folders.put(at.TODO, "x", data)
        places.append(folders.set_aside(at.TODO, "x"))
    assert [place.read_bytes() for place in places] == [b"one", b"two"]
    assert not folders.has(at.TODO, "x")


def test_the_id_of_a_home_stays_and_is_found_again(tmp_path: Path) -> None:
    first = home_id(tmp_path)
    assert home_id(tmp_path, ["another"]) == first
    (tmp_path / "run/home-id").unlink()
    assert home_id(tmp_path, [first]) == first
    (tmp_path / "run/home-id").unlink()
    assert home_id(tmp_path, [first, "another"]) not in (first, "another")
