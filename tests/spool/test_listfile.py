"""List files: any bytes are read without an exception, no good line is lost, what we write we read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dmtools import names
from dmtools.spool import listfile
from dmtools.spool.listfile import ListUnreadable, Pair

GOOD = b"file:///in/a%20b  root://host:1094//out/a%20b"
PATHS = st.binary(min_size=1, max_size=40).filter(
    lambda raw: not raw.endswith(b"/") and b".." not in raw and min(raw) >= 32 and 127 not in raw
)
URLS = st.builds(
    lambda base, path: base + names.encode(path),
    st.sampled_from(["file:///", "root://h:1094//", "srm://h:8443/srm/managerv2?SFN=/", "davs://h/"]),
    PATHS,
)
PAIRS = st.builds(Pair, URLS, URLS)
LINES = st.one_of(
    st.binary(max_size=60).filter(lambda raw: b"\n" not in raw),
    st.sampled_from(
        [b"", b"#", b"#dm ", b"# why", b"#dm list=x attempt=2", b"\r", b"file:///a", b"\xff\xfe", b"  ", b"a  b", GOOD]
    ),
)


@given(URLS)
def test_our_own_spelling_is_the_normal_one(url: str) -> None:
    assert names.normal(url) == url


def test_two_spellings_of_one_place_are_one_file() -> None:
    found = listfile.parse(b"file:///%41%2e%c3%a9%2F  root://h//%7e\nfile:///A.%C3%A9%2F  root://h//~\n")
    assert found.pairs[0] == found.pairs[1] == Pair("file:///A.%C3%A9%2F", "root://h//~")


@given(st.binary(max_size=400))
@example(b"#dm =\n#dm a=\xff\n\xef\xbb\xbf" + GOOD)
def test_any_bytes_are_read(data: bytes) -> None:
    found = listfile.parse(data)
    lines = [line for line in data.split(b"\n") if line.decode("utf-8", "replace").strip() and not line.startswith(b"#")]
    assert len(found.pairs) + len(found.bad) == len(lines)
    for bad in found.bad:
        assert bad.why
        assert bad.text.isascii()
        assert data.split(b"\n")[bad.number - 1] == names.decode(bad.text)


@given(st.lists(LINES, max_size=8), st.lists(LINES, max_size=8), st.sampled_from([b"\n", b"\r\n"]))
def test_a_good_line_is_never_lost(before: list[bytes], after: list[bytes], end: bytes) -> None:
    line = b"file:///in/the-one  file:///out/the-one"
    found = listfile.parse(end.join([*before, line, *after]))
    assert Pair("file:///in/the-one", "file:///out/the-one") in found.pairs


@given(st.lists(PAIRS, max_size=6), st.text(max_size=80), st.text(max_size=60))
def test_what_is_written_is_read_back(pairs: list[Pair], why: str, rejected: str) -> None:
    reasons = dict.fromkeys(pairs[::2], why)
    note = listfile.note(list="FTSList-x.txt", attempt=3, server="", sid=None)
    data = listfile.text(pairs, [note], reasons, [f"invalid: {rejected}", f"! {rejected}"])
    assert data.isascii()
    found = listfile.parse(data)
    assert found.pairs == pairs
    assert found.bad == []
    assert found.notes == {"list": "FTSList-x.txt", "attempt": "3"}
    shown = names.printable(why)
    assert found.reasons == (dict.fromkeys(reasons, shown) if shown else {})


@given(URLS)
def test_an_encoded_name_makes_a_good_url(url: str) -> None:
    if len(url) <= listfile.MAX_URL:
        listfile.check_url(url)


@given(st.text(max_size=60))
@example("file://")
@example("root://")
@example("://")
def test_any_text_is_taken_or_refused_as_a_url(text: str) -> None:
    try:
        listfile.check_url(text)
    except names.NameRefused:
        return
    assert text.isascii()
    assert " " not in text
    assert "://" in text


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("/a/b", "no percent-encoded URL"),
        ("file:///a b", "no percent-encoded URL"),
        ("file:///ä", "no percent-encoded URL"),
        ("file:///", "names no file"),
        ("file:////", "names no file"),
        ("file://", "names no file"),
        ("file:///a/", "names a directory"),
        ("root://h//a/b/", "names a directory"),
        ("root://host", "names no file"),
        ("root:///a", "names no host"),
        ("file:///a/../b", "'..'"),
        ("file:///a/%2e%2E/b", "'..'"),
        ("file:///a/..", "'..'"),
        ("file:///a%2F..%2Fb", "'..'"),
        ("file:///a%00b", "control character"),
        ("file:///a%0Ab", "control character"),
        ("file:///a%7fb", "control character"),
        ("root://h//" + "a" * 1100, "FTS keeps 1100"),
    ],
)
def test_refuses(url: str, word: str) -> None:
    with pytest.raises(names.NameRefused, match=word.replace("(", r"\(")):
        listfile.check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "file:///a/..b",
        "file:///a/b..",
        "file:///a/...",
        "file:///a%25zz",
        "srm://srm.host:8443/srm/managerv2?SFN=/castor/x",
        "gsiftp://gridftp.echo.stfc.ac.uk/lhcb:prod/x",
        "root://h//" + "a" * 1090,
    ],
)
def test_takes(url: str) -> None:
    listfile.check_url(url)


def test_a_name_with_a_newline_goes_through_a_list_that_no_person_writes() -> None:
    pair = listfile.Pair("file:///a%0Ab%7F", "root://h//t%0Ab%09")
    text = listfile.text([pair])
    assert listfile.parse(text, any_name=True).pairs == [pair]
    assert [bad.number for bad in listfile.parse(text).bad] == [1]
    with pytest.raises(names.NameRefused, match="control character"):
        listfile.check_url("file:///a%00", any_name=True)


def test_lines_that_are_no_pairs_are_told_with_their_numbers() -> None:
    found = listfile.parse(b"# c\n\nfile:///a file:///b\nfile:///a  \nfile:///a   file:///b\n" + GOOD + b"\r\n" + GOOD + b" \n")
    assert [bad.number for bad in found.bad] == [3, 4, 5, 7]
    assert "two blanks" in found.bad[0].why
    assert len(found.pairs) == 1


def test_what_is_no_list_at_all(tmp_path: Path) -> None:
    for name, data, word in (("nul", b"a\0b", "NUL"), ("big", b"x" * (listfile.MAX_FILE + 1), "64 MiB")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ListUnreadable, match=word):
            listfile.read(tmp_path / name)
    with pytest.raises(ListUnreadable, match="directory"):
        listfile.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        listfile.read(tmp_path / "gone")
