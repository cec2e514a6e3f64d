"""migrate-compare against an oracle of sets, over any names, and the pieces that read, sort and walk."""

from __future__ import annotations

import random
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dmtools.migrate.compare import lists, merge
from dmtools.migrate.compare.guard import Guard, instant
from dmtools.migrate.compare.judge import Comparison, Tally, same_checksum
from dmtools.migrate.compare.lists import Form, NameList
from dmtools.migrate.compare.results import Results
from dmtools.names import encode

DIFFERENT, UNKNOWN, TOO_YOUNG = "different", "age unknown", "too young"
# Few letters, so that names are often inside one another; the bytes that parsers and sorts trip over; any bytes.
LETTERS = [b"a", b"b", b"/", b"A", b" ", b"\t", b"\x01", b"\xff", b"\x7f", b"\r", b"%", b"%41", b"#", b"..", b"\x0b", b"|"]
part = st.one_of(st.sampled_from(LETTERS), st.binary(max_size=3).map(lambda raw: raw.replace(b"\n", b"").replace(b"\0", b"")))
name = st.lists(part, max_size=6).map(lambda parts: b"/" + b"".join(parts)).filter(lambda raw: b".." not in raw.split(b"/"))
many = st.lists(name, max_size=40)


@pytest.fixture(autouse=True)
def little_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few bytes: each seam between two of them is met."""
    monkeypatch.setattr(lists, "CHUNK", 16)
    monkeypatch.setattr(merge, "CHUNK", 48)


def compared(dump: bytes, catalogue: bytes, guard: Guard, *forms: Form) -> tuple[dict[str, list[bytes]], Tally, Any]:
    """(the names in each list of the results, the tally, the two lists)"""
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        (base / "dump").write_bytes(dump)
        (base / "catalogue").write_bytes(catalogue)
        (base / "work").mkdir()
        with closing(Results(base / "out", base / "work")) as results:
            sides = [
                NameList(base / title, form, title, results.bad_line, may_be_empty=True)
                for title, form in zip(("dump", "catalogue"), forms or (Form(), Form()), strict=True)
            ]
            (base / "out").mkdir()
            tally = Comparison(*sides, guard, results).run(base)
            results.publish({})
        found = {path.stem: path.read_bytes().split(b"\n")[:-1] for path in (base / "out").glob("*.txt")}
    return {kind: [line for line in rows if not line.startswith(b"#")] for kind, rows in found.items()}, tally, sides


def anything() -> Guard:
    """A guard that lets every file be called dark."""
    from dmtools import clock

    return Guard(clock.now(), clock.now(), 0)


def joined(rows: list[bytes]) -> bytes:
    return b"".join(row + b"\n" for row in rows)


@settings(max_examples=100, deadline=None)
@given(many, many, st.booleans())
def test_names_against_sets(dump: list[bytes], catalogue: list[bytes], newline: bool) -> None:
    data = joined(dump)
    found, tally, _ = compared(data if newline else data[:-1], joined(catalogue), anything())
    assert found["dark"] == sorted(set(dump) - set(catalogue))
    assert found["lost"] == sorted(set(catalogue) - set(dump))
    assert found["young"] == found["different"] == found["invalid"] == []
    assert tally.counts["equal"] == len(set(dump) & set(catalogue))
    assert tally.repeated == {"dump": len(dump) - len(set(dump)), "catalogue": len(catalogue) - len(set(catalogue))}
    assert set(tally.told["dump"]) <= {raw for raw in dump if dump.count(raw) > 1}
    assert bool(tally.told["dump"]) == bool(tally.repeated["dump"])


@settings(max_examples=40, deadline=None)
@given(many, many, st.sampled_from([b"/p", b"pool:x", b"."]))
def test_encoded_and_prefixed_against_sets(dump: list[bytes], catalogue: list[bytes], prefix: bytes) -> None:
    plain = [raw for raw in dump if not raw.startswith(b"/p")]
    encoded = [encode(prefix + raw).encode() for raw in plain]
    form = Form(strip=prefix, percent=True)
    found, _, sides = compared(joined(encoded), joined(catalogue), anything(), form, Form())
    assert (found["dark"], found["lost"]) == (sorted(set(plain) - set(catalogue)), sorted(set(catalogue) - set(plain)))
    assert sides[0].invalid == sides[0].outside == 0


row = st.tuples(name, st.sampled_from([b"", b"-", b"1", b"2", b"02"]), st.sampled_from([b"", b"-", b"aa", b"AA", b"0xab"]))


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(name, st.tuples(row, row, st.sampled_from(["both", "dump", "catalogue"])), max_size=20),
    st.permutations(range(3)),
)
def test_columns_against_an_oracle(files: dict[bytes, Any], order: list[int]) -> None:
    """Any order of columns, names with the separator in them."""
    columns = tuple(("name", "size", "checksum")[place] for place in order)
    form = Form(columns, b"|")

    def written(raw: bytes, fields: tuple[bytes, bytes, bytes]) -> bytes:
        values = {"name": raw, "size": fields[1], "checksum": fields[2]}
        return b"|".join(values[column] for column in columns)

    here = [written(raw, one) for raw, (one, _, where) in files.items() if where != "catalogue"]
    there = [written(raw, two) for raw, (_, two, where) in files.items() if where != "dump"]
    # A line whose first column is empty or a name that begins with # would be a comment: not so, for names begin with /.
    found, tally, sides = compared(joined(here), joined(there), anything(), form, form)

    def differs(one: Any, two: Any) -> bool:
        sizes = [int(size) for size in (one[1], two[1]) if size.isdigit()]
        sums = [text.lower().removeprefix(b"0x") for text in (one[2], two[2]) if len(text) > 1]
        return (len(sizes) == 2 and sizes[0] != sizes[1]) or (len(sums) == 2 and sums[0] != sums[1])

    both = {raw: (one, two) for raw, (one, two, where) in files.items() if where == "both"}
    assert sides[0].invalid == sides[1].invalid == 0
    assert sorted(found["different"]) == sorted(raw for raw, pair in both.items() if differs(*pair))
    assert found["dark"] == sorted(raw for raw, (_, _, where) in files.items() if where == "dump")
    assert found["lost"] == sorted(raw for raw, (_, _, where) in files.items() if where == "catalogue")
    assert tally.counts["equal"] + tally.counts["different"] == len(both)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"")), max_size=30), many)
def test_any_bytes_are_read_to_the_end(rubbish: list[bytes], good: list[bytes]) -> None:
    """Every line is a name, a comment, empty, or set aside; nothing else happens."""
    rows = [*rubbish, *good]
    random.Random(len(rows)).shuffle(rows)
    assume(not joined(rows).startswith(tuple(lists.PACKED)))  # what is packed is refused as a whole, or unpacked
    found, _, (dump, _) = compared(joined(rows), b"", anything())
    skipped = sum(not line or line.startswith(b"#") for line in rows)
    assert dump.lines == len(rows)
    assert dump.names + dump.invalid + skipped == len(rows)
    assert set(good) <= set(found["dark"])


def test_blocks_do_not_change_what_a_line_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A line of the longest length passes and one byte more does not, wherever the blocks end."""
    monkeypatch.setattr(lists, "LONGEST", 64)
    rows = [b"/" + b"x" * (size - 1) for size in (60, 63, 64, 65, 66, 200, 64, 3)]
    (tmp_path / "list").write_bytes(joined(rows))
    for chunk in (1, 7, 64, 65, 66, 100, 4096):
        monkeypatch.setattr(lists, "CHUNK", chunk)
        aside: list[tuple[object, ...]] = []
        read = NameList(tmp_path / "list", Form(), "dump", lambda *told, to=aside: to.append(told))  # type: ignore[misc]
        assert b"".join(read.records()) == joined([raw for raw in rows if len(raw) <= 64]), chunk
        assert ([number for _, number, *_ in aside], read.lines) == ([4, 5, 6], 8), chunk


def test_guard() -> None:
    from datetime import UTC, datetime

    day = 86400
    dump, catalogue = datetime.fromtimestamp(20000 * day, UTC), datetime.fromtimestamp(20001 * day, UTC)
    guard = Guard(dump, catalogue, 7 * day)
    for text, verdict in {
        b"%d" % (19993 * day): "dark",
        b"%d.5" % (19993 * day): TOO_YOUNG,
        b"%d" % (19993 * day * 1000): "dark",
        b"2024-09-27T00:00:00Z": "dark",
        b"2024-09-27T00:00:01Z": TOO_YOUNG,
        b"2024-09-24": "dark",
        b"2024-09-27": TOO_YOUNG,  # the day may have been almost over
        b"1e3": UNKNOWN,
        b"-5": UNKNOWN,
        b"": UNKNOWN,
        b"nan": UNKNOWN,
        b"6h": UNKNOWN,
        b"9999999999999999999": UNKNOWN,
        b"2026-02-31": UNKNOWN,
        b"2024-09-03\xff": UNKNOWN,
    }.items():
        assert guard.dark(text) == verdict, text
    assert guard.lost(b"%d" % (20000 * day)) == "lost"
    assert guard.lost(b"%d" % (20000 * day + 1)) == "newer than the dump"
    assert guard.lost(b"") == guard.lost(b"?") == "lost"
    assert Guard(dump, catalogue, 0).dark(b"") == "dark"
    assert Guard(dump, catalogue, 0).dark(b"%d" % (20000 * day + 1)) == TOO_YOUNG
    for one, two in (None, catalogue), (dump, None), (catalogue, dump):
        assert Guard(one, two, 0).dark(b"1") == "not judged"


@given(st.binary(max_size=30))
def test_any_time_column_is_a_time_or_unknown(text: bytes) -> None:
    found = instant(text)
    assert found is None or found >= 0 or text.strip()[:1].isdigit()


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (b"adler32:0a", b"0000000A", True),
        (b"adler:0a", b"ADLER32=0x0b", False),
        (b"MD5:" + b"a" * 32, b"a" * 32, True),
        (b"md5:" + b"a" * 32, b"sha256:" + b"a" * 64, None),
        (b"a" * 32, b"a" * 8, None),
        (b"sha-256=" + b"B" * 64, b"sha256:" + b"b" * 64, True),
    ],
)
def test_checksums(one: bytes, two: bytes, same: bool | None) -> None:
    assert same_checksum(one, two) is same
    assert same_checksum(two, one) is same
