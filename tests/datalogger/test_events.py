"""Clock events, from the logger to HDF5: what broke before can't any more; each event of the formula once, at its instant."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import h5py
import pytest

from tests.datalogger.steps import NOW, Plant, when
from tests.support import run

FILE = "events-20261104T060000Z-20261105T060000Z.h5"
YESTERDAY = (when("2026-11-04T06:00"), when("2026-11-05T06:00"))
CYCLE = 60_066_666
Events = list[tuple[int, str, float]]


def should(start: datetime, end: datetime, hertz: object = 1) -> Events:
    """The events of [start, end), by the words of docs/datalogger.md alone; zone: 6 hours behind UTC."""
    rate, found = Fraction(str(hertz)), []
    k = math.floor(start.timestamp() * rate) - 1
    while (ms := math.floor(1000 * k / rate)) < end.timestamp() * 1000:
        if ms >= start.timestamp() * 1000:
            wall = datetime.fromtimestamp(ms / 1000 - 6 * 3600, UTC)
            found.append((ms * 1000 % CYCLE, f"{wall:%d-%b-%Y %H:%M:%S.%f}"[:-3].upper(), ms / 1000))
        k += 1
    return found


def rows(path: Path, table: str) -> Events:
    with h5py.File(path) as file:
        return [(cycle, text.decode(), epoch) for cycle, text, epoch in file[table][:].tolist()]


def tables(path: Path) -> list[str]:
    with h5py.File(path) as file:
        return sorted(file)


@pytest.fixture
def events(plant: Plant) -> Plant:
    """A HOME that logs one event a second, and one that never comes."""
    plant.set(events=["8f", "ee"])
    return plant


def ask(plant: Plant, *options: object, at: datetime = NOW, env: dict[str, str] | None = None, cwd: Path | None = None):  # type: ignore[no-untyped-def]
    return run("datalogger-events", *options, home=plant.home, env=plant.clock(at) | (env or {}), cwd=cwd)


def cron(plant: Plant, at: datetime = NOW, **more):  # type: ignore[no-untyped-def]
    return ask(plant, "--days", 1, "--outdir", plant.out, at=at, **more)


def test_line_1_and_2_an_error_as_text_of_one_event_harms_no_other_and_is_told_apart_from_none(events: Plant) -> None:
    events.set(events=["8f", "ee", "0f", "00"])
    events.start()
    events.faults(
        'op="say"; match="event=0f"; reason="!Invalid event - CLIB_SYNTAX"',
        'op="header"; match="event=8f"',
        'op="html"; match="event=00"',
    )
    told = cron(events).gave(1)
    assert "Event0f 2026-11-04T06:00:00Z to 2026-11-05T06:00:00Z: the logger said: !Invalid event - CLIB_SYNTAX" in told.err
    wanted = {"8f": "done", "ee": "empty", "0f": "error", "00": "done"}
    assert events.states() == {f"{name} 2026-11-04": state for name, state in wanted.items()}
    assert tables(events.out / FILE) == ["Event00", "Event8f"]
    assert rows(events.out / FILE, "Event8f") == should(*YESTERDAY)
    with h5py.File(events.out / FILE) as file:
        assert file.attrs["empty"] == "ee"
        assert file["Event8f"].attrs["event"] == "8f"
    assert len(rows(events.out / FILE, "Event00")) in (1438, 1439)  # supercycles of a day
    events.faults()
    cron(events, NOW + timedelta(hours=2)).ok()
    later = rows(events.out / FILE.replace(".h5", "_s01.h5"), "Event0f")
    assert (len(later), later[0]) == (15 * 86_400, should(*YESTERDAY)[0])


def test_line_2_a_killed_or_failed_pass_is_gone_on_with(events: Plant) -> None:
    events.start()
    events.faults('op="say"; match="*start_time=\\"2026-11-04+02:10*event=8f"; reason="!down"')
    told = cron(events, when("2026-11-05T09:00")).gave(1)
    assert "7800 events up to 2026-11-04T08:10:00Z are kept" in told.err
    assert events.states() == {"8f 2026-11-04": "incomplete", "ee 2026-11-04": "empty"}
    life = run("dm-trace", "Event8f 2026-11-04", "--json", home=events.home, env=events.clock(NOW)).ok().json
    assert (life["state"], life["rows"]) == ("incomplete", 7800)
    assert "datalogger-events" in life["next"]
    (draft,) = (events.home / "datalogger/draft").glob("Event8f*.rows")
    draft.write_bytes(draft.read_bytes() + b"x" * 1000)  # what a pass leaves that was killed before it booked
    events.faults()
    cron(events, NOW + timedelta(hours=1)).ok()
    assert rows(events.out / FILE, "Event8f") == should(*YESTERDAY)
    assert len([query for query in events.asked() if 'start_time="2026-11-04+00:00:00' in query and "8f" in query]) == 1


def test_line_3_missed_days_are_caught_up_and_truncated_answers_completed(events: Plant) -> None:
    events.set(since="2026-11-03")
    events.start()
    events.faults(
        'op="tail"; match="start_time=\\"2026-11-03+00"; seconds=300; times=2',
        'op="few"; match="start_time=\\"2026-11-03+00"',
        'op="early-end"; match="start_time=\\"2026-11-04"; times=3',
        'op="cut-line"; match="start_time=\\"2026-11-04"; times=3',
        'op="unsorted"; match="start_time=\\"2026-11-04+02"',
        'op="twice"; match="start_time=\\"2026-11-03+02"',
        'op="clock"; match="start_time=\\"2026-11-03+02"; times=1',
        'op="http500"; match="start_time=\\"2026-11-03+02"; times=1',
    )
    cron(events).ok()
    found = [row for file in events.files() for row in rows(events.out / file, "Event8f")]
    assert found == should(when("2026-11-03T06:00"), YESTERDAY[1])


@pytest.mark.parametrize(("day", "hours", "fold"), [("2026-11-01", 25, 0), ("2026-11-01", 25, 1), ("2026-03-08", 23, 0)])
def test_line_4_epochs_are_right_on_days_of_23_and_25_hours_whatever_the_hosts_zone(
    events: Plant, day: str, hours: int, fold: int
) -> None:
    at = when(f"{day}T09:00") + timedelta(days=1)
    events.start("--fold", fold, at=at)
    cron(events, at, env={"TZ": "Asia/Tokyo"}).ok()
    (file,) = events.files()
    epochs = [epoch for _, _, epoch in rows(events.out / file, "Event8f")]
    start = when(f"{day}T0{5 if hours == 25 else 6}:00").timestamp()
    assert epochs == [start + n for n in range(hours * 3600)]


def test_line_5_runs_at_once_and_again_make_one_file_and_double_no_event(events: Plant, short_tmp: Path) -> None:
    events.start()
    with ThreadPoolExecutor(3) as crew:
        done = list(crew.map(lambda _: cron(events), range(3)))
    assert {one.code for one in done} == {0}, done
    cron(events).ok()
    assert events.files() == [FILE]
    assert rows(events.out / FILE, "Event8f") == should(*YESTERDAY)
    desk = short_tmp / "desk"
    desk.mkdir()
    hand = ("--startat", "2026-11-04 12:00:00", "--minutes", 2, "--maxEvt", "0c")
    made = Path(ask(events, *hand, cwd=desk).ok().out.strip())
    assert made.name == "events-20261104T180000Z-20261104T180200Z.h5"
    assert tables(made) == ["Event00", "Event07", "Event0c"]
    fast = rows(made, "Event07")
    assert fast == should(when("2026-11-04T18:00"), when("2026-11-04T18:02"), 720)
    assert ask(events, *hand, cwd=desk).ok().out.count("has it already") == 13
    assert [path.name for path in desk.glob("events*.h5")] == [made.name]


def test_o_stops_after_a_single_event_that_yields_data(events: Plant, short_tmp: Path) -> None:
    events.start()
    made = Path(ask(events, "--startat", "2026-11-04 12:00:10", "-o", cwd=short_tmp).ok().out.strip())
    assert tables(made) == ["Event07"]  # 00 did not come within this second
    assert events.sql("SELECT COUNT(*) FROM datalogger_window") == [(8,)]
    assert "would ask the logger for Event07" in ask(events, "--maxEvt", "7", "--dryrun", cwd=short_tmp).ok().out
    for wrong, said in (
        (("--maxEvt", "1ff"), "is no event"),
        (("--days", 1, "--outdir", events.out, "-o"), "goes with no --maxEvt, -o"),
    ):
        assert said in ask(events, *wrong, cwd=short_tmp).gave(2).err
