"""The scan: names, keys, what is new, what is passed over, and how it goes on after a kill."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools import names
from dmtools.daq.lfn import Naming, lfn_key, place_key
from dmtools.daq.rows import Maker, Row
from dmtools.settings.kinds import Daq
from tests.daq.disk_steps import Disks, data
from tests.support import run

NAME = st.binary(min_size=1, max_size=12).filter(lambda raw: b"/" not in raw and b"\0" not in raw and raw not in (b".", b".."))
REGULAR, LINK = 0o100644, 0o120777


@pytest.fixture
def disks(home: Path) -> Disks:
    """A HOME whose disks are empty."""
    return Disks(home)


def rows(naming: Naming, directory: bytes, *entries: bytes, mode: int = REGULAR) -> list[Row]:
    return [Row(*row) for row in Maker(7, naming).rows((directory, [(name, 1, 2, 3, mode) for name in entries]))]


@given(st.lists(NAME, min_size=1, max_size=4), st.booleans())
def test_any_path_becomes_one_row_whose_keys_are_those_of_its_names(parts: list[bytes], dated: bool) -> None:
    parts[-1] += b"_240716T1.dat" if dated else b""
    path = b"/".join([b"MIG_1", *parts])
    directory, _, name = path.rpartition(b"/")
    (row,) = rows(Naming(Daq()), directory, name)
    assert names.decode(row.path) == path
    assert row.path.isascii()
    assert row.place_key == place_key(7, row.path)
    hidden = any(part.startswith(b".") for part in parts)
    if row.reason is None:
        assert row.lfn_key == lfn_key(row.lfn)
        assert names.decode(row.lfn).endswith(path)
    assert (row.reason is None) or row.lfn_key is None
    assert not hidden or row.reason == "a dot-file"
    assert not dated or hidden or row.lfn == f"/2407/240716/{row.path}"


@pytest.mark.parametrize(
    ("name", "date"),
    [
        (b"MIG_run1_240716T101010.dat", "240716"),
        (b"x_20240716T1.0001.dat", "240716"),
        (b"x_240716", "240716"),
        (b"x.y_240716T1.dat", "240716"),
        (b"240716T1.dat", "240716"),
        (b"x_240716_y.dat", None),
        (b"x_241316T1.dat", None),
        (b"x_240732T1.dat", None),
        (b"x_240716X.dat", None),
        (b"run_notes.txt", None),
        (b"", None),
    ],
)
def test_the_date_stands_behind_the_last_underscore_of_the_name(name: bytes, date: str | None) -> None:
    template, why = Naming(Daq()).look(b"MIG_1/" + name, name)
    assert template == (f"/{date[:4]}/{date}/{{path}}" if date else "")
    assert (why is None) == (date is not None)


@pytest.mark.parametrize(
    ("pattern", "fits", "not_"),
    [
        ("MIG_*/**", [b"MIG_1/a", b"MIG_/b/c/d"], [b"MIG_1", b"XMIG_1/a", b"a/MIG_1/b"]),
        ("**", [b"a", b"a/b"], []),
        ("**/*.dat", [b"a.dat", b"x/y/a.dat"], [b"a.txt", b"a.dat/b"]),
        ("run?/a+b", [b"run1/a+b"], [b"run12/a+b", b"run1/aab"]),
    ],
)
def test_the_pattern(pattern: str, fits: list[bytes], not_: list[bytes]) -> None:
    naming = Naming(Daq(pattern=pattern, lfn="/x/{path}"))
    assert [naming.look(path, path) for path in fits] == [("/x/{path}", None)] * len(fits)
    assert all(naming.look(path, path)[1] == "it doesn't fit [daq] pattern" for path in not_)


def test_an_lfn_may_go_on_behind_the_path_and_links_are_no_data() -> None:
    naming = Naming(Daq(lfn="/raw/{YYMM}/{path}.orig"))
    (row,) = rows(naming, b"MIG_1", b"a_240716T1")
    assert (row.lfn, row.lfn_key) == ("/raw/2407/MIG_1/a_240716T1.orig", lfn_key("/raw/2407/MIG_1/a_240716T1.orig"))
    assert rows(naming, b"MIG_1", b"a_240716T1", mode=LINK)[0].reason == "a symbolic link"


def test_a_scan_records_what_is_new_once(disks: Disks) -> None:
    for number in range(30):
        disks.file(data(f"{number}"))
    disks.flag()
    assert disks.transfer().json["counts"][">Found"] == 30
    disks.file(data("late"))
    assert disks.transfer().json["counts"] == {">Found": 1, "Found>Copied": 1, "Copied>AtSite": 1}
    assert disks.transfer().json["counts"] == {}


def test_a_later_scan_passes_over_directories_that_did_not_change_and_the_last_one_reads_all(disks: Disks) -> None:
    first = disks.file(data("a"))
    disks.flag()
    disks.transfer()
    hidden = disks.file(data("b"))
    os.utime(hidden.parent, (1, 1))  # as a clock that went wrong would do it
    assert disks.transfer().json["counts"] == {}
    disks.to_tape()
    disks.transfer()
    assert not first.exists()
    assert hidden.exists()
    disks.transfer()
    assert disks.states()[data("b")] == "AtSite"


@pytest.mark.needs("strace")
def test_a_scan_that_was_killed_is_done_again_from_its_rows(disks: Disks) -> None:
    for number in range(50):
        disks.file(data(f"{number}"), b"")
    disks.flag()
    disks.settings(site="root://127.0.0.1:1//away")
    kill = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:signal=KILL:when=6")
    run("daq-transfer", home=disks.home, prefix=kill).gave(-9)
    disks.settings()
    disks.transfer()
    assert len(disks.states()) == 50
    assert set(disks.states().values()) == {"AtSite"}
    assert disks.sql("SELECT COUNT(*), COUNT(DISTINCT place_key) FROM daq_file") == [(50, 50)]


@pytest.mark.needs("strace")
def test_an_unreadable_directory_is_told_and_keeps_its_disk(disks: Disks) -> None:
    disks.file(data("a"))
    disks.flag()
    path = str(disks.disk() / "MIG_run1")
    inject = ("-e", "trace=openat", "-e", "inject=openat:error=EACCES")
    prefix = ("strace", "-f", "-qq", "-o", "/dev/null", "-P", path, *inject)
    done = disks.transfer(prefix=prefix)
    assert any("Permission denied" in error["why"] for error in done.json["errors"])
    assert disks.flags() == ["ReadyToTransfer"]
    assert disks.transfer().json["counts"][">Found"] == 1


def test_other_settings_take_what_was_skipped(disks: Disks) -> None:
    disks.file("other/x_240716T1.dat")
    disks.flag()
    disks.transfer()
    assert disks.states() == {"other/x_240716T1.dat": "Skipped"}
    disks.settings(pattern="**")
    disks.transfer()
    assert disks.states() == {"other/x_240716T1.dat": "AtSite"}
    assert (disks.home / "demo/site/2407/240716/other/x_240716T1.dat").is_file()
