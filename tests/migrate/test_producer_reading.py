"""Master lists as bytes: read on from any place, in any portions, counted, and refused when what was read has changed."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dmtools.migrate import masters
from dmtools.migrate.masters import MasterRefused, Print, Reader

TEXTS = st.binary(max_size=120).map(lambda raw: raw.replace(b"\x1f\x8b", b"xx"))
LINES = st.lists(st.sampled_from([b"/a", b"/bcd", b"", b"#", b" ", b"\x0c", b"\r", b"/e f", b" # x", b"\x0b/a"]), max_size=40)


@pytest.fixture(params=[4, 7, 1 << 20], scope="module")
def block(request: pytest.FixtureRequest) -> Iterator[int]:
    """Small blocks, so that lines, portions and ends meet their borders in every way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masters, "BLOCK", request.param)
        yield int(request.param)


def read_on(path: Path, before: Print, most: int, stop: int | None = None) -> tuple[list[tuple[int, list[bytes]]], Print]:
    """All batches (or the first `stop`) and the print behind them."""
    reader = Reader(path, before, trusted=False)
    found = []
    try:
        for number, (start, lines, after) in enumerate(reader.batches(most), 1):
            found.append((start, lines))
            before = after
            if number == stop:
                break
    finally:
        reader.close()
    return found, before


@settings(deadline=None, max_examples=60)
@given(data=TEXTS, most=st.integers(1, 9), stop=st.integers(1, 4), packed=st.booleans())
def test_any_portions_give_the_same_lines(
    tmp_path_factory: pytest.TempPathFactory, block: int, data: bytes, most: int, stop: int, packed: bool
) -> None:
    path = tmp_path_factory.mktemp("m") / "list"
    path.write_bytes(gzip.compress(data) if packed else data)
    portions: list[tuple[int, list[bytes]]] = []
    before, size = Print(), -1
    while before.read != size:
        size = before.read
        found, before = read_on(path, Print.parse(before.read, before.text()), most, stop)
        portions += found
    assert before.read == len(data)
    lines = [line for _, some in portions for line in some]
    assert lines == (data.removesuffix(b"\n").split(b"\n") if data else [])
    assert all(sum(map(masters.is_lfn_line, some)) <= most for _, some in portions)
    for start, some in portions:
        length = sum(map(len, some)) + len(some)
        length -= 1 if start + length > len(data) else 0
        assert masters.lines_of(path, start, length) == some


@settings(deadline=None, max_examples=60)
@given(first=LINES, second=LINES, ended=st.booleans())
def test_what_is_appended_is_read_on(
    tmp_path_factory: pytest.TempPathFactory, block: int, first: list[bytes], second: list[bytes], ended: bool
) -> None:
    assume(first)
    path = tmp_path_factory.mktemp("m") / "list"
    head = b"\n".join(first) + (b"\n" if ended else b"")
    path.write_bytes(head)
    _, before = read_on(path, Print(), 1000)
    tail = b"".join(line + b"\n" for line in second)
    path.write_bytes(head + tail)
    goes_on = not head.endswith(b"\n") and head and tail and not tail.startswith(b"\n")
    if goes_on:
        with pytest.raises(MasterRefused, match="goes on"):
            read_on(path, before, 1000)
        return
    found, after = read_on(path, before, 1000)
    assert after.read == len(head + tail)
    got = b"\n".join(line for _, some in found for line in some)
    assert got == tail.removesuffix(b"\n")


@settings(deadline=None, max_examples=60)
@given(data=TEXTS, place=st.integers(0, 200), much=st.booleans())
def test_a_changed_beginning_is_refused(
    tmp_path_factory: pytest.TempPathFactory, block: int, data: bytes, place: int, much: bool
) -> None:
    assume(data)
    path = tmp_path_factory.mktemp("m") / "list"
    path.write_bytes(data)
    _, before = read_on(path, Print(), 1000)
    place %= len(data)
    other = data[:place] if much else data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    assume(not other.startswith(b"\x1f\x8b"))
    path.write_bytes(other)
    with pytest.raises(MasterRefused, match="was changed"):
        read_on(path, before, 1000)


@settings(deadline=None, max_examples=80)
@given(lines=LINES, ended=st.booleans(), start=st.integers(0, 5))
def test_lines_that_name_files_are_counted(
    tmp_path_factory: pytest.TempPathFactory, block: int, lines: list[bytes], ended: bool, start: int
) -> None:
    path = tmp_path_factory.mktemp("m") / "list"
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    path.write_bytes(data)
    offset = sum(len(line) + 1 for line in lines[:start])
    assert masters.count_lfns(path, offset) == sum(masters.is_lfn_line(line) for line in lines[start:])


def test_what_is_no_master_list(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"/a\0\n")
    (tmp_path / "long").write_bytes(b"/" + b"x" * 70000)
    whole = gzip.compress(b"".join(b"/a/%d\n" % (n * n) for n in range(5000)))
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "bad.gz").write_bytes(whole[:200] + bytes(byte ^ 255 for byte in whole[200:300]) + whole[300:])
    for name, word in (("binary", "binary"), ("long", "65536 bytes"), ("cut.gz", "gzip"), ("bad.gz", "gzip"), (".", "directory")):
        with pytest.raises(MasterRefused, match=word):
            masters.count_lfns(tmp_path / name, 0)
