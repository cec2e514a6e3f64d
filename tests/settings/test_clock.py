"""Instants and lengths of time: every common form, local time without a zone, one form out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from datetime import time as datetime_time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools import clock
from tests.support import ROOT

INSTANTS = st.timedeltas(timedelta(0), timedelta(days=365 * 1000)).map(lambda length: datetime(1971, 1, 1, tzinfo=UTC) + length)


ZONES = st.sampled_from(["", "Z", " UTC", "+02:00", " +0530", "-08", " Europe/Berlin", " America/Chicago"])
DATES = st.sampled_from(["%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%d %b %Y", "%a, %d %b %Y", "%B %d, %Y", "%Y%m%d"])
TIMES = st.sampled_from(["%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S%p"])
MOMENTS = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2037, 12, 31))  # noqa: DTZ001 - a text without a zone


@given(MOMENTS, DATES, TIMES, ZONES)
def test_every_form_of_date_time_and_zone_goes_with_every_other(moment: datetime, date: str, at: str, zone: str) -> None:
    text = moment.strftime(f"{date} {at}")
    found = clock.parse(text + zone)
    wanted = datetime.strptime(text, f"{date} {at}")
    fixed = {"Z": "+0000", " UTC": "+0000", "+02:00": "+0200", " +0530": "+0530", "-08": "-0800"}
    if zone in fixed:
        assert found == datetime.strptime(text + fixed[zone], f"{date} {at}%z")
    elif zone:
        assert found == wanted.replace(tzinfo=ZoneInfo(zone.strip()))
    else:
        assert found == wanted.astimezone()


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Chicago", "Asia/Kolkata"])
def test_what_people_are_told_can_be_said_again(zone: str) -> None:
    """`local` of an instant, hour by hour over the night in which an hour comes twice."""
    for hour in range(6):
        instant = f"2026-10-25T0{hour}:00:00.000000Z"
        code = f"clock.iso(clock.parse(clock.local(clock.parse({instant!r}))))"
        assert in_zone(zone, code) == instant


@given(INSTANTS)
def test_what_is_written_can_be_read(instant: datetime) -> None:
    text = clock.iso(instant)
    assert text is not None
    assert clock.parse(text) == instant
    assert clock.parse_date(text) == instant
    assert datetime.strptime(clock.stamp(instant) + "+0000", "%Y%m%dT%H%M%S.%fZ%z") == instant


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-11-24T14:00Z", "2026-11-24T14:00:00+00:00"),
        ("2026-11-24 14:00 UTC", "2026-11-24T14:00:00+00:00"),
        ("2026-11-24 14:00:01.5Z", "2026-11-24T14:00:01.500000+00:00"),
        ("2026-11-24T14:00:00+02:00", "2026-11-24T12:00:00+00:00"),
        ("2026-11-24 14:00 +0530", "2026-11-24T08:30:00+00:00"),
        ("@1700000000", "2023-11-14T22:13:20+00:00"),
        (" 2026-11-24T14:00Z ", "2026-11-24T14:00:00+00:00"),
        ("20261124T140000Z", "2026-11-24T14:00:00+00:00"),
        ("2026-11-24T14:00:00,5Z", "2026-11-24T14:00:00.500000+00:00"),
        ("2026-11-24 14:00 +02", "2026-11-24T12:00:00+00:00"),
        ("2026-11-24 14:00 GMT", "2026-11-24T14:00:00+00:00"),
        ("2026-11-24 14:00 Europe/Berlin", "2026-11-24T13:00:00+00:00"),
        ("2026-07-24 14:00 America/Chicago", "2026-07-24T19:00:00+00:00"),
        ("2026-11-24 2:30 pm UTC", "2026-11-24T14:30:00+00:00"),
        ("Tue, 24 Nov 2026 14:00:00 +0100", "2026-11-24T13:00:00+00:00"),
        ("Tue Nov 24 14:00:00 UTC 2026", "2026-11-24T14:00:00+00:00"),
        ("Tue 2026-11-24 14:00:00 UTC", "2026-11-24T14:00:00+00:00"),
        ("24 November 2026, 14:00Z", "2026-11-24T14:00:00+00:00"),
        ("Nov 24, 2026 2pm UTC", "2026-11-24T14:00:00+00:00"),
        ("2026/11/24 14:00Z", "2026-11-24T14:00:00+00:00"),
        ("24.11.2026 14:00 UTC", "2026-11-24T14:00:00+00:00"),
    ],
)
def test_forms_with_a_zone(text: str, wanted: str) -> None:
    assert clock.parse(text) == datetime.fromisoformat(wanted)


def in_zone(zone: str, code: str) -> str:
    env = {**os.environ, "TZ": zone, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", f"from dmtools import clock; print({code})"], env=env, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


@pytest.mark.parametrize("text", ["2026-07-01 14:00", "2026-07-01T14:00:00", "01.07.2026 14:00", "01/07/2026 14:00"])
def test_without_a_zone_it_is_local_time(text: str) -> None:
    assert in_zone("Europe/Berlin", f"clock.iso(clock.parse({text!r}))") == "2026-07-01T12:00:00.000000Z"
    assert in_zone("UTC", f"clock.iso(clock.parse({text!r}))") == "2026-07-01T14:00:00.000000Z"


def test_the_hour_that_comes_twice_and_the_one_that_never_comes() -> None:
    assert in_zone("Europe/Berlin", "clock.iso(clock.parse('2026-10-25 02:30'))") == "2026-10-25T00:30:00.000000Z"
    assert in_zone("Europe/Berlin", "clock.iso(clock.parse('2026-03-29 02:30'))") in (
        "2026-03-29T00:30:00.000000Z",
        "2026-03-29T01:30:00.000000Z",
    )
    assert in_zone("Europe/Berlin", "clock.local(clock.parse('2026-10-25T01:30Z'))") == "2026-10-25 02:30:00 CET"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6h", 21600),
        ("+6h", 21600),
        ("+ 90s", 90),
        ("2d", 172800),
        ("1w", 604800),
        ("10 min", 600),
        ("2 days", 172800),
        ("+1 hour", 3600),
    ],
)
def test_from_now(text: str, seconds: float) -> None:
    assert clock.parse(text) - clock.now() == pytest.approx(timedelta(seconds=seconds), abs=timedelta(seconds=5))


def test_a_time_of_day_is_the_next_one() -> None:
    for text in ("00:00", "12:00", "23:59:59"):
        left = clock.parse(text) - clock.now()
        assert timedelta(0) < left <= timedelta(days=1, hours=1)


def test_a_day_by_its_name() -> None:
    today = clock.now().astimezone().date()
    at_eight = datetime.combine(today + timedelta(days=1), datetime_time(8)).astimezone()
    assert clock.parse("tomorrow 08:00") == clock.parse("Tomorrow 8:00 am") == at_eight
    assert clock.parse("today 00:00").astimezone().date() == today
    for name in ("friday 08:00", "Fri 8:00", "FRIDAY 8am"):
        found = clock.parse(name).astimezone()
        assert (found.weekday(), found.hour) == (4, 8)
        assert timedelta(0) < found - clock.now() < timedelta(days=7, hours=2)


def test_the_next_time_of_day_in_another_zone() -> None:
    for text, hour in (("14:00Z", 14), ("14:00 UTC", 14), ("14:00+02:00", 12), ("2 pm UTC", 14)):
        found = clock.parse(text)
        assert (found.hour, found.minute) == (hour, 0)
        assert timedelta(0) < found - clock.now() <= timedelta(days=1)


def test_tomorrow_at_eight_is_at_eight_when_the_clocks_change_in_between() -> None:
    """It is noon in Berlin, on the Saturday before summer time begins."""
    os.environ["DMTOOLS_CLOCK_OFFSET"] = str(datetime(2026, 3, 28, 11, tzinfo=UTC).timestamp() - time.time())
    try:
        assert in_zone("Europe/Berlin", "clock.iso(clock.parse('08:00'))") == "2026-03-29T06:00:00.000000Z"
        assert in_zone("Europe/Berlin", "clock.iso(clock.parse('sunday 08:00'))") == "2026-03-29T06:00:00.000000Z"
        assert in_zone("Europe/Berlin", "clock.iso(clock.parse('tomorrow 08:00'))") == "2026-03-29T06:00:00.000000Z"
    finally:
        del os.environ["DMTOOLS_CLOCK_OFFSET"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "2026-13-01", "25:00", "2026-02-30", "14", "6 parsecs", "-6h", "2026-11-24T14:00+99:99", "@x"),
        *("14:00 soon", "2026-11-24 14:00 Mars/Base", "2026-11-24 14:00 Europe", "24:00", "14:00 PM", "yesterday 08:00"),
        *("9999-12-31T23:59-23:59", "+99999999999w", "@99999999999999", "Europe/Berlin", "1h30m", "14:00 ../../etc"),
    ],
)
def test_what_is_no_time_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(ValueError, match="write 2026"):
        clock.parse(text)


@pytest.mark.parametrize("text", ["6h", "14:00", "now", "tomorrow", "tomorrow 08:00", "friday 8:00", "14:00+0200"])
def test_a_date_must_be_the_same_whenever_it_is_read(text: str) -> None:
    with pytest.raises(ValueError, match="holds no date"):
        clock.parse_date(text)


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_a_sentence(text: str) -> None:
    try:
        found = clock.parse(text)
    except ValueError as problem:
        found, said = None, str(problem)
        assert "write" in said
    assert found is None or found.tzinfo is not None


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5h", 5400), ("10m", 600), ("2d", 172800), (" 1w ", 604800), ("3 weeks", 1814400)]
)
def test_lengths(text: str, seconds: float) -> None:
    assert clock.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1h", "1 year", "1e3", "1h30m", "nan", "inf"])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no length of time"):
        clock.seconds(text)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (119.9, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (12000, "3 h 20 min"),
        (172800, "2 d"),
        (-45, "-45 s"),
        (None, "-"),
    ],
)
def test_ages(seconds: float | None, shown: str) -> None:
    assert clock.age(seconds) == shown


def test_never() -> None:
    assert clock.local(None) == "never"
    assert clock.iso(None) is None


def test_the_clock_can_be_moved_for_drills() -> None:
    moved = float(in_zone("UTC", "clock.now().timestamp()"))
    os.environ["DMTOOLS_CLOCK_OFFSET"] = "-3600"
    try:
        back = float(in_zone("UTC", "clock.now().timestamp()"))
    finally:
        del os.environ["DMTOOLS_CLOCK_OFFSET"]
    assert moved - back == pytest.approx(3600, abs=60)
    assert moved == pytest.approx(time.time(), abs=60)
