"""datalogger-timeline: each supercycle once with its events, nothing half, no error text as a row, gaps told."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from dmtools.datalogger import tlg
from dmtools.datalogger.reading import Trouble
from tests.datalogger.steps import Plant
from tests.support import Result, command, environment, run, wait_until

CYCLE = 1.0
ENTRIES = ["17", "00", "0c", "1d", "29", "2a", "1d"]
GOOD = """Event information :
  1) Event : 17  State ID :   5  Time :  0      Machine : Booster
  4) Event : 1D  State ID :   4  Time :  .0667  Machine : Main Injector
"""


@pytest.fixture
def played(plant: Plant) -> Plant:
    """A logger whose supercycles take a second."""
    plant.server = plant.sim(plant.home, "datalogger", "--supercycle", CYCLE)
    return plant


@contextmanager
def recording(plant: Plant) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command("datalogger-timeline"), env=environment(plant.home), stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def looked(plant: Plant, word: str = "--once") -> Result | None:
    """One look; none when the supercycle was over before all of it was told, as on a busy machine: then nothing is booked."""
    found = run("datalogger-timeline", word, home=plant.home).gave(0, 75)
    assert found.code == 0 or "it was over before all was told" in found.err
    return found if found.code == 0 else None


def booked(plant: Plant) -> list[tuple[float, float | None, list[str]]]:
    """(start, gap, events) of each supercycle, by time."""
    rows = plant.sql("SELECT start, gap, timeline_id FROM datalogger_supercycle ORDER BY start")
    entries: dict[int, list[str]] = {}
    for number, event in plant.sql("SELECT timeline_id, event FROM datalogger_timeline_event ORDER BY timeline_id, entry"):
        entries.setdefault(number, []).append(event)
    return [(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp(), gap, entries[number]) for start, gap, number in rows]


def assert_true(found: list[tuple[float, float | None, list[str]]]) -> None:
    """Each is a supercycle of the formula, with its events; none twice."""
    numbers = [round(start / CYCLE) for start, _, _ in found]
    assert numbers == sorted(set(numbers))
    for number, (_, _, events) in zip(numbers, found, strict=True):
        assert events == ENTRIES[: 5 + number // 8 % 3]


def test_each_supercycle_is_booked_once_whoever_else_records_and_a_signal_ends_it(played: Plant) -> None:
    with recording(played) as process, ThreadPoolExecutor(2) as crew:
        wait_until(lambda: booked(played), what="a first supercycle")
        others = [crew.submit(run, "datalogger-timeline", *words, home=played.home) for words in ((), ("--once",))]
        assert [other.result().ok().code for other in others] == [0, 0]
        wait_until(lambda: len({len(events) for _, _, events in booked(played)}) > 1, what="another timeline")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    found = booked(played)
    assert_true(found)
    assert found[0][1] is None
    assert played.sql("SELECT resource FROM lease") == []


def test_killed_in_the_middle_nothing_is_half_and_what_was_missed_is_a_gap(played: Plant) -> None:
    with recording(played) as process:
        wait_until(lambda: booked(played), what="a first supercycle")
        process.kill()
        process.wait(30)
    last = booked(played)[-1][0]
    wait_until(lambda: datetime.now(UTC).timestamp() > last + 3 * CYCLE)
    told = wait_until(lambda: looked(played), what="a supercycle that is told whole before it is over")
    assert "nobody watched for" in told.err
    found = booked(played)
    assert_true(found)
    assert found[-1][1] == pytest.approx(found[-1][0] - last - CYCLE, abs=0.01)


def test_a_recorder_that_is_started_again_within_a_supercycle_does_not_book_it_twice(plant: Plant) -> None:
    plant.server = plant.sim(plant.home, "datalogger", "--supercycle", 3600)
    for _ in range(2):
        run("datalogger-timeline", "--once", home=plant.home).ok()
    assert plant.sql("SELECT COUNT(*) FROM datalogger_supercycle") == [(1,)]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ('op="say"; match="tlg_info"; reason="!Timeline generator is down - TLG_DOWN"', "TLG_DOWN"),
        ('op="say"; match="tlg_info"; reason="Error reading device 17 - DIO_NOSCALE"', "DIO_NOSCALE"),
        ('op="say"; match="SCTIME"; reason="Error reading device G:SCTIME - DIO_NOSCALE"', "DIO_NOSCALE"),
        ('op="say-after"; match="tlg_info"; reason="502 Bad Gateway"', "502 Bad Gateway"),
        ('op="http500"; match="SCTIME"', "answered 500"),
    ],
)
def test_line_1_error_text_is_never_a_row_of_the_timeline(played: Plant, fault: str, said: str) -> None:
    played.faults(fault)
    assert said in run("datalogger-timeline", "--once", home=played.home).gave(75).err
    assert booked(played) == []
    assert played.sql("SELECT COUNT(*) FROM datalogger_timeline") == [(0,)]


def test_html_around_is_no_trouble_and_a_dry_run_books_nothing(played: Plant) -> None:
    played.faults('op="html"; match="tlg_info"')
    assert "would book the supercycle of" in wait_until(lambda: looked(played, "--dry-run")).out
    assert booked(played) == []
    wait_until(lambda: looked(played))
    assert_true(booked(played))


def test_a_line_that_is_no_entry_or_is_cut_is_refused() -> None:
    assert [(one.number, one.event, one.offset, one.machine) for one in tlg.entries(GOOD)] == [
        (1, "17", 0.0, "Booster"),
        (4, "1d", 0.0667, "Main Injector"),
    ]
    for wrong in (
        GOOD[:-1],
        GOOD[:-9],
        GOOD.replace("0667", "0667.5"),
        GOOD.replace("1D", "1X"),
        GOOD.replace("4)", "1)"),
        "",
        "Event information :\n",
    ):
        with pytest.raises(Trouble):
            tlg.entries(wrong)


@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.sampled_from(GOOD.splitlines()), max_size=6).map("\n".join),
        st.text("0123456789) :EventSaID.\n", max_size=80),
    )
)
def test_any_text_gives_no_exception_and_no_entry_that_was_not_there(text: str) -> None:
    for take in (tlg.entries, tlg.seconds):
        try:
            found = take(text)
        except Trouble:
            continue
        if isinstance(found, tuple):
            assert len(found) == len(re.findall(r"^\s*\d+\) Event", text, re.MULTILINE))
        else:
            assert float(text) == found


def test_recorders_that_meet_on_mariadb_book_it_once(mariadb: str, played: Plant) -> None:
    file = played.home / "dmtools.toml"
    file.write_text(f'database.url = "{mariadb}"\n' + file.read_text())
    run("dm-db", "upgrade", home=played.home).ok()
    with ThreadPoolExecutor(2) as crew:
        done = list(crew.map(lambda _: wait_until(lambda: looked(played)), range(2)))
    assert {one.code for one in done} == {0}, done
    engine = create_engine(mariadb)
    try:
        with engine.connect() as connection:
            query = "SELECT e.event FROM datalogger_timeline_event e ORDER BY e.timeline_id, e.entry"
            events = [row[0] for row in connection.execute(text(query))]
            starts = [row[0] for row in connection.execute(text("SELECT start FROM datalogger_supercycle ORDER BY start"))]
    finally:
        engine.dispose()
    assert 1 <= len(starts) <= 2
    assert events[:5] == ENTRIES[:5]
    assert len({round(start.replace(tzinfo=UTC).timestamp()) for start in starts}) == len(starts)
