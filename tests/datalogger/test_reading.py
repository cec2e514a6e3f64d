"""The text of an answer: each form of error is told as such, and whatever the bytes are, no number is a wrong one."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dmtools.datalogger.reading import Reader, Reading, Trouble

START, END = 1_583_798_400.0, 1_583_798_460.0


def read(text: bytes, pieces: int = 1) -> Reading:
    reader = Reader(START, END)
    size = max(1, -(-len(text) // pieces))
    for first in range(0, len(text), size):
        reader.feed(text[first : first + size])
    return reader.close()


def rows(reading: Reading) -> list[tuple[float, float]]:
    return list(zip(reading.seconds.tolist(), reading.values.tolist(), strict=True))


def text_of(*samples: tuple[object, object]) -> bytes:
    return "".join(f"{START + float(str(at)):.3f}  {value}\n" for at, value in samples).encode()


GOOD = text_of((0, "1.5"), (1, "-2"), (2, "3e-4"))
KEPT = [(START, 1.5), (START + 1, -2.0), (START + 2, 3e-4)]


@pytest.mark.parametrize(
    "text",
    [
        b"Invalid device name (B:NOPE) in request - DIO_NO_SUCH\n",
        b"Error reading device B:VIMIN - DIO_NOSCALE\n",
        b"!Invalid start time\n",
        b"<html><body>\nError reading device B:VIMIN - DIO_NOSCALE<br>\n</body></html>\n",
        b"!no newline at its end",
        GOOD + b"Error reading device B:VIMIN - DIO_NOSCALE\n",
        b"Error reading device 12.5 - DIO_NOSCALE\n" + GOOD,
    ],
)
def test_line_1_error_text_is_never_data(text: bytes) -> None:
    with pytest.raises(Trouble) as told:
        read(text)
    assert told.value.kind == "said"
    assert re.search("DIO_NO|Invalid start|no newline", str(told.value))


def test_line_1_stars_are_dropped_and_counted_and_the_column_stays_numbers() -> None:
    found = read(text_of((0, "1.5"), (1, "*****"), (2, "2.5")))
    assert (rows(found), found.stars) == ([(START, 1.5), (START + 2, 2.5)], 1)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"<html><head><title>ACL</title></head>\n<body><pre>\n" + GOOD + b"</pre></body></html>", id="HTML around"),
        pytest.param(b"<pre>" + GOOD.replace(b"\n", b"<br>\n"), id="HTML within"),
        pytest.param(GOOD.replace(b"\n", b"\r\n").replace(b"  ", b"\t \t"), id="other blanks"),
        pytest.param(b"\n\n  " + GOOD.replace(b"\n", b"  \n\n "), id="blanks around"),
        pytest.param(b"".join(reversed(GOOD.splitlines(keepends=True))), id="unsorted"),
        pytest.param(GOOD + GOOD, id="twice"),
        pytest.param(GOOD + text_of((59.9, "1"))[:-3], id="last line cut"),
        pytest.param(GOOD + text_of((-86400, "7"), (60, "8")), id="other times"),
    ],
)
def test_samples_are_found_in_whatever_is_around_them(text: bytes) -> None:
    assert rows(read(text)) == KEPT
    assert rows(read(text, 9)) == KEPT


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GOOD.replace(b"\n", b"", 1), id="two lines glued"),
        pytest.param(GOOD.replace(b"  ", b"", 1), id="two numbers glued"),
        pytest.param(b"1583798400.0 1.2.3\n", id="two dots"),
        pytest.param(b"1583798400.0 1e999\n", id="no number holds this"),
        pytest.param(b"1583798400.0\n", id="no value"),
        pytest.param(b"10-MAR-2020 12:30:00.123  4.56\n", id="no UTC"),
        pytest.param(GOOD + b"No values\n", id="none and some"),
        pytest.param(b"502 Bad Gateway\n", id="a proxy's page"),
        pytest.param(b"1" * 70_000, id="a line without an end"),
        pytest.param(b"", id="nothing at all"),
        pytest.param(b"<html></html>\n", id="nothing but HTML"),
    ],
)
def test_what_is_not_understood_is_refused_whole(text: bytes) -> None:
    with pytest.raises(Trouble) as told:
        read(text)
    assert told.value.kind in ("unread", "cut")


def test_none_is_said_and_is_no_trouble() -> None:
    found = read(b"<html>\nNo values\n</html>\n")
    assert (rows(found), found.none) == ([], True)


def test_nan_and_inf_are_kept_as_the_logger_gave_them() -> None:
    found = read(text_of((0, "nan"), (1, "-inf"), (2, "Infinity")))
    assert [str(value) for _, value in rows(found)] == ["nan", "-inf", "inf"]


def test_the_first_of_two_values_of_one_time_is_kept_and_the_other_counted() -> None:
    found = read(text_of((0, "1"), (0, "1"), (0, "2"), (1, "nan"), (1, "nan")))
    assert (found.seconds.tolist(), found.values.tolist()[0]) == ([START, START + 1], 1.0)
    assert (found.twice, found.differing) == (3, 1)


NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
LINES = st.sampled_from(
    [
        b"1583798401.5  2.25",
        b"1583798402.5\t-.5e1",
        b"1583798400.25 *****",
        b"<b>1583798403 7</b>",
        b" 1583798404 nan ",
        b"1583798404.5 3.\r",
        b"15837984 5",
        b"1583798405 1583798406",
        b"No values",
        b"! wrong",
        b"x - A_B",
        b"1583798407 8 9",
        b"",
    ]
)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(LINES, max_size=12).map(b"\n".join),
        st.text("0123456789.-+eE *<>!\n", max_size=120).map(str.encode),
    ),
    st.integers(1, 7),
)
@example(b"1583798401 +2\n1583798402 .\n", 1)
@example(b"1583798401 1.7976931348623159e308\n", 1)
@example(b"\xef\xbb\xbf1583798401 2\n", 1)
@example(b"1583798401 2\n1583798402", 1)
def test_any_bytes_give_no_exception_and_no_number_that_was_not_there(text: bytes, pieces: int) -> None:
    try:
        found = read(text, pieces)
    except Trouble:
        return
    there: dict[float, float] = {}
    for line in text.replace(b"\r", b" ").split(b"\n")[:-1]:
        words = re.sub(rb"<[^<>]*>", b" ", line).split()
        if len(words) == 2 and all(NUMBER.fullmatch(word) for word in words):
            there.setdefault(float(words[0]), float(words[1]))
    assert found.seconds.tolist() == sorted(at for at in there if START <= at < END)
    for at, value in rows(found):
        assert value == there[at] or (math.isnan(value) and math.isnan(there[at]))
