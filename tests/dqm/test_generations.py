"""Generations appear whole: makers at once, readers meanwhile, copies that are half there, files that were damaged."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools import clock
from dmtools.dqm import generations
from dmtools.dqm.generations import Torn

FILES = {"page.html": b"<p>a page</p>", "graph-1.png": b"\x89PNG" * 500}


def _newest(place: Path) -> int:
    found = generations.newest(place)
    return found.number if found else 0


def test_a_place_without_generations_has_none(tmp_path: Path) -> None:
    assert generations.newest(tmp_path / "nowhere") is None
    assert generations.load_newest(tmp_path) is None


def test_the_newest_is_what_was_published_last(tmp_path: Path) -> None:
    first = generations.publish(tmp_path, FILES, {"run": "380001"})
    second = generations.publish(tmp_path, {"page.html": b"another"})
    found = generations.load_newest(tmp_path)
    assert found is not None
    assert found[0].number == second.number == first.number + 1
    assert found[1] == {"page.html": b"another"}
    assert [one.number for one in generations.every(tmp_path)] == [2, 1]
    assert generations.load(first) == FILES
    assert first.manifest.facts == {"run": "380001"}
    assert generations.load(first, ["page.html"]) == {"page.html": FILES["page.html"]}
    assert sorted(os.listdir(tmp_path)) == ["g0000000001", "g0000000002"]


def test_one_that_is_half_brought_is_not_seen(tmp_path: Path) -> None:
    """rsync makes the directory first, then file by file: each step but the last shows the one before."""
    source, copy = tmp_path / "source", tmp_path / "copy"
    old = generations.publish(source, {"page.html": b"old"})
    shutil.copytree(old.path, copy / old.path.name)
    new = generations.publish(source, FILES)
    (copy / new.path.name).mkdir()
    for name in ("manifest.json", "graph-1.png", "page.html"):
        assert _newest(copy) == old.number, name
        data = (new.path / name).read_bytes()
        (copy / new.path.name / name).write_bytes(data[:-1])
        assert _newest(copy) == old.number, f"{name} is a byte short"
        (copy / new.path.name / name).write_bytes(data)
    assert _newest(copy) == new.number


def test_a_damaged_file_is_torn_and_the_one_before_is_in_force(tmp_path: Path) -> None:
    generations.publish(tmp_path, {"page.html": b"old"})
    new = generations.publish(tmp_path, FILES)
    (new.path / "page.html").write_bytes(b"X" * len(FILES["page.html"]))
    with pytest.raises(Torn, match=r"page\.html is not what its manifest says"):
        generations.load(new)
    found = generations.load_newest(tmp_path)
    assert found is not None
    assert found[1] == {"page.html": b"old"}


@pytest.mark.parametrize("name", ["../page.html", "a/b", ".hidden", "", "manifest.json", "x" * 200, "a\x00b"])
def test_a_file_of_a_generation_has_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="can't have a file called"):
        generations.publish(tmp_path, {name: b"x"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", ".."])
def test_a_manifest_that_names_a_file_elsewhere_makes_no_generation(tmp_path: Path, name: str) -> None:
    made = generations.publish(tmp_path / "place", FILES)
    (tmp_path / "place" / "secret").write_bytes(b"secret")
    told = json.loads((made.path / "manifest.json").read_bytes())
    told["files"][name] = {"size": 6, "sha256": "0" * 64}
    (made.path / "manifest.json").write_bytes(json.dumps(told).encode())
    assert generations.newest(tmp_path / "place") is None


def test_a_link_is_neither_a_generation_nor_a_file_of_one(tmp_path: Path) -> None:
    made = generations.publish(tmp_path / "elsewhere", FILES)
    place = tmp_path / "place"
    place.mkdir()
    (place / "g0000000007").symlink_to(made.path)
    assert generations.newest(place) is None
    (made.path / "page.html").rename(tmp_path / "page.html")
    (made.path / "page.html").symlink_to(tmp_path / "page.html")
    assert generations.newest(tmp_path / "elsewhere") is None


def _make(place: Path, word: str) -> None:
    for number in range(20):
        generations.publish(place, {"a": word.encode() * 1000, "b": f"{word}{number}".encode()})


def test_makers_at_once_double_no_number_and_a_reader_never_sees_a_mixture(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    makers = [context.Process(target=_make, args=(tmp_path, word)) for word in "xyz"]
    for maker in makers:
        maker.start()
    seen = 0
    while any(maker.is_alive() for maker in makers):
        found = generations.load_newest(tmp_path)
        if found is not None:
            assert {found[1]["a"][:1]} == {found[1]["b"][:1]}
            assert len(found[1]["a"]) == 1000
            assert found[0].number >= seen
            seen = found[0].number
    assert all(maker.exitcode == 0 for maker in makers)
    for maker in makers:
        maker.join()
    assert [one.number for one in generations.every(tmp_path)] == list(range(60, 0, -1))
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_what_is_removed_vanishes_at_once_and_a_second_remover_finds_nothing(tmp_path: Path) -> None:
    old = generations.publish(tmp_path, FILES)
    new = generations.publish(tmp_path, FILES)
    generations.remove(old)
    generations.remove(old)
    assert os.listdir(tmp_path) == [new.path.name]
    with pytest.raises(Torn):
        generations.load(old)


def test_what_killed_makers_left_is_found_by_its_age_alone_and_nothing_else_is(tmp_path: Path) -> None:
    generations.publish(tmp_path, FILES)
    (tmp_path / ".new-1-abc").mkdir()
    (tmp_path / ".mine").mkdir()
    assert generations.leftovers(tmp_path, clock.now() - timedelta(hours=1)) == []
    assert generations.leftovers(tmp_path, clock.now() + timedelta(hours=1)) == [tmp_path / ".new-1-abc"]


@given(st.binary(max_size=400))
def test_any_bytes_as_a_manifest_are_no_generation_and_no_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    place = tmp_path_factory.mktemp("any")
    made = generations.publish(place, {"page.html": b"x"})
    (made.path / "manifest.json").write_bytes(data)
    found = generations.newest(place)
    assert found is None or generations.load(found) is not None
