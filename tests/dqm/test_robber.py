"""dqm-robber without a browser: what it writes, whom it waits for, how it ends; and what it reads."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools.dqm.robbing.addresses import Address, cookies
from dmtools.dqm.robbing.driver_log import DriverLog
from dmtools.dqm.robbing.page import Failed, content
from dmtools.dqm.robbing.standing import back_off
from dmtools.settings import Dqm, Settings, SettingsError
from tests.dqm.robber_steps import configure, documents, going, got, grabbed, in_trouble, leftovers, newest, says
from tests.simulators.dqm_page import Dqm as Page
from tests.simulators.dqm_page import files, job
from tests.support import Result, free_port, run, wait_until

RUN = 380001
REAL = "{}/static/index.html#/lumi/?trackRun&hosts=production_local&run=&showFiles&showJobs"
PRODUCTION, PLAYBACK = ("production", "sim:dqm/production"), ("playback", "sim:dqm/playback")


@pytest.fixture
def page(home: Path) -> Iterator[Page]:
    """A page on which nothing moves by itself: a run with two jobs."""
    server = Page(home).start("--still")
    server.upload(job(RUN), job(RUN, "ecal", 7), files(RUN))
    yield server
    server.stop()


def robber(home: Path, *options: object, **env: str) -> Result:
    return run("dqm-robber", *options, home=home, env=env, timeout=120)


# ---- one pass --------------------------------------------------------------------------------------------------------


def test_a_pass_gets_each_page_once_and_an_unchanged_one_gives_no_new_grab(home: Path, page: Page) -> None:
    configure(home, PRODUCTION, backend="http")
    assert robber(home, "--json").ok().json["counts"] == {"live page>grabbed": 1}
    first = got(home)
    generation, kept = grabbed(home)
    found = documents(kept)
    assert (found["run"], found["runs"]) == (RUN, [RUN])
    assert [one["_id"] for one in found["documents"]] == sorted([f"files-{RUN}", f"job-{RUN}-beam-100", f"job-{RUN}-ecal-7"])
    assert first.generation == generation.path.name

    assert robber(home, "--json").ok().json["counts"] == {}
    assert says(home).confirmed > first.confirmed
    assert grabbed(home)[0].mark == generation.mark
    page.upload(job(RUN, events_total=2001))
    assert robber(home, "--json").ok().json["counts"] == {"live page>grabbed": 1}
    assert leftovers(home) == []


def test_without_a_browser_too_a_source_that_began_anew_elsewhere_is_found(home: Path, page: Page) -> None:
    configure(home, PRODUCTION, backend="http")
    with going(home):
        got(home)
        page.stop()
        told = in_trouble(home, "away")
        page.start("--still").upload(job(RUN + 1))
        wait_until(lambda: documents(grabbed(home)[1])["run"] == RUN + 1, 60, f"the new run is got: {says(home)}")
        assert got(home).confirmed > told.at


def test_every_site_away_is_75_some_away_is_0_and_told(home: Path, page: Page) -> None:
    gone = ("gone", REAL.format(f"http://127.0.0.1:{free_port()}"))
    configure(home, PRODUCTION, gone, backend="http")
    told = robber(home, "--json").ok().json
    assert (told["state"], told["counts"]) == ("done", {"live page>grabbed": 1})
    (error,) = told["errors"]
    assert (error["what"], error["subject"]) == ("page away", "gone")
    assert "what was grabbed before stays" in error["left"]

    page.stop()
    told = robber(home, "--json").gave(75).json
    assert told["state"] == "unavailable"
    assert {error["subject"] for error in told["errors"]} == {"production", "gone"}
    assert "start it with: dm-sim dqm" in json.dumps(told)
    page.start("--still")


def test_a_page_that_refuses_us_wants_other_cookies_and_is_got_with_them(home: Path, page: Page) -> None:
    configure(home, ("real", REAL.format(page.url)), backend="http")
    refused = robber(home)
    refused.gave(1)
    assert "page refused: real: /sync_proxy refuses us with HTTP 401" in refused.err
    assert "renew the cookies in [dqm] cookie_file" in refused.err
    in_trouble(home, "refused", "real")

    jar = home / "secrets/dqm-cookies"
    jar.write_text(f"# of the page\ndm-sim={page.address['token']}\n")
    jar.chmod(0o640)
    configure(home, ("real", REAL.format(page.url)), backend="http", cookie_file="secrets/dqm-cookies")
    assert f"mend it with: chmod 600 {jar}" in robber(home).gave(2).err
    jar.chmod(0o600)
    robber(home).ok()
    got(home, "real")


@pytest.mark.parametrize(
    ("keys", "options", "said"),
    [
        ({}, ("--site", "producton"), "[dqm] sites has no 'producton'; did you mean 'production'?"),
        ({"driver_path": "/no/such/driver"}, (), "driver_path is /no/such/driver, and no such program is there"),
        ({"browser": "firefox", "browser_path": "/no/such"}, (), "browser_path is /no/such, and no such program is there"),
    ],
)
def test_line_13_wrong_names_and_programs_are_named_and_nothing_is_started(
    home: Path, keys: dict[str, object], options: tuple[str, ...], said: str
) -> None:
    configure(home, **keys)
    assert said in robber(home, *options).gave(2).err
    assert not (home / "dqm/raw/production").exists()


def test_a_dry_run_tells_what_it_would_grab(home: Path) -> None:
    configure(home, PRODUCTION, backend="http")
    said = robber(home, "--dry-run", "--old-runs").ok().out
    assert "would grab the newest 15 old runs of production by the JSON endpoint" in said
    assert not (home / "run/dqm").exists()


# ---- going on --------------------------------------------------------------------------------------------------------


def test_line_1_a_reader_of_grabs_never_sees_an_empty_cut_or_mixed_one(home: Path, page: Page) -> None:
    """All jobs of one upload have the same number of events; a mixture would have two."""
    configure(home, PRODUCTION, backend="http")
    seen: list[set[int]] = []
    numbers: list[int] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            if found := newest(home):
                numbers.append(found[0].number)
                jobs = [one for one in documents(found[1])["documents"] if one["type"] == "dqm-source-state"]
                seen.append({one["events_total"] for one in jobs} if len(jobs) == 2 else {-1, -2})

    with going(home):
        got(home)
        reader = threading.Thread(target=read)
        reader.start()
        try:
            for number in range(3000, 3015):
                page.upload(job(RUN, events_total=number), job(RUN, "ecal", 7, events_total=number))
                wait_until(lambda number=number: {number} in seen[-20:], 30, f"{number} is seen")
        finally:
            over.set()
            reader.join()
    assert [one for one in seen if len(one) != 1] == []
    assert numbers == sorted(numbers)
    assert numbers[-1] >= 15


def test_line_5_a_site_in_trouble_never_delays_another_and_is_got_as_soon_as_it_can_be(home: Path, page: Page) -> None:
    page.upload(job(RUN), hosts="playback_local")
    page.faults('op = "silent"\nmatch = "hosts=playback_local"')
    configure(home, PRODUCTION, PLAYBACK, backend="http", grab_seconds=0.5)
    with going(home) as robber:
        stuck = in_trouble(home, "too slow", "playback")
        assert stuck.next_try > stuck.at
        before = got(home)
        again = wait_until(
            lambda: (found := says(home, "playback")) and found.failures > stuck.failures and found, 60, "tries again"
        )
        assert again.since == stuck.since
        assert got(home).confirmed > before.confirmed
        page.faults()
        assert got(home, "playback").failures == 0
        assert robber.stop() == 143
        assert "page too slow: playback" in robber.said
    assert leftovers(home) == []


def test_two_robbers_at_once_a_site_belongs_to_the_first(home: Path, page: Page) -> None:
    configure(home, PRODUCTION, backend="http")
    with going(home):
        got(home)
        told = robber(home, "--json").ok().json
        assert (told["state"], told["counts"], told["errors"]) == ("idle", {}, [])
        assert "another dqm-robber has it" in "".join(path.read_text() for path in (home / "log").glob("dqm-robber-*.log"))


def test_a_halt_ends_the_loop_and_what_it_started_and_none_begins(home: Path, page: Page) -> None:
    configure(home, PRODUCTION, backend="http")
    with going(home) as one:
        got(home)
        run("dm-command", "halt", "dqm", home=home).ok()
        assert one.process.wait(60) == 0
        assert one.all() == []
    assert leftovers(home) == []
    assert robber(home, "--json").ok().json["state"] == "halted"
    run("dm-command", "run", "dqm", home=home).ok()


@pytest.mark.parametrize("whom", ["dqm-production", "dqm-grabber"])
def test_a_keeper_or_grabber_that_is_killed_is_another_soon(home: Path, page: Page, whom: str) -> None:
    configure(home, PRODUCTION, backend="http")
    with going(home) as one:
        got(home)
        (killed,) = one.named(whom)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: (found := one.named(whom)) and found != [killed], 60, f"another {whom}: {one.said}")
        page.upload(job(RUN, events_total=4242))
        wait_until(lambda: b"4242" in grabbed(home)[1]["documents.json"], 60, "it grabs again")
    assert leftovers(home) == []


# ---- old runs --------------------------------------------------------------------------------------------------------


def test_old_runs_are_grabbed_once_and_again_when_they_change(home: Path, page: Page) -> None:
    for number in range(RUN + 1, RUN + 5):
        page.upload(job(number, exit_code=0))
    configure(home, PRODUCTION, backend="http", old_runs=3)
    assert robber(home, "--old-runs", "--json").ok().json["counts"] == {"old run>grabbed": 3}
    kept = sorted(int(path.name) for path in (home / "dqm/raw/production/runs").iterdir())
    assert kept == [RUN + 1, RUN + 2, RUN + 3]  # the newest one is the live page
    assert not (home / "dqm/raw/production/live").exists()
    assert documents(grabbed(home, run=RUN + 2)[1])["run"] == RUN + 2

    assert robber(home, "--old-runs", "--json", DMTOOLS_CLOCK_OFFSET="9000").ok().json["counts"] == {}
    page.upload(job(RUN + 2, exit_code=0, events_total=5))
    told = robber(home, "--old-runs", "--json", DMTOOLS_CLOCK_OFFSET="9000").ok().json
    assert (told["component"], told["counts"]) == ("robber-oldruns", {"old run>grabbed": 1})
    assert grabbed(home, run=RUN + 2)[0].number == 2


# ---- what it reads ---------------------------------------------------------------------------------------------------


def test_line_7_the_drivers_logs_keep_their_quota_and_say_no_line_a_thousand_times(tmp_path: Path) -> None:
    logs = [DriverLog(tmp_path, name, 200_000) for name in ("production", "playback")]
    for number in range(3000):
        for log in logs:
            log.take(b"[%d:ERROR] no such bus 0x%x\n" % (number, number))
            log.take(b"%s%s goes on: %s\n" % (bytes([97 + number % 26]), bytes([97 + number // 26 % 26]), b"x" * 500))
    kept = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sum(kept.values()) <= 200_000, kept
    assert len(kept) > 4
    assert sum(path.read_text().count("no such bus") for path in tmp_path.iterdir()) <= 2 * 20


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_driver_may_say_any_bytes(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    log = DriverLog(tmp_path_factory.mktemp("log"), "x", 10_000)
    for piece in pieces:
        log.take(piece)
    if log.path.exists():
        assert all(line.isprintable() for line in log.path.read_text().splitlines())


@given(st.binary(max_size=200))
def test_a_cookie_file_is_read_or_refused_and_no_message_shows_a_value(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    jar = tmp_path_factory.mktemp("jar") / "cookies"
    jar.write_bytes(b"name=geheim-value\n" + data)
    jar.chmod(0o600)
    said = ""
    try:
        found = cookies(Settings(home=jar.parent, dqm=Dqm(cookie_file="cookies")))
    except SettingsError as problem:
        found, said = {"refused": ""}, str(problem)
    assert found
    assert "geheim" not in said
    assert all(name and "\n" not in value and ";" not in value for name, value in found.items())


@given(st.integers(1, 10**8), st.lists(st.sampled_from(["trackRun", "run=", "run=7", "hosts=runs_380001", "showJobs", "x=%20"])))
def test_line_13_the_address_of_a_run_has_its_number_once_wherever_else_run_stands(number: int, words: list[str]) -> None:
    page = f"https://host/run380001/static/index.html#/lumi/?{'&'.join(words)}"
    made = Address(page, {}).of_run(number)
    path, _, query = made.partition("?")
    assert path == "https://host/run380001/static/index.html#/lumi/"
    parts = query.split("&")
    assert parts.count(f"run={number}") == 1
    assert "trackRun" not in parts
    assert [one for one in parts if one != f"run={number}"] == [
        one for one in words if one in ("hosts=runs_380001", "showJobs", "x=%20")
    ]
    assert Address(page, {}).endpoint("sync_proxy").startswith("https://host/run380001/sync_proxy")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)
)
_KEYS = st.sampled_from(["run", "runs", "running", "link", "lacking", "same", "html", "graphs", "print"])


@given(st.dictionaries(_KEYS, _JSON))
def test_whatever_the_page_gives_is_content_or_a_failure(answer: dict[str, Any]) -> None:
    try:
        found = content(answer)
    except Failed:
        return
    assert found.same or "page.html" in found.files


def test_the_wait_after_failures_grows_from_a_second_to_its_end() -> None:
    waits = [back_off(failures, 60) for failures in range(2000)]
    assert waits[:8] == [0, 1, 2, 4, 8, 16, 32, 60]
    assert waits == sorted(waits)
    assert waits[-1] == 60
