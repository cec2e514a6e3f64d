"""Text by whole columns: the very numbers that float() makes of it, or nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dmtools.datalogger.columns import TILE, columns

NUMBER = rb"-?\d+\.?\d*"
LINE = re.compile(rb" *\d+\.?\d* +%s *\n" % NUMBER)


def lines(*found: str) -> bytes:
    return "".join(line + "\n" for line in found).encode()


def truth(text: bytes) -> tuple[list[str], list[str]]:
    """Both columns by Python, as text that tells -0.0 from 0.0."""
    rows = [line.split() for line in text.splitlines()]
    return [str(float(row[0])) for row in rows], [str(float(row[1])) for row in rows]


def read(text: bytes) -> tuple[list[str], list[str]] | None:
    found = columns(text)
    return None if found is None else ([str(x) for x in found[0].tolist()], [str(x) for x in found[1].tolist()])


GOOD = [f"{1_795_719_600 + n / 15:.3f}  {(n * 7919 % 20011 - 9000) / 800:9.4f}" for n in range(2 * TILE + 7)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lines(*GOOD), id="as the simulator, signs and tens come and go"),
        pytest.param(lines(*(re.sub(" +", " ", line) for line in GOOD)), id="one blank, lines of several lengths"),
        pytest.param(lines(*(f"{n / 15 + 1.7e9:.6f} {n % 300 - 150}" for n in range(5000))), id="16 digits, whole values"),
        pytest.param(lines(*(f"{n}. {n % 7}.{n % 11}   " for n in range(1000))), id="a point at the end, blanks behind"),
        pytest.param(lines("1 9007199254740991", "2 9007199254740990"), id="just below 2**53"),
        pytest.param(lines("1.0   0.00", "2.0  -0.00", "3.0 123.45"), id="minus nothing"),
        pytest.param(lines("1 123456789.1", "2 -12345678.1", "3         0.1"), id="many leading digits"),
        pytest.param(lines("1.5                  1234567.25", "2.5                      -67.25"), id="wide gaps"),
        pytest.param(lines("1 1.25", "2 10.5", "3 2.505", "4 9.75"), id="the point elsewhere"),
    ],
)
def test_lines_of_two_plain_numbers_are_taken_exactly(text: bytes) -> None:
    assert read(text) == truth(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"1 2",
        b"\n",
        b"1 2\n\n",
        lines(*GOOD, "1795719600.000   3.4567!"),
        lines("1   2.5", "1 1-2.5"),
        lines("1   2.5", "1 --2.5"),
        lines("1   2.5", "1 1 2.5"),
        lines("1   2.5", "1 -  .5"),
        lines("1   2.5", "1   2,5"),
        lines("1   2.5", "1   205"),
        lines("1\t  2.5"),
        lines("-1  2.5"),
        lines("1 2 3"),
        lines("1"),
        lines("1 1e5"),
        lines("1 2.5", "1 :.5"),
        lines("1 2.5", "1 2./"),
        lines("1 9007199254740993"),
        lines("1 99999999999999999"),
        lines("9007199254740993 1"),
        lines("1 90782541791057.33"),  # rounded twice it would be another number
    ],
)
def test_what_is_not_surely_that_is_left_to_other_readers(text: bytes) -> None:
    found = read(text)
    assert found is None or (found == truth(text) and all(LINE.fullmatch(line) for line in text.splitlines(keepends=True)))


PARTS = st.sampled_from([*"0123456789", ".", "-", " ", "  ", "\n", "12", "3.5", "-4", " 7\n", "1 2\n"])
NUMBERS = st.tuples(st.integers(0, 10**10), st.integers(-(10**6), 10**6), st.integers(0, 5), st.integers(0, 9))


@given(
    st.one_of(
        st.lists(PARTS, max_size=40).map("".join),
        st.lists(NUMBERS, max_size=12).map(
            lambda rows: "".join(f"{at / 8:.{n}f} {value / 1000:{width}.{n}f}\n" for at, value, n, width in rows)
        ),
    )
)
@example("1 0.5\n1 -.5\n")
def test_any_text_gives_the_numbers_that_are_there_or_nothing(text: str) -> None:
    raw = text.encode()
    found = read(raw)
    if found is not None:
        assert all(LINE.fullmatch(line) for line in raw.splitlines(keepends=True))
        assert found == truth(raw)
