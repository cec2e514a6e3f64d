"""dm-check and its repair for lta: damaged books and places are told by their rule, and mended where that is honest."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dmtools.lta.direct import Direct
from tests.lta.bookkeeping import direct, post
from tests.support import run

LFN = "/exp/1206"


@pytest.fixture
def bundled(home: Path) -> Path:
    """A HOME with one bundle that glue made of a directory with two files."""
    text = (home / "dmtools.toml").read_text()
    (home / "dmtools.toml").write_text(f"lta.settle_seconds = 0\n{text}")
    place = home / "demo/lta/warehouse" / LFN[1:]
    place.mkdir(parents=True)
    for name in ("a", "b b"):
        (place / name).write_bytes(name.encode() * 100)
    (home / "counts.txt").write_text(f"{LFN} 2\n")
    run("lta-glue", "--expect", home / "counts.txt", home=home).ok()
    run("lta-glue", home=home).ok()
    books: Direct = direct(home)
    post(books, 1_000_000)
    books.ledger.close()
    return home


def sql(home: Path, statement: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(home / "dmtools.db")) as raw, raw:
        return raw.execute(statement, values).fetchall()


def rules(home: Path, *options: str, code: int = 1) -> dict[str, dict[str, Any]]:
    """Findings by rule."""
    found = run("dm-check", "--json", *options, home=home).gave(code).json
    return {one["rule"]: one for one in found["findings"]}


def zip_of(home: Path) -> Path:
    (path,) = (home / "demo/lta/outbound").rglob("*.zip")
    return path


def test_a_home_that_is_well_agrees_also_with_its_bytes(bundled: Path) -> None:
    assert rules(bundled, "--storage", "all", code=0) == {}


def test_counts_room_and_files_are_mended_from_rows_and_from_the_manifest(bundled: Path) -> None:
    before = sql(bundled, "SELECT name, size, sha512, adler32, source, mtime_ns FROM lta_file ORDER BY name")
    sql(bundled, "UPDATE tally SET n = n + 5 WHERE pipeline = 'lta'")
    sql(bundled, "UPDATE lta_site SET reserved = 77 WHERE name = 'nersc'")
    sql(bundled, "DELETE FROM lta_file WHERE name LIKE '%a'")
    found = rules(bundled)
    assert set(found) == {"counts", "reserved", "files-unknown"}
    assert found["files-unknown"]["says"] == "it holds 2 files, the tables know 1 of them"
    mended = rules(bundled, "--repair", code=0)
    assert all(one["mended"] for one in mended.values())
    assert rules(bundled, code=0) == {}
    assert sql(bundled, "SELECT name, size, sha512, adler32, source, mtime_ns FROM lta_file ORDER BY name") == before
    assert sql(bundled, "SELECT reserved FROM lta_site WHERE name = 'nersc'") == [(0,)]


def test_zips_against_bundles_are_told_with_what_to_do_and_never_touched(bundled: Path) -> None:
    path = zip_of(bundled)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert set(rules(bundled, "--storage", "all")) == {"zip-differs"}
    assert rules(bundled, code=0) == {}, "its size is right: only its bytes tell"
    path.write_bytes(data + b"x")
    assert "it is not what was added" in rules(bundled, "--repair")["zip-differs"]["next"]
    assert path.read_bytes() == data + b"x"
    path.unlink()
    assert "lta-bundle-scanner --abort" in rules(bundled)["zip-gone"]["next"]
    sql(bundled, "UPDATE lta_bundle SET files = 3")
    assert rules(bundled, "--repair")["not-all-bundled"]["mend"] == ""


def test_the_remote_copies_that_can_be_seen_from_here_are_read(bundled: Path) -> None:
    path, remote = zip_of(bundled), bundled / "demo/lta/remote"
    ideal = path.relative_to(bundled / "demo/lta/outbound")
    for place, state in ((remote / "buffer", "PushDone"), (remote / "tape", "NERSCClean")):
        sql(bundled, "UPDATE lta_bundle SET state = ?", state)
        sql(bundled, "UPDATE tally SET state = ? WHERE pipeline = 'lta'", state)
        name = place.name
        assert set(rules(bundled, "--storage", "all")) == {f"{name}-gone"}
        (place / ideal).parent.mkdir(parents=True)
        (place / ideal).write_bytes(path.read_bytes())
        assert rules(bundled, "--storage", "all", code=0) == {}
        (place / ideal).write_bytes(path.read_bytes()[::-1])
        assert set(rules(bundled, "--storage", "sample")) == {f"{name}-differs"}


def test_lost_tables_are_made_again_from_the_zips_that_are_here_and_their_manifests(bundled: Path) -> None:
    kept = "SELECT destination, ideal, name, size, sha512, adler32, files FROM lta_bundle"
    files = "SELECT name, size, sha512, adler32, source, mtime_ns FROM lta_file ORDER BY name"
    before = sql(bundled, kept), sql(bundled, files)
    for table in ("lta_bundle", "lta_file", "lta_directory", "lta_site"):
        sql(bundled, f"DELETE FROM {table}")
    sql(bundled, "DELETE FROM tally WHERE pipeline = 'lta'")
    found = rules(bundled, code=0)
    assert set(found) == {"tables-new"}
    assert "nothing is lost" in found["tables-new"]["next"]
    assert rules(bundled, "--repair", code=0)["tables-new"]["mended"]
    assert (sql(bundled, kept), sql(bundled, files)) == before
    assert sql(bundled, "SELECT state FROM lta_bundle") == [("Untouched",)]
    assert rules(bundled, code=0) == {}
