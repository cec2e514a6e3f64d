"""migrate-compare as a command: what it calls lost, dark, young, different; the guards; bad input."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmtools.command import report
from tests.support import Result, run

DAY = 86400
LISTS = ("lost", "dark", "young", "different", "invalid")


@pytest.fixture
def compare(tmp_path: Path) -> Callable[..., Result]:
    """`compare(b"dump", b"catalogue", *options)`; the dump is 2 days old, the catalogue 1 day; results in tmp_path/out."""

    def call(dump: bytes, catalogue: bytes, *options: object, code: int = 1, **how: Any) -> Result:
        for name, data, days in (("dump", dump, 2), ("catalogue", catalogue, 1)):
            put(tmp_path / name, data, days)
        found = run("migrate-compare", tmp_path / "dump", tmp_path / "catalogue", "--out", tmp_path / "out", *options, **how)
        assert "internal error" not in found.err, str(found)
        return found.gave(code)

    return call


def put(path: Path, data: bytes, days: float) -> Path:
    """A file as old as that."""
    path.write_bytes(data)
    os.utime(path, (time.time() - days * DAY,) * 2)
    return path


def names(tmp_path: Path, kind: str) -> list[bytes]:
    """The names in a list of the results, without the comments."""
    lines = (tmp_path / "out" / f"{kind}.txt").read_bytes().split(b"\n")
    return [line for line in lines if line and not line.startswith(b"#")]


def lines(*rows: object) -> bytes:
    return b"".join((row if isinstance(row, bytes) else str(row).encode()) + b"\n" for row in rows)


def before(days: float) -> float:
    return round(time.time() - days * DAY, 3)


def test_equal_lists_in_any_order_exit_0(compare: Callable[..., Result], tmp_path: Path) -> None:
    found = compare(lines("/b", "/a", "/c"), lines("/c", "/b", "/a"), "--json", code=0).json
    assert found["equal"] is True
    assert found["counts"] == {"equal": 3, "lost": 0, "dark": 0, "young": 0, "different": 0, "invalid": 0}
    assert all((tmp_path / "out" / f"{kind}.txt").read_bytes() == b"" for kind in LISTS)


def test_lost_and_dark_by_the_age_of_each_file(compare: Callable[..., Result], tmp_path: Path) -> None:
    dump = lines(f"/old\t{before(10)}", f"/new\t{before(2.5)}", "/unknown\t-", "/strange\tyesterday", f"/both\t{before(20)}")
    found = compare(dump, lines("/both", "/gone"), "--dump-columns", "name,mtime", "--json").json
    assert names(tmp_path, "lost") == [b"/gone"]
    assert names(tmp_path, "dark") == [b"/old"]
    assert names(tmp_path, "young") == [b"/new", b"/strange", b"/unknown"]
    assert found["young"] == {"too young": 1, "age unknown": 2}
    assert found["dark_judged"] is True
    assert found["min_age_hours"] == 168
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == found


def test_the_age_counts_from_the_dump_not_from_now(compare: Callable[..., Result], tmp_path: Path) -> None:
    # Made 8 days ago, but only 6 days before the dump: not old enough.
    compare(lines(f"{before(8)}\t/a", f"{before(9.5)}\t/b", "1\t/c"), lines("/c"), "--dump-columns", "mtime,name")
    assert (names(tmp_path, "young"), names(tmp_path, "dark")) == ([b"/a"], [b"/b"])


def test_without_ages_nothing_is_dark(compare: Callable[..., Result], tmp_path: Path) -> None:
    found = compare(lines("/a", "/x"), lines("/a"))
    assert names(tmp_path, "dark") == []
    assert names(tmp_path, "young") == [b"/x"]
    assert "age is unknown" in found.err
    compare(lines("/a", "/x"), lines("/a"), "--min-age", 0)
    assert names(tmp_path, "dark") == [b"/x"]


def test_a_stale_catalogue_makes_nothing_dark(tmp_path: Path) -> None:
    dump = put(tmp_path / "dump", lines(f"/a\t{before(400)}", f"/x\t{before(400)}"), 1)
    catalogue = put(tmp_path / "catalogue", lines("/a"), 3)
    args = (dump, catalogue, "--out", tmp_path / "out", "--dump-columns", "name,mtime", "--json")
    found = run("migrate-compare", *args).gave(1).json
    assert found["counts"]["dark"] == 0
    assert names(tmp_path, "young") == [b"/x"]
    assert found["young"] == {"not judged": 1}
    assert "older than the dump" in found["dark_not_judged_because"]
    assert run("migrate-compare", *args, "--min-age", 0).gave(1).json["counts"]["dark"] == 0
    # The same lists, when the file's time is said to be wrong: the catalogue was listed after all.
    told = run("migrate-compare", *args, "--dump-time", f"@{before(4):.0f}").gave(1).json
    assert told["counts"]["dark"] == 1


def test_a_stale_dump_against_a_live_catalogue_calls_no_new_file_dark(tmp_path: Path) -> None:
    """What broke, 7: the dump is weeks old, the catalogue of now; files made since are neither dark nor lost."""
    dump = put(tmp_path / "dump", lines(f"/kept\t{before(60)}", f"/just\t{before(31)}"), 30)
    catalogue = put(tmp_path / "catalogue", lines(f"/kept\t{before(60)}", f"/since\t{before(3)}", f"/gone\t{before(50)}"), 0)
    columns = ("--dump-columns", "name,mtime", "--catalogue-columns", "name,mtime")
    run("migrate-compare", dump, catalogue, "--out", tmp_path / "out", *columns).gave(1)
    assert names(tmp_path, "dark") == []
    assert names(tmp_path, "lost") == [b"/gone"]
    assert names(tmp_path, "young") == [b"/just", b"/since"]


def test_unknown_times_make_nothing_dark(tmp_path: Path) -> None:
    old = before(400)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    catalogue = put(tmp_path / "catalogue", lines("/a"), 0)
    args = ("migrate-compare", pipe, catalogue, "--out", tmp_path / "out", "--dump-columns", "name,mtime", "--json")
    from threading import Thread

    for option, dark in ((), 0), (("--dump-time", f"@{before(1):.0f}"), 1):
        writer = Thread(target=pipe.write_bytes, args=(lines(f"/a\t{old}", f"/x\t{old}"),))
        writer.start()
        found = run(*args, *option).gave(1).json
        writer.join()
        assert found["counts"]["dark"] == dark
    future = put(tmp_path / "dump", lines(f"/a\t{old}", f"/x\t{old}"), -3)
    found = run("migrate-compare", future, catalogue, "--out", tmp_path / "out", "--dump-columns", "name,mtime", "--json").gave(1)
    assert found.json["counts"]["dark"] == 0
    assert "not known" in found.json["dark_not_judged_because"]


def test_a_time_still_to_come_is_refused(compare: Callable[..., Result], tmp_path: Path) -> None:
    assert "still to come" in compare(b"/a\n", b"/a\n", "--dump-time", "6h", code=2).err
    assert "--catalogue-time" in compare(b"/a\n", b"/a\n", "--catalogue-time", "noon-ish", code=2).err
    assert not (tmp_path / "out").exists()


def test_names_are_compared_whole(compare: Callable[..., Result], tmp_path: Path) -> None:
    """What broke, 6: a name inside another, or the same last part, is another file."""
    compare(lines("/d/file1", "/d/file", "/e/file", "/f"), lines("/d/file10", "/d/file", "/g/file", "/f/", "/F"), "--min-age", 0)
    assert names(tmp_path, "dark") == [b"/d/file1", b"/e/file", b"/f"]
    assert names(tmp_path, "lost") == [b"/F", b"/d/file10", b"/f/", b"/g/file"]


def test_sizes_and_checksums(compare: Callable[..., Result], tmp_path: Path) -> None:
    dump = lines(
        "5\t/a\tadler32:0A1B", "5\t/b\t1", "5\t/c\t0a1b2c3d", "\t/d\t-", "5\t/e\tmd5:00", "7\t/x y\t", "9\t/gone one\tff"
    )
    catalogue = lines(
        "/a|5|ADLER32=00000a1b", "/b|6|1", "/c|5|0a1b2c3e", "/d|4|12", "/e|5|adler32:00", "/x y|07|ab", "/lost|11|", "/n|x|"
    )
    columns = (
        "--dump-columns",
        "size,name,checksum",
        "--catalogue-columns",
        "name,size,checksum",
        "--catalogue-separator",
        "bar",
    )
    found = compare(dump, catalogue, *columns, "--json", "--min-age", 0)
    assert names(tmp_path, "different") == [b"/b", b"/c"]
    text = (tmp_path / "out" / "different.txt").read_text()
    assert "# size: 5 on storage, 6 in the catalogue\n/b\n" in text
    assert "# checksum: 0a1b2c3d on storage, 0a1b2c3e in the catalogue\n/c\n" in text
    assert found.json["bytes"] == {"lost": 11, "dark": 9, "different": 11}
    assert found.json["counts"] == {"equal": 4, "lost": 2, "dark": 1, "young": 0, "different": 2, "invalid": 1}
    assert "another kind" in found.err


def test_a_damaged_line_of_the_catalogue_protects_its_file(compare: Callable[..., Result], tmp_path: Path) -> None:
    dump, catalogue = lines("/a", "/b", "/c"), lines("/a\t5\tab", "/b\tfive\tab", "/c")
    found = compare(dump, catalogue, "--catalogue-columns", "name,size,checksum", "--min-age", 0, "--json").json
    assert "its name was taken" in found["errors"][0]["why"]
    assert found["counts"] == {"equal": 3, "lost": 0, "dark": 0, "young": 0, "different": 0, "invalid": 2}


def test_columns_parted_by_blanks_leave_blanks_in_names(compare: Callable[..., Result], tmp_path: Path) -> None:
    dump = b"".join(b"  %d   %d  /a b %d\n" % (n, before(30), n) for n in range(3))
    options = ("--dump-columns", "size,mtime,name", "--dump-separator", "blank")
    found = compare(dump, lines("/a b 0", "/a b 1"), *options, "--json").json
    assert names(tmp_path, "dark") == [b"/a b 2"]
    assert (found["counts"]["equal"], found["bytes"]["dark"]) == (2, 2)


def test_prefix_by_whole_components(compare: Callable[..., Result], tmp_path: Path) -> None:
    dump = lines("/castor/a", "/castor2/b", "/castor/", "/castor", "./c", "/castor//d")
    found = compare(dump, lines("/a", "/b", "/d", "/"), "--strip", "/castor/", "--min-age", 0, "--json")
    assert names(tmp_path, "lost") == [b"/b", b"/d"]
    assert names(tmp_path, "dark") == [b"//d"]
    assert found.json["dump"]["outside"] == 3
    assert "3 names are not below /castor/" in found.err
    compare(lines("./a", "./b"), lines("/a", "/b"), "--strip", ".", code=0)
    compare(lines("lhcb:prod/a", "lhcb:prod/b"), lines("/a", "/b"), "--strip", "lhcb:prod", code=0)


def test_percent_encoded_lists(compare: Callable[..., Result], tmp_path: Path) -> None:
    dump = lines("/a%20b", "/%ff%C3%A9", "/100%25", "/new%0Aline", "/bad%zz", b"/raw\xfe%20")
    catalogue = lines("/a b", b"/\xff\xc3\xa9", "/100%", b"/raw\xfe ", "/x%20y")
    found = compare(dump, catalogue, "--percent-encoded", "dump", "--json")
    assert found.json["counts"] == {"equal": 4, "lost": 1, "dark": 0, "young": 0, "different": 0, "invalid": 2}
    assert names(tmp_path, "lost") == [b"/x%20y"]
    assert "line 4" in found.err
    assert "line 5" in found.err


def test_bad_lines_are_named_and_the_rest_goes_on(compare: Callable[..., Result], tmp_path: Path) -> None:
    dump = lines(
        "# made by hand", "/a", "", "relative", b"/nul\0", "/x/../y", b"/" + b"l" * 70000, "/..fine", "/b..", b"/\xff\xfe"
    )
    found = compare(dump, lines("/a", "/..fine", "/b..", b"/\xff\xfe", "/gone"), "--json")
    assert names(tmp_path, "lost") == [b"/gone"]
    assert found.json["counts"]["invalid"] == 4
    assert found.json["counts"]["equal"] == 4
    assert found.json["dump"]["lines"] == 10
    for number, why in (4, "does not begin with /"), (5, "NUL"), (6, "'..'"), (7, "longer than 65536 bytes"):
        assert any(f"dump line {number}:" in line and why in line for line in found.err.splitlines()), (number, why)
    aside = (tmp_path / "out" / "invalid.txt").read_bytes()
    assert b"# dump line 4: its name does not begin with / (is a --strip PREFIX missing?)\nrelative\n" in aside
    assert len(aside) < 6000


def test_only_the_first_bad_lines_are_told(compare: Callable[..., Result], tmp_path: Path) -> None:
    found = compare(lines("/a", *("bad" for _ in range(500))), lines("/a", *("worse" for _ in range(500))))
    assert found.err.count("bad line") == report.EXAMPLES + 1  # the last one says how many more
    assert len(names(tmp_path, "invalid")) == 1000
    assert "invalid    1000" in found.out


def test_a_binary_file_is_no_list(compare: Callable[..., Result], tmp_path: Path) -> None:
    found = compare(bytes(range(256)) * 20000, b"/a\n", code=75)
    assert "holds no usable name" in found.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("side", ["dump", "catalogue"])
def test_an_empty_list_is_a_failed_listing(compare: Callable[..., Result], tmp_path: Path, side: str) -> None:
    data = {"dump": b"/a\n", "catalogue": b"/a\n"} | {side: b"# nothing\n"}
    found = compare(data["dump"], data["catalogue"], "--min-age", 0, code=75)
    assert str(tmp_path / side) in found.err
    assert not (tmp_path / "out").exists()
    compare(data["dump"], data["catalogue"], "--min-age", 0, "--allow-empty")
    assert names(tmp_path, "lost" if side == "dump" else "dark") == [b"/a"]


def test_repeated_names_are_told_and_counted_once(compare: Callable[..., Result], tmp_path: Path) -> None:
    found = compare(lines("/a", "/x", "/a", "/x", "/a"), lines("/a", "/y", "/y"), "--min-age", 0, "--json")
    assert (names(tmp_path, "dark"), names(tmp_path, "lost")) == ([b"/x"], [b"/y"])
    assert (found.json["dump"]["duplicates"], found.json["catalogue"]["duplicates"]) == (3, 1)
    assert found.json["dump"]["first_duplicates"] == ["/a", "/x"]
    assert "3 lines repeat a name" in found.err


def test_of_a_repeated_name_the_youngest_counts(compare: Callable[..., Result], tmp_path: Path) -> None:
    dump = lines(f"/x\t{before(99)}", "/a\t1", f"/x\t{before(3)}", f"/x\t{before(98)}")
    found = compare(dump, b"/a\n", "--dump-columns", "name,mtime", "--json").json
    assert (names(tmp_path, "dark"), names(tmp_path, "young")) == ([], [b"/x"])
    assert found["dump"]["duplicates"] == 2


def test_nothing_in_common_is_told(compare: Callable[..., Result]) -> None:
    assert "no name stands in both" in compare(lines("/castor/a"), lines("/a")).err


def test_what_looks_like_a_mistake_is_told(compare: Callable[..., Result], tmp_path: Path) -> None:
    found = compare(b"/a\t5\n/b\r\n/c", b"/a\n/b\n/c\n")
    assert "--dump-columns" in found.err
    assert "carriage return" in found.err
    assert "cut short" in found.err
    assert names(tmp_path, "lost") == [b"/a", b"/b"]


def test_gzip_is_known_by_its_bytes(compare: Callable[..., Result], tmp_path: Path) -> None:
    two_members = gzip.compress(lines("/a", "/b")) + gzip.compress(lines("/x"))
    compare(two_members, gzip.compress(lines("/a", "/b", "/y")), "--min-age", 0)
    assert (names(tmp_path, "dark"), names(tmp_path, "lost")) == ([b"/x"], [b"/y"])


def _flipped(data: bytes) -> bytes:
    return data[:-6] + bytes([data[-6] ^ 255]) + data[-5:]


@pytest.mark.parametrize("spoil", [lambda d: d[:-4], lambda d: d[: len(d) // 2], lambda d: d[:10], _flipped, lambda d: d + b"x"])
@pytest.mark.parametrize("side", ["dump", "catalogue"])
def test_damaged_gzip_publishes_nothing(compare: Callable[..., Result], tmp_path: Path, spoil: Any, side: str) -> None:
    whole = gzip.compress(lines(*(f"/a/{n}/{n * 7919 % 10007}" for n in range(20000))))
    compare(b"/a\n", b"/b\n")
    kept = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    data = {"dump": whole, "catalogue": whole} | {side: spoil(whole)}
    found = compare(data["dump"], data["catalogue"], "--json", code=75)
    assert "cut short or damaged" in found.json["errors"][0]["why"]
    assert str(tmp_path / side) == found.json["errors"][0]["subject"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == kept


def test_files_that_are_no_lists(compare: Callable[..., Result], tmp_path: Path) -> None:
    good = put(tmp_path / "good", b"/a\n", 1)
    (tmp_path / "packed.gz").write_bytes(b"")
    for wrong, code, word in (
        (tmp_path, 2, "is a directory"),
        (tmp_path / "none", 2, "there is no file"),
        (put(tmp_path / "zst", b"\x28\xb5\x2f\xfd" + b"x" * 50, 1), 2, "zstd"),
        (tmp_path / "packed.gz", 75, "no gzip data"),
    ):
        for pair in (wrong, good), (good, wrong):
            found = run("migrate-compare", *pair, "--out", tmp_path / "out").gave(code)
            assert word in found.err
    assert not (tmp_path / "out").exists()


def test_wrong_use(compare: Callable[..., Result], tmp_path: Path) -> None:
    for options in ("--dump-columns", "size"), ("--dump-columns", "name,nam"), ("--catalogue-columns", "name,size,size"):
        assert "column" in compare(b"/a\n", b"/a\n", *options, code=2).err
    compare(b"/a\n", b"/a\n", "--min-age", -1, code=2)
    (tmp_path / "file").write_bytes(b"")
    assert "is no directory" in compare(b"/a\n", b"/a\n", "--tmp", tmp_path / "file", code=2).err
    taken = tmp_path / "HOME" / "TODO" / "ListOfLFNs"
    assert "master lists" in compare(b"/a\n", b"/a\n", "--out", taken, code=2).err


def test_a_list_that_the_result_would_replace_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    dump, catalogue = put(out / "dark.txt", b"/a\n", 1), put(tmp_path / "catalogue", b"/b\n", 0)
    assert "would be replaced" in run("migrate-compare", dump, catalogue, "--out", out).gave(2).err
    assert dump.read_bytes() == b"/a\n"


def test_dry_run_leaves_no_trace(compare: Callable[..., Result], tmp_path: Path) -> None:
    found = compare(b"/a\n", b"/b\n", "--dry-run", code=0)
    assert "lost.txt" in found.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalogue", "dump"]


def test_summary_for_people(compare: Callable[..., Result], tmp_path: Path) -> None:
    found = compare(lines("/a", *(f"/x{n}" for n in range(9))), lines("/a", b"/w\xff"), "--min-age", 0)
    assert f"lost       1: in the catalogue, not on storage: copy again; {tmp_path}/out/lost.txt" in found.out
    assert "/w%FF" in found.out
    assert "and 4 more" in found.out
    assert compare(b"/a\n", b"/b\n", "-q").out == ""


def test_a_home_gives_the_age_and_the_places(home: Path, tmp_path: Path) -> None:
    settings = home / "dmtools.toml"
    settings.write_text("[migrate]\ncompare_min_age_hours = 480\n")
    dump = put(tmp_path / "dump", lines("/a\t1", f"/x\t{before(10)}", f"/y\t{before(30)}"), 2)
    catalogue = put(tmp_path / "catalogue", b"/a\n", 1)
    (home / "dmtools.db").unlink()
    found = run("migrate-compare", dump, catalogue, "--dump-columns", "name,mtime", "--json", home=home).gave(1).json
    assert found["files"]["dark"] == str(home / "migrate" / "compare" / "dark.txt")
    assert found["first"]["dark"] == ["/y"]
    assert not (home / "dmtools.db").exists()
    assert not [path for path in (home / "run").iterdir() if path.name.startswith(".migrate")]
    settings.write_text("[migrate]\ncompare_min_age_hour = 480\n")
    assert "compare_min_age_hours" in run("migrate-compare", dump, catalogue, home=home).gave(2).err
    run("migrate-compare", dump, catalogue, home=tmp_path / "no-home").gave(75)


def test_without_a_home_it_works_where_it_stands(tmp_path: Path) -> None:
    put(tmp_path / "dump", b"/a\n", 1)
    put(tmp_path / "catalogue", b"/b\n", 0)
    found = run("migrate-compare", "dump", "catalogue", "--json", cwd=tmp_path).gave(1).json
    assert found["files"]["lost"] == str(tmp_path / "compare" / "lost.txt")
    assert (tmp_path / "compare" / "lost.txt").read_bytes() == b"/b\n"
