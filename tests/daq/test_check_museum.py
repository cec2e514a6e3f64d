"""dm-check for daq on damaged homes: what it says of each, what --repair mends, and what it leaves to a person."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daq.archive_steps import Archive
from tests.real_components import XRootD
from tests.support import Server

NAMES = [f"MIG_A/run_{n}_20261126T101010.dat" for n in "abcdef"]
A, B, C, D, E, F = (f"/2611/261126/{name}" for name in NAMES)


def findings(site: Archive, *words: str, codes: tuple[int, ...] = (0, 1)) -> dict[tuple[str, str], dict[str, Any]]:
    """What dm-check finds, by rule and subject."""
    found = site.run("dm-check", "--json", *words).gave(*codes).json["findings"]
    return {(one["rule"], one["subject"]): one for one in found}


def disk(site: Archive) -> Path:
    return site.home / "demo/daq/data1"


@pytest.fixture
def whole(home: Path, serve: Callable[..., Server]) -> Archive:
    """Six files that went all the way to tape; their disk is still to be emptied. Directories, tables and storage agree."""
    site = Archive(home, serve)
    site.only()
    for name in NAMES:
        place = disk(site) / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(name.encode() * 50)
    (disk(site) / "ReadyToTransfer").touch()
    site.run("daq-transfer").ok()
    site.start()
    site.settle()
    assert site.files() == {"OnTape": 6}
    assert findings(site, "--storage", "all", codes=(0,)) == {}
    return site


def test_what_differs_on_tape_or_at_the_site_is_told_and_never_made_right_by_a_guess(whole: Archive) -> None:
    whole.on_tape(A).unlink()
    whole.on_tape(B).write_bytes(whole.on_tape(B).read_bytes()[:-1] + b"x")
    whole.copy(C).unlink()
    whole.copy(D).write_bytes(b"other bytes")
    before = {path: path.read_bytes() for path in (whole.on_tape(B), whole.copy(D))}
    found = findings(whole, "--storage", "all", codes=(1,))
    wanted = {("tape-gone", f"{A}.zip"), ("tape-differs", f"{B}.zip"), ("site-gone", C), ("site-differs", D)}
    assert set(found) == wanted
    assert "daq-restore" in found["site-gone", C]["next"]
    repaired = findings(whole, "--storage", "all", "--repair", codes=(1,))
    assert {key for key, one in repaired.items() if one["mended"]} == {("tape-gone", f"{A}.zip"), ("tape-differs", f"{B}.zip")}
    assert dict(whole.sql("SELECT lfn, error_class FROM daq_file WHERE state = 'Bad'")) == {A: "lost", B: "checksum"}
    assert whole.files() == {"OnTape": 4, "Bad": 2}, "and the counts say so, too"
    assert {path: path.read_bytes() for path in before} == before, "nothing was written over"
    assert whole.run("dm-trace", A, "--json").ok().json["error_class"] == "lost"


def test_a_disk_against_its_rows(whole: Archive) -> None:
    place = disk(whole) / NAMES[0]
    (disk(whole) / "MIG_A/new_20261126T101010.dat").touch()
    place.rename(place.with_name(".dm-del-123"))
    (disk(whole) / NAMES[1]).rename(disk(whole) / "MIG_A/elsewhere_20261126T101010.dat")
    found = findings(whole, codes=(0,))
    assert {rule for rule, _ in found} == {"not-scanned-yet", "half-removed"}, "notes: the next pass settles them"
    place.with_name(".dm-del-123").rename(place)
    assert ("gone-from-disk", str(disk(whole))) in findings(whole, codes=(0,))
    assert all(one["note"] for one in found.values())
    disk(whole).rename(disk(whole).with_name("away"))
    assert ("disk-away", str(disk(whole))) in findings(whole, codes=(0,))


def test_rows_that_disagree_among_themselves(whole: Archive) -> None:
    with whole.database() as db:
        db.execute("DELETE FROM daq_zip WHERE id = (SELECT zip_id FROM daq_file WHERE lfn = ?)", (A,))
        db.execute("DELETE FROM daq_zip WHERE id = (SELECT zip_id FROM daq_file WHERE lfn = ?)", (B,))
        db.execute("UPDATE daq_file SET state = 'Zipped' WHERE lfn = ?", (A,))
        db.execute("UPDATE daq_file SET state = 'AtSite' WHERE lfn = ?", (C,))
        db.execute("UPDATE daq_zip SET state = 'OnTape' WHERE id = (SELECT zip_id FROM daq_file WHERE lfn = ?)", (C,))
    found = findings(whole, codes=(1,))
    assert {rule for rule, _ in found} == {"counts", "no-zip", "zip-and-files"}
    repaired = findings(whole, "--repair", codes=(1,))
    left = {key for key, one in repaired.items() if not one["mended"]}
    assert left == {("no-zip", B), ("zip-and-files", f"{C}.zip")}, "what no rule mends is left to a person"
    assert whole.sql("SELECT state, zip_id FROM daq_file WHERE lfn = ?", A) == [("AtSite", None)]
    whole.settle()
    assert whole.sql("SELECT state FROM daq_file WHERE lfn = ?", A) == [("OnTape",)], "and it goes to tape again: the same zip"


def test_lists_and_directories_of_jobs_against_the_tables(whole: Archive) -> None:
    (whole.home / "daq/TODO/foreign.txt").write_text("no list\n")
    (whole.home / "daq/jobs/dm-0123").mkdir()
    (whole.home / "demo/site/zips/2611").mkdir(parents=True, exist_ok=True)
    (whole.home / "demo/site/zips/2611/x.zip").touch()
    found = findings(whole, "--storage", "sample", codes=(1,))
    assert set(found) == {("unknown-list", "TODO/foreign.txt"), ("job-left", "daq/jobs"), ("zips-left", "[daq] zips")}
    repaired = findings(whole, "--repair", codes=(0,))
    assert repaired["unknown-list", "TODO/foreign.txt"]["mended"]
    assert [path.read_text() for path in (whole.home / "run/set-aside").iterdir() if path.is_file()] == ["no list\n"]


def test_zips_that_nobody_waits_for_are_found_at_a_server_too(whole: Archive, xrootd_server: Callable[..., XRootD]) -> None:
    server = xrootd_server()
    place = server.data / "zips/2611/a b"
    place.mkdir(parents=True)
    (place / ".x.zip.0.dmtmp").touch()
    with whole.database() as db:
        db.execute("UPDATE daq_zip SET place = ?, state = 'OnTape' WHERE id = 1", (f"{server.url}zips/2611/a%20b/mine.zip",))
    (place / "mine.zip").touch()
    whole.settings(f'[daq]\nzips = "{server.url}zips"\n')
    assert ("zips-left", "[daq] zips") not in findings(whole, "--storage", "sample")
    (place / "nobody's.zip").touch()
    assert "1 zips that no row has" in findings(whole, "--storage", "sample")["zips-left", "[daq] zips"]["says"]
    server.stop()
    assert ("storage-unknown", "[daq] zips") in findings(whole, "--storage", "sample")


def test_lost_tables_lose_no_file_and_zip_nothing_to_tape_twice(whole: Archive) -> None:
    on_tape = {lfn: (whole.on_tape(lfn).read_bytes(), whole.on_tape(lfn).stat().st_mtime_ns) for lfn in (A, B, C, D, E, F)}
    gc.collect()  # this process must not have the tables open
    for path in whole.home.glob("dmtools.db*"):
        path.unlink()
    whole.run("dm-check").gave(75)
    (told,) = findings(whole, "--repair", codes=(0,)).values()
    assert told["rule"] == "tables-new"
    assert "daq-restore --without-tables" in told["next"]
    back = whole.home / "back"
    whole.run("daq-restore", A, "--without-tables", "--to", back).ok()
    assert (back / A[1:]).read_bytes() == (disk(whole) / NAMES[0]).read_bytes()
    shutil.rmtree(back)
    whole.run("daq-transfer").ok()
    whole.settle()
    assert whole.files() == {"OnTape": 6}
    assert {lfn: (whole.on_tape(lfn).read_bytes(), whole.on_tape(lfn).stat().st_mtime_ns) for lfn in on_tape} == on_tape
