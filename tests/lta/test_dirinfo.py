"""lta-dirinfo: what is where by a part of its name, in which bundle a file is, with the tables and without."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools import names
from dmtools.lta.typed import spellings
from tests.lta.archive_steps import NASTY, Archive, bundle_of, ours, theirs, zipped
from tests.support import Server, run


@pytest.fixture
def archive(home: Path, serve: Callable[..., Server]) -> Archive:
    return Archive(home, serve)


def names_of(archive: Archive, *args: object, kind: str = "bundles", code: int = 0) -> list[str]:
    return [names.shown(one["name"]) for one in archive.run("lta-dirinfo", *args, "--json").gave(code).json[kind]]


def test_percent_and_underscore_in_a_fragment_are_letters_and_every_name_is_found_by_its_own_part(archive: Archive) -> None:
    ideals = [f"/exp/{name}.zip" for name in ("100%", "100x", "a_b", "aXb", "110/x", "1109/x", "A_B", "a b")]
    for n, ideal in enumerate(ideals):
        archive.bundle(names.encode(ideal.encode()), b"%d" % n, state="Untouched")
    assert names_of(archive, "%") == ["/exp/100%.zip"]
    assert names_of(archive, "a_b") == ["/exp/a_b.zip"]
    assert names_of(archive, "110/") == ["/exp/110/x.zip"]
    assert names_of(archive, "110") == ["/exp/110/x.zip", "/exp/1109/x.zip"]
    assert names_of(archive, "100", "_b") == ["/exp/100%.zip", "/exp/100x.zip", "/exp/a_b.zip"]
    assert names_of(archive, "/exp/a_b.zip", "--exact") == ["/exp/a_b.zip"]
    assert names_of(archive, "a_b", "--exact", code=1) == []
    told = archive.run("lta-dirinfo", "no%such_thing").gave(1)
    assert "no name holds it" in told.err
    archive.run("lta-dirinfo").gave(2)
    archive.run("lta-dirinfo", "").gave(2)
    said = archive.run("lta-dirinfo", "100%").ok().out
    assert said == "/exp/100%.zip  1  Untouched  nersc\n"


def test_directories_and_the_bundles_of_files_are_told_by_any_name(archive: Archive) -> None:
    made = archive.directory("/exp/in%20side", 7)
    some = {b"/exp/in side/" + name: name for name in NASTY}
    archive.bundle("/exp/one.zip", bundle_of(some), some, directory_id=made.id)
    assert names_of(archive, "in side", kind="directories") == ["/exp/in side"]
    assert names_of(archive, "in%20side", kind="directories") == ["/exp/in side"]
    raw = [name.decode("utf-8", "surrogateescape") for name in NASTY]
    found = archive.run("lta-dirinfo", "--files", "--json", "--", *raw).ok().json["files"]
    assert {names.decode(one["name"]) for one in found} == set(some)
    assert {(one["bundle"], one["state"]) for one in found} == {("/exp/one.zip", "LocalDeleted")}
    assert "\n" not in archive.run("lta-dirinfo", "--files", "two").ok().out.rstrip("\n")


def test_where_a_file_is_is_told_without_home_or_tables_from_zips_and_manifests(short_tmp: Path) -> None:
    """Ours, both of the successor's, one that is damaged, and what is no manifest."""
    place = short_tmp / "tape"
    (place / "deep").mkdir(parents=True)
    some = {b"/exp/a%b": b"1", b"/exp/dir/two\nlines": b"22"}
    (place / "ours.zip").write_bytes(bundle_of(some))
    (place / "deep/old.zip").write_bytes(zipped(theirs({b"/exp/old": b"o"}, 2), {b"old": b"o"}, tail=".metadata.json"))
    (place / "deep/x.metadata.ndjson").write_bytes(theirs({b"/exp/listed": b"l"}))
    (place / "cut.zip").write_bytes(bundle_of(some)[:-30])
    (place / "bad.metadata.ndjson").write_bytes(ours(some)[:-40])
    (place / "notes.txt").write_text("nothing")
    (place / "link.zip").symlink_to(place / "ours.zip")
    done = run("lta-dirinfo", "--offline", place, "exp", "--json").gave(1)
    found = {names.decode(one["name"]): names.decode(one["bundle"]).removeprefix(bytes(place)) for one in done.json["files"]}
    assert found == {
        b"/exp/a%b": b"/ours.zip",
        b"/exp/dir/two\nlines": b"/ours.zip",
        b"/exp/old": b"/deep/old.zip",
        b"/exp/listed": b"/deep/x.metadata.ndjson",
    }
    assert sorted(one["subject"].rpartition("/")[2] for one in done.json["errors"]) == ["bad.metadata.ndjson", "cut.zip"]
    assert run("lta-dirinfo", "--offline", place / "ours.zip", "--exact", "/exp/a%b").ok().out.startswith("/exp/a%b  in ")
    run("lta-dirinfo", "--offline", place / "ours.zip", "--exact", "/exp/a").gave(1)
    run("lta-dirinfo", "--offline", short_tmp / "none", "x").gave(2)


@given(st.text(st.sampled_from(string.ascii_letters + "%_/ 0129aAfF" + "é"), min_size=1))
def test_a_fragment_is_its_own_bytes_or_a_part_of_an_encoded_name_and_never_a_pattern(fragment: str) -> None:
    spelt = spellings(fragment)
    assert spelt[0] == names.encode(fragment.encode())
    for other in spelt[1:]:
        assert other == fragment
        assert "%" not in fragment or all(
            len(part) >= 2 and set(part[:2]) <= set("0123456789ABCDEF") for part in fragment.split("%")[1:]
        )
