"""The rules of the settings: longest prefix on a component's boundary, forth and back; lines into lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dmtools import names
from dmtools.migrate.cut import Piece, pieces
from dmtools.migrate.masters import is_lfn_line
from dmtools.migrate.rules import Rules
from dmtools.names import NameRefused
from dmtools.settings import parse
from dmtools.spool import listfile
from dmtools.spool.listfile import Pair

HERE = Path("/h")


def rules(*found: tuple[str, str, str]) -> Rules:
    lines = [f"{{match={m!r}, source={s!r}, destination={d!r}}}" for m, s, d in found]
    return Rules(parse(f"[migrate]\nrules = [{', '.join(lines)}]\n", home=HERE, file=None))


CASTOR = "srm://srm-lhcb.gridpp.rl.ac.uk:8443/srm/managerv2?SFN=/castor/ads.rl.ac.uk/prod/lhcb"
ECHO = "gsiftp://gridftp.echo.stfc.ac.uk/lhcb:prod"


@pytest.mark.parametrize(
    ("lfn", "match"),
    [
        ("/lhcb", "/lhcb"),
        ("/lhcb/run", "/lhcb"),
        ("/lhcb/110/x", "/lhcb/110"),
        ("/lhcb/110", "/lhcb/110"),
        ("/lhcb/1109/x", "/lhcb"),
        ("/lhcb/110.raw", "/lhcb"),
        ("/lhcb/11", "/lhcb"),
        ("/lhcb/110/5/x", "/lhcb/110/5"),
        ("/lhcb/110/55/x", "/lhcb/110"),
        ("/lhcb2/x", None),
        ("/LHCB/x", None),
    ],
)
def test_the_longest_prefix_on_a_components_boundary_wins(lfn: str, match: str | None) -> None:
    found = rules(
        ("/lhcb", CASTOR, ECHO), ("/lhcb/110/", "file:///s1", "file:///d1"), ("/lhcb/110/5", "file:///s2", "file:///d2")
    ).rule_for(lfn)
    assert (found.match.rstrip("/") if found else None) == match


def test_the_originals_mapping() -> None:
    found = rules(("/lhcb/prod", CASTOR, ECHO))
    _, pair = found.pair(b"/lhcb/prod/2012/RAW/a b.raw")
    assert pair == Pair(f"{CASTOR}/2012/RAW/a%20b.raw", f"{ECHO}/2012/RAW/a%20b.raw")
    assert found.lfn(pair) == "/lhcb/prod/2012/RAW/a%20b.raw"


def test_the_root_of_an_xrootd_server_keeps_its_double_slash() -> None:
    _, pair = rules(("/", "root://s//", "root://d//store/")).pair(b"/a/b")
    assert pair == Pair("root://s//a/b", "root://d//store/a/b")


@pytest.mark.parametrize("raw", [b"/a/100%25", b"/a/%2Fb", b"/a/%", b"/a/%zz"])
def test_percent_signs_are_names_and_never_decoded(raw: bytes) -> None:
    _, pair = rules(("/", "file:///s", "file:///d")).pair(raw)
    assert names.file_path(pair.source) == b"/s" + raw
    assert names.file_path(pair.destination) == b"/d" + raw


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"a/b", "not absolute"),
        (b" /a/b", "not absolute"),
        (b"/a/../b", r"'\.\.'"),
        (b"/a/b\r", "Windows line ends"),
        (b"/a/b\tc", "control character"),
        (b"/a/\x7f", "control character"),
        (b"/a/\0", "NUL"),
        (b"/a/" + b"x" * 1100, "FTS keeps 1100"),
        (b"/other/x", "no rule"),
        (b"file:///a/b", "not absolute"),
    ],
)
def test_lines_that_name_no_file_say_why(raw: bytes, word: str) -> None:
    with pytest.raises(NameRefused, match=word):
        rules(("/a", "file:///s", "file:///d")).pair(raw)


PARTS = st.sampled_from(["a", "ab", "110", "1109", "x y", "ü", "%41"])
PREFIXES = st.lists(PARTS, max_size=3).map(lambda parts: "/" + "/".join(parts))
BASES = st.tuples(st.sampled_from(["file:///s", "file:///s/a", "root://h//s", "srm://h/m?SFN=/c"]), st.lists(PARTS, max_size=2))
MADE = st.lists(st.tuples(PREFIXES, BASES, BASES), min_size=1, max_size=4, unique_by=lambda rule: rule[0])
TAILS = st.binary(min_size=1, max_size=12).filter(
    lambda raw: min(raw) >= 32 and 127 not in raw and b".." not in raw and not raw.startswith(b"/") and not raw.endswith(b"/")
)


def url(base: tuple[str, list[str]]) -> str:
    return "/".join([base[0], *(names.encode(part.encode()) for part in base[1])])


@settings(deadline=None)
@given(MADE, st.data(), TAILS)
@example([("/a/b", ("file:///s", []), ("file:///d", [])), ("/c", ("file:///s", ["a"]), ("file:///e", []))], None, b"x")
@example([("/a", ("file:///s", []), ("file:///d", [])), ("/c", ("file:///s", []), ("file:///e", []))], None, b"x")
def test_the_lfn_of_a_pair_is_the_one_that_made_it(made: list[Any], data: Any, tail: bytes) -> None:
    found = rules(*((match, url(source), url(destination) + "/D") for match, source, destination in made))
    for match, _, _ in made if data is None else [data.draw(st.sampled_from(made))]:
        lfn = match.rstrip("/").encode() + b"/" + tail
        rule, pair = found.pair(lfn)
        others = [other for other, _, _ in made if other != rule.match]
        again = found.lfn(pair)
        if again != names.encode(lfn):  # two rules may make the same pair: then either name is right
            assert any(again.startswith(names.encode(other.rstrip("/").encode())) for other in others)
            assert found.pair(names.decode(again))[1] == pair
        assert found.match_of(pair) is not None


def test_a_pair_that_no_rule_makes_is_named_by_its_destination() -> None:
    found = rules(("/a", "file:///s", "file:///d"))
    assert found.lfn(Pair("file:///elsewhere/x", "file:///d/y%20z")) == "/d/y%20z"
    assert found.match_of(Pair("file:///elsewhere/x", "file:///d/y")) is None


# ---- cut ---------------------------------------------------------------------------------------------------------------

LFN_LINES = st.one_of(
    st.builds(lambda n: b"/a/%d" % n, st.integers(0, 999)),
    st.builds(lambda n: b"/b/%d" % n, st.integers(0, 999)),
    st.sampled_from([b"", b"# c", b" ", b"/a/../x", b"/none/x", b"/a/x y", b"/a/\xff", b"/a/100%", b"rel", b"/a/x\r", b"\x0c"]),
)


@settings(deadline=None)
@given(st.lists(LFN_LINES, min_size=1, max_size=30), st.booleans(), st.integers(1, 7), st.integers(0, 99), st.booleans())
def test_every_line_is_in_one_list_or_bad(lines: list[bytes], ends: bool, lfns: int, start: int, one_rule: bool) -> None:
    assume(ends or lines[-1])
    made = (
        (("/", "file:///s", "file:///d"),) if one_rule else (("/a", "file:///s", "file:///d"), ("/b", "file:///t", "file:///e"))
    )
    found = rules(*made)
    cut: list[Piece] = list(pieces(start, lines, ends, found, lfns))
    whole = b"\n".join(lines) + (b"\n" if ends else b"")
    assert [piece.start for piece in cut] == [start + sum(p.length for p in cut[:n]) for n in range(len(cut))]
    assert sum(piece.length for piece in cut) == len(whole)
    wanted = [line for line in lines if is_lfn_line(line)]
    assert sum(piece.lfns for piece in cut) == len(wanted)
    got: list[tuple[bytes, str]] = []
    for piece in cut:
        content = listfile.parse(piece.text)
        assert content.bad == []
        assert len(content.pairs) == piece.files <= lfns
        assert piece.lfns == piece.files + len(piece.bad)
        assert len({found.match_of(pair) for pair in content.pairs}) <= 1
        got += [(names.decode(found.lfn(pair)), "good") for pair in content.pairs]
        for offset, raw, why in piece.bad:
            assert whole[offset - start :].startswith(raw)
            assert why
            got.append((raw, "bad"))
    assert sorted(raw for raw, _ in got) == sorted(wanted)
    assert not one_rule or all(piece.lfns == lfns for piece in cut[:-1] if piece is not cut[-1] and cut[-1].lfns)
