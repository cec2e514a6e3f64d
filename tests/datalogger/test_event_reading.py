"""The text of an event_log answer: errors are told as such, no epoch is a wrong one, whatever the bytes are."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dmtools.datalogger.event_reading import EventReader, EventReading
from dmtools.datalogger.reading import Trouble

ZONE = ZoneInfo("America/Chicago")
START = datetime(2026, 11, 2, 6, tzinfo=UTC).timestamp()  # midnight at the logger
END = START + 60


def read(text: bytes, pieces: int = 1, start: float = START, end: float = END) -> EventReading:
    reader = EventReader(start, end, ZONE)
    size = max(1, -(-len(text) // pieces))
    for first in range(0, len(text), size):
        reader.feed(text[first : first + size])
    return reader.close()


def rows(reading: EventReading) -> list[tuple[int, bytes, float]]:
    found: list[tuple[int, bytes, float]] = reading.rows.tolist()
    return found


GOOD = b"02-NOV-2026 00:00:00.000 100\n02-NOV-2026 00:00:00.066 66766\n02-NOV-2026 00:00:01.5   7\n"
KEPT = [
    (100, b"02-NOV-2026 00:00:00.000", START),
    (66766, b"02-NOV-2026 00:00:00.066", START + 0.066),
    (7, b"02-NOV-2026 00:00:01.5", START + 1.5),
]
HEADER = b"\n  Clock events of 02-NOV-2026 00:00:00 to 02-NOV-2026 00:01:00\n  date  time  microseconds\n -----\n\n"


@pytest.mark.parametrize(
    "text",
    [
        b"!Invalid event - CLIB_SYNTAX\n",
        b"<html>\nError reading events - DIO_NOSCALE<br>\n</html>\n",
        GOOD + b"Error reading events - DIO_NOSCALE\n",
        b"Error reading event 02-NOV-2026 00:00:00.000 100 - DIO_NOSCALE\n" + GOOD,
        HEADER + b"!no newline at its end",
    ],
)
def test_line_1_error_text_is_never_an_event(text: bytes) -> None:
    with pytest.raises(Trouble) as told:
        read(text)
    assert told.value.kind == "said"


def test_line_1_stars_are_dropped_and_counted() -> None:
    found = read(GOOD + b"02-NOV-2026 00:00:02.000 *****\n")
    assert (rows(found), found.starred) == (KEPT, (START + 2,))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(HEADER + GOOD, id="five lines before"),
        pytest.param(b"<html><head><title>ACL</title></head>\n<pre>\n" + GOOD + b"</pre></html>\n", id="HTML around"),
        pytest.param(GOOD.replace(b"\n", b"<br>\r\n"), id="HTML within"),
        pytest.param(GOOD.replace(b" ", b"\t "), id="other blanks"),
        pytest.param(b"".join(reversed(GOOD.splitlines(keepends=True))), id="unsorted"),
        pytest.param(GOOD + GOOD, id="twice"),
        pytest.param(GOOD + b"02-NOV-2026 00:00:50.000 1234", id="last line cut"),
        pytest.param(
            GOOD + b"01-NOV-2026 23:59:59.999 5\n02-NOV-2026 00:01:00.000 8\n02-NOV-1926 00:00:01.000 9\n", id="other times"
        ),
    ],
)
def test_events_are_found_in_whatever_is_around_them(text: bytes) -> None:
    for pieces in (1, 9):
        assert [(cycle, re.sub(rb"\s+", b" ", at), epoch) for cycle, at, epoch in rows(read(text, pieces))] == KEPT


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GOOD.replace(b"\n", b"", 1), id="two lines glued"),
        pytest.param(b"x" + GOOD.replace(b"\n", b"", 1), id="glued, and like a header"),
        pytest.param(GOOD.replace(b" 100", b"100"), id="two numbers glued"),
        pytest.param(GOOD.replace(b"00:00:01", b"00:61:01"), id="no such time"),
        pytest.param(GOOD.replace(b"02-NOV", b"31-NOV"), id="no such day"),
        pytest.param(b"08-MAR-2026 02:30:00.000 5\n", id="an hour that is left out"),
        pytest.param(GOOD + HEADER, id="a header behind"),
        pytest.param(b"a\nb\nc\nd\ne\nf\n" + GOOD, id="six lines before"),
        pytest.param(b"502 Bad Gateway\n", id="a proxy's page"),
        pytest.param(GOOD + b"No occurrences of event\n", id="none and some"),
        pytest.param(b"No occurrences of event" + GOOD, id="none and one, glued"),
        pytest.param(b"1" * 70_000, id="a line without an end"),
        pytest.param(b"", id="nothing at all"),
    ],
)
def test_what_is_not_understood_is_refused_whole(text: bytes) -> None:
    at = datetime(2026, 3, 8, 7, tzinfo=UTC).timestamp() if b"MAR" in text else START
    with pytest.raises(Trouble) as told:
        read(text, start=at, end=at + 7200)
    assert told.value.kind in ("unread", "cut")


def test_none_is_said_and_is_no_trouble() -> None:
    for text in (b"No occurrences of event\n", HEADER + b"<b>No occurrences of event 0C</b>\n", b"No occurrences of event"):
        assert (len(read(text).rows), read(text).none) == (0, True)


AUTUMN = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)  # 00:30 of the day of 25 hours


def played(*minutes: float, day: datetime = AUTUMN) -> tuple[bytes, list[float]]:
    at = [day + timedelta(minutes=one) for one in minutes]
    text = "".join(f"{one.astimezone(ZONE):%d-%b-%Y %H:%M:%S.%f}"[:-3] + f" {n}\n" for n, one in enumerate(at))
    return text.encode(), [one.timestamp() for one in at]


def test_line_4_the_hour_that_comes_twice_is_told_apart_by_the_one_step_back() -> None:
    text, epochs = played(*range(0, 180, 2))
    found = read(text, start=AUTUMN.timestamp(), end=AUTUMN.timestamp() + 3 * 3600)
    assert [epoch for _, _, epoch in rows(found)] == epochs
    assert found.unknown == 0


@pytest.mark.parametrize(
    "minutes",
    [
        pytest.param((10, 45, 160), id="one of the first hour"),
        pytest.param((10, 100, 160), id="one of the second hour"),
        pytest.param((10, 40, 100, 160), id="rare ones of both"),
        pytest.param((10, 89, 88, 31, 32, 160), id="out of order"),
        pytest.param((10, *range(31, 70, 2), 160), id="many, and no step back"),
    ],
)
def test_line_4_what_the_order_does_not_show_has_no_epoch_rather_than_a_wrong_one(minutes: tuple[int, ...]) -> None:
    text, epochs = played(*minutes)
    found = read(text, start=AUTUMN.timestamp(), end=AUTUMN.timestamp() + 3 * 3600)
    known = [epoch for _, _, epoch in rows(found) if math.isfinite(epoch)]
    assert known == [epochs[0], epochs[-1]]
    assert found.unknown == len(minutes) - 2 == len(found.rows) - 2


LINES = st.sampled_from(
    [
        b"02-NOV-2026 00:00:00.000 100",
        b"02-NOV-2026 00:00:00.001  100 ",
        b"02-nov-2026 00:00:07 5",
        b"<b>02-NOV-2026 00:00:09.25 77</b>",
        b"02-NOV-2026 00:00:10.000 *****",
        b"02-NOV-2026 00:00:1",
        b"No occurrences of event",
        b"! wrong",
        b"x - A_B",
        b"a header",
        b"02-NOV-2026 00:00:11.000 1 2",
        b"",
    ]
)
EVENT = re.compile(rb"\s*(02-NOV-2026)\s+00:00:(\d\d)(?:\.(\d{1,6}))?\s+(\d{1,12})\s*", re.IGNORECASE)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(LINES, max_size=12).map(b"\n".join),
        st.text("0123456789:. -NOV\n*", max_size=120).map(str.encode),
    ),
    st.integers(1, 7),
)
@example(b"02-NOV-2026 00:00:00.000 1\n02-NOV-2026 00:00:00.00", 1)
@example(b"02-NOV-2026 00:00:00.000 123402-NOV-2026 00:00:00.066 5\n", 1)
def test_any_bytes_give_no_exception_and_no_event_that_was_not_there(text: bytes, pieces: int) -> None:
    try:
        found = read(text, pieces)
    except Trouble:
        return
    there = set()
    for line in text.split(b"\n")[:-1]:
        if match := EVENT.fullmatch(re.sub(rb"<[^<>]*>", b" ", line)):
            there.add((int(match[4]), START + int(match[2]) + float(b"0." + (match[3] or b"0"))))
    assert {(cycle, round(epoch, 6)) for cycle, _, epoch in rows(found)} == {(c, round(e, 6)) for c, e in there if e < END}
    assert len(found.rows) == len({(c, e) for c, e in there if e < END})
