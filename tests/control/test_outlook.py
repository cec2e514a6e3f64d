"""dm-monitoring looks ahead: free space and when it ends, what is stuck and why, what goes twice, who holds leases."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from dmtools import clock, names
from dmtools.control import buffers, display
from dmtools.control.buffers import Room
from dmtools.control.entry import Buffer
from dmtools.ledger import Ledger, open_ledger, tables
from dmtools.ledger.journal import bucket_of
from dmtools.settings import load
from tests.support import Result, run

HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(home: Path) -> Iterator[Ledger]:
    found = open_ledger(load(home=home))
    yield found
    found.close()


def add(ledger: Ledger, table: Any, **row: Any) -> None:
    with ledger.write() as connection:
        connection.execute(insert(table).values(**row))


def flow(ledger: Ledger, state: str, size: int, minutes: int = 10) -> None:
    bucket = bucket_of(clock.now() - timedelta(minutes=minutes))
    add(ledger, tables.flow, pipeline="migrate", state=state, bucket=bucket, n=1, bytes=size)


def listed(ledger: Ledger, number: int, state: str, days: float, **more: Any) -> None:
    row = {"id": number, "pipeline": "migrate", "home": "h", "name": f"list{number}.txt", "name_key": names.key(f"l{number}")}
    more = {"files": 20, "planned": 1, "attempt": 1, **more}
    add(ledger, tables.filelist, **row, state=state, since=clock.now() - timedelta(days=days), **more)


def job(ledger: Ledger, number: int, of_list: int, days: float, state: str = "submitted") -> None:
    row = {"id": number, "pipeline": "migrate", "list_id": of_list, "attempt": number, "server": "fts1", "sid": f"s{number}"}
    row |= {"job": f"job-{number}", "vo": "v", "state": state, "fts_state": "ACTIVE", "files": 20, "bytes": 1}
    add(ledger, tables.ftsjob, **row, since=clock.now() - timedelta(days=days))


def told(home: Path, **options: Any) -> dict[str, Any]:
    record: dict[str, Any] = run("dm-monitoring", "--json", home=home, **options).ok().json
    return record


def migrate(home: Path) -> dict[str, Any]:
    record: dict[str, Any] = told(home)["pipelines"]["migrate"]
    return record


# ---- free space --------------------------------------------------------------------------------------------------------


def test_the_disk_of_home_which_copies_fill(home: Path, ledger: Ledger) -> None:
    (empty,) = migrate(home)["buffers"]
    assert (empty["name"], empty["path"], empty["net_bytes_per_hour"], empty["full_at"]) == ("HOME", str(home), 0, None)
    assert 0 < empty["free_bytes"] < empty["total_bytes"]
    assert "not filling" in run("dm-monitoring", home=home).ok().out
    flow(ledger, "Okay", empty["free_bytes"] // 9)
    flow(ledger, "Okay", empty["free_bytes"], minutes=200)
    (filling,) = migrate(home)["buffers"]
    left = datetime.fromisoformat(filling["full_at"]) - clock.now()
    assert timedelta(hours=8) < left < timedelta(hours=10), "the free space over what came within the last hour"
    assert re.search(r"full .* \(in (8 h 5\d min|9 h( \d min)?)\)", run("dm-monitoring", home=home).ok().out)


def test_what_is_full_in_ten_years_is_no_forecast() -> None:
    far = {"free_bytes": 10**11, "net_bytes_per_hour": 10**6, "full_at": clock.iso(MONDAY + timedelta(days=3000))}
    assert display.filling(far, MONDAY) == "not full within a year"


def test_where_copies_go_elsewhere_too_it_cant_be_told_when_a_disk_is_full(home: Path, ledger: Ledger) -> None:
    here = f'{{match = "/", source = "file:///x", destination = "file://{home}/demo/echo"}}'
    there = '{match = "/b", source = "file:///y", destination = "root://e.org/y"}'
    with (home / "dmtools.toml").open("a") as file:
        file.write(f"[migrate]\nrules = [{here}, {there}]\n")
    flow(ledger, "Okay", 10**9)
    assert (migrate(home)["buffers"][0]["net_bytes_per_hour"], migrate(home)["buffers"][0]["full_at"]) == (None, None)
    assert "when it is full can't be told" in run("dm-monitoring", home=home).ok().out


@pytest.mark.needs("root")
def test_a_disk_of_its_own_and_one_that_is_gone(home: Path, small_disk: Path) -> None:
    rules = [f'{{match = "/{p}", source = "file:///x/{p}", destination = "file://{p}"}}' for p in (small_disk, "/nowhere/at/all")]
    with (home / "dmtools.toml").open("a") as file:
        file.write(f"[migrate]\nrules = [{', '.join(rules)}]\n")
    own, disk, gone = migrate(home)["buffers"]
    assert (own["name"], disk["name"], disk["total_bytes"]) == ("HOME", str(small_disk), 4 << 20)
    assert (gone["name"], gone["free_bytes"]) == ("/nowhere/at/all", None)
    assert "No such file" in gone["trouble"]


HOOKS = {"buffers": "buffers", "stuck": "stuck", "duplicates": "twice"}
FUNCTIONS = """

from dmtools.control.entry import Buffer


def buffers(look):
    yield Buffer("remote quota", fills=("Ready",), empties=("Raw",), warning=50, critical=20)


def stuck(look):
    raise RuntimeError("no | idea")


def twice(look):
    return ["pebble", "stone"]
"""


@pytest.fixture
def quota(tiny: Callable[..., Result], home: Path, short_tmp: Path, ledger: Ledger) -> Callable[..., Result]:
    """tiny, with a remote quota as its buffer; `quota(free, total)` posts it."""
    tiny().ok()
    register = short_tmp / "lib/tiny/register.py"
    hooks = ", ".join(f'{name}="tiny.register:{function}"' for name, function in HOOKS.items())
    register.write_text(register.read_text().replace('"tiny.register:search")', f'"tiny.register:search", {hooks})') + FUNCTIONS)

    def post(name: str, *words: str, free: int = -1, total: int = 100, hours: float = 0, **options: Any) -> Result:
        if free >= 0:
            at = clock.now() - timedelta(hours=hours)
            ledger.transact(lambda c: buffers.post(c, "tiny", "remote quota", free, total, at))
        return tiny(*words, name=name, **options)

    return post


def test_a_third_partys_posted_quota_duplicates_and_a_function_of_its_that_fails(quota: Callable[..., Result]) -> None:
    lines = quota("dm-monitoring").ok().out.splitlines()
    assert "tiny buffer remote quota its owner has not posted what is free there yet, when it is full can't be told" in lines
    assert "tiny duplicates 2: pebble, stone" in lines
    assert "tiny trouble the stuck of tiny can't be asked: RuntimeError: no | idea" in lines
    record = quota("dm-monitoring", "--json", free=60).ok().json["pipelines"]["tiny"]
    assert [(b["free_bytes"], b["free_percent"], b["net_bytes_per_hour"]) for b in record["buffers"]] == [(60, 60.0, 0)]
    assert record["buffers"][0]["posted"]
    assert record["seen"] == [], "a posted figure is told once"


def states(found: Result) -> dict[str, str]:
    return {one["name"]: one["state"] for one in found.json["figures"] if one["family"] in ("free_space", "posted_age")}


def test_train_ok_judges_a_buffer_by_limits_of_its_own_and_by_the_age_of_what_was_posted(quota: Callable[..., Result]) -> None:
    space, posted = "remote_quota_free_space", "remote_quota_posted_age"
    for free, state in ((60, "OK"), (40, "WARNING"), (10, "CRITICAL")):
        assert states(quota("dm-train-ok", "--json", free=free))[space] == state
    assert states(quota("dm-train-ok", "--json", free=60, hours=5))[posted] == "WARNING"
    assert states(quota("dm-train-ok", "--json", free=60, hours=13))[posted] == "CRITICAL"
    assert "tiny: 2 are being moved twice at once: pebble" in quota("dm-train-ok", free=60).out


def test_a_posted_figure_that_is_no_number(quota: Callable[..., Result], ledger: Ledger) -> None:
    quota("dm-monitoring", free=5).ok()
    with ledger.write() as connection:
        connection.exec_driver_sql("UPDATE sighting SET value = 'plenty'")
    assert "what was posted is no number of bytes: 'plenty'" in quota("dm-monitoring").ok().out
    assert "no number of bytes" in quota("dm-train-ok").gave(3).out


# ---- forecasts ---------------------------------------------------------------------------------------------------------

MONDAY = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (HOUR, "today 10:00"),
        (24 * HOUR, "tomorrow 09:00"),
        (29 * HOUR, "tomorrow 14:00"),
        (53 * HOUR, "Wednesday 14:00"),
        (7 * 24 * HOUR, "Monday 2026-11-30"),
        (24 * 3650 * HOUR, "Thursday 2036-11-20"),
        (24 * 36500 * HOUR, "in 2126"),
    ],
)
def test_a_forecast_is_as_exact_as_it_can_be(later: timedelta, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    assert display.day(MONDAY + later, MONDAY) == said


def test_when_the_backlog_is_done(home: Path, ledger: Ledger) -> None:
    add(ledger, tables.tally, pipeline="migrate", state="TODO", shard=0, n=500, bytes=5000)
    said = "migrate eta can't be told: nothing was done within the last hour, 500 files are open"
    assert said in run("dm-monitoring", home=home).ok().out.splitlines()
    flow(ledger, "Okay", 10)
    assert "(in " in run("dm-monitoring", home=home).ok().out.partition("migrate eta ")[2].partition("\n")[0]


SIZES = st.integers(0, 10**15)


@given(SIZES, SIZES, SIZES)
def test_a_buffer_is_full_when_its_free_space_is_used_up_at_the_hours_rate(free: int, came: int, went: int) -> None:
    buffer = Buffer("b", fills=("In",), empties=("Out",))
    net = buffers.net_per_hour(buffer, [buffer], {"In": came, "Out": went})
    assert net == came - went
    when = buffers.full_at(Room(free, 10**15), net, MONDAY)
    assert (when is None) == (net <= 0)
    if when is not None and when - MONDAY < timedelta(days=10000):
        assert (when - MONDAY) / HOUR * net == pytest.approx(free, rel=1e-6, abs=net * 1e-9)


def test_what_fills_two_buffers_tells_of_neither() -> None:
    one, other = Buffer("a", fills=("In",)), Buffer("b", fills=("In",))
    assert buffers.net_per_hour(one, [one, other], {"In": 5}) is None


# ---- what is stuck, what goes twice, who holds what ----------------------------------------------------------------------------


def test_the_oldest_that_do_not_move_are_named_with_dm_traces_reason(home: Path, ledger: Ledger) -> None:
    for number, days in enumerate((2, 9, 3, 4, 0.5), 1):
        listed(ledger, number, "DOING", days)
        job(ledger, number, number, days)
    listed(ledger, 10, "TODO", 0.1, waits_for="the destination is full", next_try=clock.now() + HOUR)
    listed(ledger, 11, "TODO", 0.1)
    listed(ledger, 12, "done", 50)
    stuck = migrate(home)["stuck"]
    assert [one["subject"] for one in stuck] == ["list2.txt", "list4.txt", "list3.txt"]
    life = run("dm-trace", "job-2", "--json", home=home).ok().json
    assert (stuck[0]["kind"], stuck[0]["state"]) == ("list", "DOING")
    assert "job-2 at fts1" in stuck[0]["why"]
    assert stuck[0]["next"] == life["next"]
    with ledger.write() as connection:
        connection.exec_driver_sql("UPDATE filelist SET state = 'done' WHERE state = 'DOING'")
    (waits,) = migrate(home)["stuck"]
    assert (waits["subject"], waits["state"]) == ("list10.txt", "TODO")
    assert "the destination is full" in waits["why"]


def test_two_open_jobs_of_one_list_are_told(home: Path, ledger: Ledger) -> None:
    listed(ledger, 1, "DOING", 0.1)
    listed(ledger, 2, "DOING", 0.1)
    for number, of_list in ((1, 1), (2, 1), (3, 2)):
        job(ledger, number, of_list, 0.1)
    job(ledger, 4, 2, 0.1, state="closed")
    assert migrate(home)["duplicates"] == ["list1.txt"]
    run("migrate-compare", "--help", home=home).ok()
    add(ledger, tables.component, pipeline="migrate", name="monitor", errors_in_row=0, last_success=clock.now())
    assert "1 are being moved twice at once: list1.txt" in run("dm-train-ok", home=home).out


def test_who_holds_leases_and_which_are_overdue(home: Path, ledger: Ledger) -> None:
    assert told(home)["leases"] == []
    now = clock.now()
    common = {"owner": "farm07:12:ab", "host": "farm07", "machine": "m", "pid": 12, "started": 1, "since": now - HOUR}
    for number, minutes in ((1, -10), (2, 5), (3, 5)):
        add(ledger, tables.lease, resource=f"list/{number}", expires=now + timedelta(minutes=minutes), **common)
    (one,) = told(home)["leases"]
    assert (one["who"], one["leases"], one["overdue"], one["first"]) == ("pid 12 on farm07", 3, 1, "list/1")
    assert one["oldest_seconds"] == pytest.approx(3600, abs=60)
    assert "leases pid 12 on farm07 (expired) holds 3 leases, list/1 for" in run("dm-monitoring", home=home).ok().out


# ---- ages that matter --------------------------------------------------------------------------------------------------------


def test_a_master_list_that_is_cut_for_weeks_is_no_alarm(home: Path) -> None:
    (home / "migrate/TODO/ListOfLFNs/m.txt").write_text("".join(f"/f{n}\n" for n in range(100)))
    for name in ("producer", "consumer", "monitor"):
        run(f"migrate-{name}", home=home).gave(0, 1, 75)
    weeks = {"DMTOOLS_CLOCK_OFFSET": str(30 * 86400)}
    figures = {one["name"]: one for one in run("dm-train-ok", "--json", home=home, env=weeks).json["figures"]}
    listed_age = figures["migrate_Listed_oldest_age"]
    assert (listed_age["state"], listed_age["warning"]) == ("OK", None)
    assert listed_age["value"] > 29 * 86400
    assert figures["migrate_TODO_oldest_age"]["state"] == "CRITICAL"
