"""Instants and lengths of time: every common form, local time without a zone, one form out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools import clock
from tests.support import ROOT

INSTANTS = st.timedeltas(timedelta(0), timedelta(days=365 * 1000)).map(lambda length: datetime(1971, 1, 1, tzinfo=UTC) + length)


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
    ("text", "seconds"), [("6h", 21600), ("+6h", 21600), ("+ 90s", 90), ("2d", 172800), ("1w", 604800), ("10 min", 600)]
)
def test_from_now(text: str, seconds: float) -> None:
    assert clock.parse(text) - clock.now() == pytest.approx(timedelta(seconds=seconds), abs=timedelta(seconds=5))


def test_a_time_of_day_is_the_next_one() -> None:
    for text in ("00:00", "12:00", "23:59:59"):
        left = clock.parse(text) - clock.now()
        assert timedelta(0) < left <= timedelta(days=1, hours=1)


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-13-01", "25:00", "2026-02-30", "14", "6 parsecs", "-6h", "2026-11-24T14:00+99:99", "@x"]
)
def test_what_is_no_time_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(ValueError, match="write 2026"):
        clock.parse(text)


@pytest.mark.parametrize("text", ["6h", "14:00", "now", "tomorrow"])
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


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1.5h", 5400), ("10m", 600), ("2d", 172800), (" 1w ", 604800)])
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
