"""lta-glue: a full directory becomes bundles: each file in exactly one, proved, the same bytes whoever makes them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dmtools.lta import holder
from tests.lta.dump_steps import DAY, WILD, Train, told
from tests.support import wait_until

STRACE = ("strace", "-f", "-qq", "-o", "/dev/null")


@pytest.fixture
def train(home: Path) -> Train:
    """A HOME with an empty warehouse."""
    return Train(home)


def test_a_full_directory_with_a_nested_tree_empty_files_and_wild_names_becomes_bundles_that_hold_it_byte_for_byte(
    train: Train,
) -> None:
    train.set(ideal_bytes=1000)
    train.stored(DAY + "/empty", b"")
    train.stored(DAY + "/large", os.urandom(5 << 20))  # larger than the ideal size, and than what is read at once
    wanted = {DAY.encode() + b"/" + name: b"" for name in (b"empty", b"large")}
    for name in WILD:
        train.stored(DAY.encode() + b"/sub/" + name)
        wanted[DAY.encode() + b"/sub/" + name] = b""
    wanted = {name: Path(os.fsdecode(os.fsencode(train.warehouse) + b"/" + name)).read_bytes() for name in wanted}
    train.stored(DAY + "/.hidden")
    os.symlink("/etc/passwd", train.warehouse / DAY / "link")
    train.expected({"/" + DAY: len(wanted)})
    found = train.glue()
    assert "a symbolic link" in told(found)
    assert train.directories() == {"/" + DAY: "LTArequest"}
    assert train.bundled() == wanted
    assert len(train.zips()) > 3
    for path, size, sha512, adler32 in train.sql("SELECT name, size, sha512, adler32 FROM lta_bundle"):
        data = Path(path.removeprefix("file://")).read_bytes()
        assert (len(data), hashlib.sha512(data).hexdigest(), f"{zlib.adler32(data):08x}") == (size, sha512, adler32)
    rows = {
        name: (size, sha512, adler) for name, size, sha512, adler in train.sql("SELECT name, size, sha512, adler32 FROM lta_file")
    }
    assert len(rows) == len(wanted)
    for path in train.zips():
        assert subprocess.run(["unzip", "-tqq", path], capture_output=True).returncode == 0
        listed = subprocess.run(["zipinfo", "-1", path], capture_output=True).stdout.splitlines()
        assert listed[0] == f"{path.stem}.metadata.ndjson".encode()
        text = subprocess.run(["unzip", "-p", path, "*.ndjson"], capture_output=True).stdout
        head, *records = [json.loads(line) for line in text.splitlines()]
        assert head == {"uuid": path.stem, "component": "lta-glue", "version": 3, "file_count": len(records)}
        for one in records:
            assert rows[one["name"]] == (one["size"], one["sha512"], one["adler32"])
    source, mtime = train.sql("SELECT source, mtime_ns FROM lta_file WHERE name = ?", f"/{DAY}/large")[0]
    assert (source, mtime) == (str(train.warehouse / DAY / "large"), (train.warehouse / DAY / "large").stat().st_mtime_ns)
    assert train.glue().json["state"] == "idle"
    assert list((train.home / "lta/plans").iterdir()) == []


def test_a_rerun_after_a_kill_makes_the_same_bundle_and_never_two(train: Train) -> None:
    train.set(ideal_bytes=1000)
    wanted = train.full(*map(str, range(9)))
    train.glue()
    first = {path: path.read_bytes() for path in train.zips()}
    with train.database() as db:  # as if nothing had been booked, and the notes and one bundle were lost
        for table in ("lta_bundle", "lta_file"):
            db.execute(f"DELETE FROM {table}")
        db.execute("UPDATE lta_directory SET state = 'processing', ready = since")
    lost = train.zips()[0]
    lost.unlink()
    train.glue()
    assert {path: path.read_bytes() for path in train.zips()} == first
    assert train.bundled() == wanted
    with train.database() as db:  # the last step alone is lost
        db.execute("UPDATE lta_directory SET state = 'processing', ready = since")
    assert train.glue().json["counts"] == {"processing>LTArequest": 1}


def test_two_glues_at_once_make_each_bundle_once(train: Train) -> None:
    train.set(ideal_bytes=1000)
    wanted = {}
    for day in ("data/a", "data/b", "data/c"):
        wanted |= train.full(*map(str, range(9)), day=day)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: train.glue(), range(2)))
    assert sum(one.json["counts"].get("processing>LTArequest", 0) for one in found) == 3
    assert train.bundled() == wanted
    assert sum(one.json["counts"].get(">Untouched", 0) for one in found) == len(train.zips())


def test_a_byte_flipped_in_a_source_against_the_catalogue_is_a_problem_that_names_the_file(train: Train) -> None:
    data = os.urandom(5000)
    train.stored("data/a/1", data)
    train.stored("data/a/2")
    train.stored("data/b/1", data)
    file = train.home / "catalogue"
    lines = [f"/data/{name}/1 5000 {hashlib.sha512(data).hexdigest()}\n" for name in "ab"]
    file.write_text("# ours\n\n" + "".join(lines))
    assert "2 files, 2 of them new" in train.run("lta-glue", "--load", file, "-v").ok().err
    assert "0 of them new" in train.run("lta-glue", "--load", file, "-v").ok().err
    file.write_text(lines[0].replace("5000", "5001"))
    assert "another size" in told(train.glue("--load", file, codes=(2,)))
    train.stored("data/a/1", data[:2500] + bytes([data[2500] ^ 1]) + data[2501:])
    train.expected({"/data/a": 2, "/data/b": 1})
    found = train.glue(codes=(1,))
    assert "data/a/1" in told(found)
    assert "by the catalogue" in told(found)
    assert train.directories() == {"/data/a": "problem", "/data/b": "LTArequest"}
    assert train.bundled() == {b"data/b/1": data}
    train.stored("data/a/1", data)
    train.run("lta-glue", "--take-up", "/data/a").ok()
    train.glue()
    assert train.directories()["/data/a"] == "LTArequest"


@pytest.mark.needs("strace")
@pytest.mark.parametrize("size", [3000, 6 << 20])
def test_a_file_that_is_changed_while_it_is_zipped_is_a_problem_and_no_bundle_appears(train: Train, size: int) -> None:
    wanted = train.full("1", "2")
    path = train.stored(DAY + "/1", os.urandom(size))
    prefix = (*STRACE, "-P", str(path), "-e", "trace=openat", "-e", "inject=openat:delay_exit=5000000")
    with ThreadPoolExecutor(1) as pool:
        glue = pool.submit(train.glue, codes=(1,), prefix=prefix)
        wait_until(lambda: glue.done() or (train.home / "lta/plans/1/plan.ndjson").exists(), 60, "it is planned")
        os.utime(path, ns=(1, 1))
        found = glue.result()
    assert "changed since its directory was looked at" in told(found)
    assert train.directories() == {"/" + DAY: "problem"}
    assert train.zips() == []
    assert [p for p in (train.home / "demo/lta/outbound").rglob("*") if p.is_file()] == []
    train.run("lta-glue", "--take-up", "/" + DAY).ok()
    train.glue()
    assert set(train.bundled()) == set(wanted)


def test_a_directory_that_holds_other_files_than_expected_by_now_is_a_problem(train: Train) -> None:
    train.full("1", "2")
    train.stored(DAY + "/3")
    assert "3 files now, 2 are expected" in told(train.glue(codes=(1,)))
    assert train.zips() == []


def test_another_file_at_a_bundles_place_is_left_and_told(train: Train) -> None:
    train.full("1")
    train.glue()
    place = train.zips()[0]
    with train.database() as db:
        db.execute("DELETE FROM lta_bundle")
        db.execute("DELETE FROM lta_file")
        db.execute("UPDATE lta_directory SET state = 'processing', ready = since")
    place.write_bytes(b"somebody else's")
    assert "another file stands at" in told(train.glue(codes=(1,)))
    assert place.read_bytes() == b"somebody else's"
    assert train.directories() == {"/" + DAY: "problem"}


def test_a_source_that_cannot_be_read_is_tried_again_and_a_problem_after_its_attempts(train: Train) -> None:
    train.set(max_attempts=2, retry_seconds=1)
    train.full("1", "2")
    train.full("1", day="data/other")
    prefix = (*STRACE, "-P", str(train.warehouse / DAY / "1"), "-e", "trace=openat", "-e", "inject=openat:error=EIO")
    found = train.glue(codes=(1,), prefix=prefix)
    assert train.directories() == {"/" + DAY: "unclaimed", "/data/other": "LTArequest"}
    assert "could not be read" in told(found)
    train.due()
    train.glue(codes=(1,), prefix=prefix)
    assert train.directories()["/" + DAY] == "problem"
    assert "attempt 2 of 2" in train.sql("SELECT reason FROM lta_directory WHERE state = 'problem'")[0][0]


def test_a_full_outbound_is_no_attempt_and_all_directories_wait(train: Train) -> None:
    train.full("1", "2")
    prefix = (*STRACE, "-e", "trace=pwritev,pwritev2", "-e", "inject=pwritev,pwritev2:error=ENOSPC")
    assert "outbound in trouble" in told(train.glue(codes=(1,), prefix=prefix))
    assert train.sql("SELECT state, failures FROM lta_directory") == [("unclaimed", 0)]
    train.glue()
    assert train.directories() == {"/" + DAY: "LTArequest"}
    (train.home / "demo/lta/outbound").rename(train.home / "away")
    train.glue(codes=(75,))


def test_expected_numbers_and_catalogue_are_taken_whole_or_refused_with_their_line(train: Train) -> None:
    train.stored("data/with blank/1")
    train.stored(b"data/\xff\xfe/1")
    file = train.home / "numbers"
    file.write_bytes(b'{"directory": "/data/with blank/", "files": 1}\n/data/\xff\xfe 1\n')
    train.run("lta-glue", "--expect", file).ok()
    assert train.directories() == {"/data/with%20blank": "unclaimed", "/data/%FF%FE": "unclaimed"}
    for bad, why in {
        "/data/x 1\n/data/y\n": "line 2",
        "/data/x -1\n": "number",
        "/data/x 0\n": "one at least",
        "data/x 1\n": "absolute",
        "/data/../x 1\n": "'..'",
        "<html>\n": "words",
        '{"files": 1}\n': "no directory",
        "{not json\n": "line 1",
    }.items():
        file.write_text(bad)
        assert why in told(train.glue("--expect", file, codes=(2,))), bad
    assert train.sql("SELECT COUNT(*) FROM lta_expected") == [(2,)]
    train.run("lta-glue", "--expect", train.home / "nowhere").gave(2)
    train.run("lta-glue", "--take-up", "/data/nowhere").gave(2)


def test_a_directory_within_another_expected_one_is_refused_for_its_files_would_be_bundled_twice(train: Train) -> None:
    file = train.home / "numbers"
    file.write_text("/data/exp/110 3\n/data/exp/1109 1\n")
    train.run("lta-glue", "--expect", file).ok()
    for inner in ("/data/exp/110/deep/er 1\n", "/data 5\n", "/other 1\n/other/b 1\n"):
        file.write_text(inner)
        assert "bundled twice" in told(train.glue("--expect", file, codes=(2,))), inner
    assert train.sql("SELECT COUNT(*) FROM lta_expected") == [(2,)]


def test_what_a_person_says_of_a_directory_is_done_or_refused(train: Train) -> None:
    train.full("1")
    train.run("lta-glue", "--never-delete", "/" + DAY).gave(1)
    train.glue()
    train.run("lta-glue", "--never-delete", "/" + DAY).ok()
    assert train.directories() == {"/" + DAY: "neverdelete"}
    train.run("lta-glue", "--may-delete", "/" + DAY).ok()
    train.run("lta-glue", "--give-up", "/" + DAY).ok()
    assert train.directories() == {"/" + DAY: "deprecated"}


def test_a_zip_that_the_scanner_saw_first_belongs_to_its_directory_all_the_same(train: Train) -> None:
    train.full("1")
    train.glue()
    with train.database() as db:  # as if the glue had been killed after the zip had its name, and the scanner came by
        db.execute("UPDATE lta_bundle SET files = NULL, directory_id = NULL")
        db.execute("DELETE FROM lta_file")
        db.execute("UPDATE lta_directory SET state = 'processing', ready = since")
    train.glue()
    assert train.sql("SELECT files, directory_id FROM lta_bundle") == [(1, 1)]
    assert train.sql("SELECT COUNT(*) FROM lta_file") == [(1,)]


@pytest.mark.needs("strace")
def test_what_a_killed_neighbour_held_goes_on_at_once_and_a_living_one_keeps_what_it_has(train: Train) -> None:
    wanted = train.full("1", "2", day="data/a") | train.full("3", day="data/b")
    later, mine = "2999-01-01 00:00:00.000000", holder.name("lta-glue")
    with train.database() as db:
        db.execute("UPDATE lta_directory SET holder = ?, ready = ? WHERE ideal = '/data/b'", (mine, later))
    killed = (*STRACE, "-e", "trace=pwritev,pwritev2", "-e", "inject=pwritev,pwritev2:signal=KILL")
    assert train.run("lta-glue", prefix=killed).code == -9
    assert train.directories() == {"/data/a": "processing", "/data/b": "unclaimed"}
    assert train.glue().json["counts"]["processing>LTArequest"] == 1
    assert train.directories() == {"/data/a": "LTArequest", "/data/b": "unclaimed"}
    assert len(train.sql("SELECT item FROM journal WHERE kind = 'lta-directory' AND why LIKE 'the claim of % handed back%'")) == 1
    train.due()
    train.glue()
    assert train.bundled() == wanted
