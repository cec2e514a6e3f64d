"""Planned outages: told before they begin, in force from their first instant to their last, in any zone, over DST."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dmtools import clock
from tests.support import Result, run

Run = Callable[..., Result]


def plan(home: Path, *outages: str) -> None:
    """The calendar, whole."""
    path = home / "dmtools.toml"
    rest = [line for line in path.read_text().splitlines() if not line.startswith("control.calendar")]
    path.write_text("\n".join([f"control.calendar = [{', '.join(outages)}]", *rest]) + "\n")


def outage(start: str, end: str, scope: str = "tiny", state: str = "halt", reason: str = "power") -> str:
    return f'{{start = "{start}", end = "{end}", scope = "{scope}", state = "{state}", reason = "{reason}"}}'


def at(text: str, zone: str = "UTC") -> dict[str, str]:
    """The environment in which it is that time."""
    offset = datetime.fromisoformat(text).replace(tzinfo=UTC) - clock.now()
    return {"DMTOOLS_CLOCK_OFFSET": str(offset.total_seconds()), "TZ": zone}


def state(tiny: Run, when: dict[str, str]) -> Any:
    return tiny("--json", env=when).ok().json["state"]


def test_it_is_told_before_it_begins_with_the_time_that_is_left(tiny: Run, home: Path) -> None:
    plan(
        home,
        outage("2030-05-02 08:00", "2030-05-02 12:00", "migrate", "drain", "new disks"),
        outage("2030-05-01T20:00Z", "2030-05-02", "tiny/work"),
        outage("2030-04-01", "2030-04-02"),
    )
    shown = tiny(name="dm-command", env=at("2030-05-01T12:00")).ok().out
    halt, drain = shown.splitlines()[-2:]
    assert halt.startswith("planned: halt of tiny/work by calendar from 2030-05-01 20:00:00 UTC (in 7 h 59 min)")
    assert drain.startswith("planned: drain of migrate by calendar from 2030-05-02 08:00:00 UTC (in 19 h 59 min)")
    assert drain.endswith(" until 2030-05-02 12:00:00 UTC: new disks")
    found = tiny("--json", name="dm-command", env=at("2030-05-01T12:00")).ok().json
    assert (found["holds"], found["pipelines"]["migrate"]["state"]) == ([], "run")
    assert [(one["kind"], one["scope"], one["since"]) for one in found["planned"]] == [
        ("calendar", "tiny/work", "2030-05-01T20:00:00.000000Z"),
        ("calendar", "migrate", "2030-05-02T08:00:00.000000Z"),
    ]
    during = tiny("--json", name="dm-command", env=at("2030-05-02T09:00")).ok().json
    assert (during["planned"], during["pipelines"]["migrate"]["state"]) == ([], "drain")
    assert [(one["kind"], one["until"]) for one in during["holds"]] == [("calendar", "2030-05-02T12:00:00.000000Z")]


@pytest.mark.parametrize(
    ("when", "word"),
    [("07:58:00", "done"), ("08:00:01", "halted"), ("11:58:00", "halted"), ("12:00:01", "done")],
)
def test_it_holds_from_its_beginning_to_its_end(tiny: Run, home: Path, when: str, word: str) -> None:
    plan(home, outage("2030-05-02 08:00", "2030-05-02 12:00"))
    assert state(tiny, at(f"2030-05-02T{when}")) == word


def test_overlapping_ones_the_strongest_is_in_force(tiny: Run, home: Path) -> None:
    plan(
        home,
        outage("2030-05-02 08:00", "2030-05-02 12:00", "all", "drain"),
        outage("2030-05-02 10:00", "2030-05-02 14:00", "tiny/work", "halt"),
        outage("2030-05-02 11:00", "2030-05-02 13:00", "tiny", "drain"),
    )
    hours = {"07": "done", "09": "draining", "10": "halted", "11": "halted", "13": "halted", "15": "done"}
    assert {hour: state(tiny, at(f"2030-05-02T{hour}:30")) for hour in hours} == hours


def test_without_a_zone_it_is_the_machines_time_and_over_dst_it_is_the_wall_clocks(tiny: Run, home: Path) -> None:
    """Berlin goes from UTC+1 to UTC+2 on 2030-03-31 at 01:00 UTC: the night from 22:00 to 06:00 has seven hours."""
    plan(home, outage("2030-03-30 22:00", "2030-03-31 06:00"))
    berlin = {
        when: state(tiny, at(f"2030-03-{when}", "Europe/Berlin")) for when in ("30T20:58", "30T21:01", "31T03:58", "31T04:01")
    }
    assert list(berlin.values()) == ["done", "halted", "halted", "done"]
    assert state(tiny, at("2030-03-30T21:01", "UTC")) == "done"
    plan(home, outage("2030-03-30 22:00 Europe/Berlin", "2030-03-31T06:00+02:00"))
    assert state(tiny, at("2030-03-30T21:01", "America/Chicago")) == "halted"
    assert state(tiny, at("2030-03-31T04:01", "America/Chicago")) == "done"


def test_no_word_of_a_person_ends_it(tiny: Run, home: Path) -> None:
    plan(home, outage("2030-05-02 08:00", "2030-05-02 12:00", "all"))
    now = at("2030-05-02T09:00")
    said = tiny("run", "all", name="dm-command", env=now).ok()
    assert "all is held all the same: halt of all by calendar" in said.err
    assert state(tiny, now) == "halted"


def test_an_unknown_scope_is_told_with_the_near_one(home: Path) -> None:
    plan(home, outage("2030-05-02 08:00", "2030-05-02 12:00", "migrat"), outage("2030-05-02", "2030-05-03", "migrate/consumr"))
    said = run("dm-config", "check", home=home).gave(2).err
    assert "control.calendar entry 1: scope: there is no pipeline 'migrat'; did you mean 'migrate'?" in said
    assert "entry 2: scope: the pipeline migrate has no component 'consumr'; did you mean 'consumer'?" in said
