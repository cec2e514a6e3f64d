"""dqm-robber by real browsers: the page in all its moods, and what is left when anything of it is killed."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lxml import html

from tests.dqm.robber_steps import Robber, comm, configure, documents, going, got, grabbed, in_trouble, leftovers, newest, says
from tests.simulators.dqm_page import Dqm as Page
from tests.simulators.dqm_page import files, job
from tests.support import run, wait_until

pytestmark = [pytest.mark.slow]

RUN = 380001
BROWSERS = [
    pytest.param("chromium", marks=pytest.mark.needs("browser")),
    pytest.param("firefox", marks=pytest.mark.needs("firefox")),
]
DRIVERS = {"chromium": "chromedriver", "firefox": "geckodriver"}
PRODUCTION = ("production", "sim:dqm/production")
_PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def page(home: Path) -> Iterator[Page]:
    """A page on which nothing moves by itself: a run with two jobs and two graphs."""
    server = Page(home).start("--still")
    server.upload(job(RUN), job(RUN, "ecal", 7, exit_code=139), files(RUN))
    yield server
    server.stop()


def diary(home: Path) -> str:
    """What the robber wrote into its log."""
    return "".join(path.read_text() for path in (home / "log").glob("dqm-robber-*.log"))


def events(home: Path) -> str:
    """The text of the newest grab."""
    return (newest(home) or ("", {"page.html": b""}))[1]["page.html"].decode()


def seen(home: Path, page: Page, number: int) -> dict[str, bytes]:
    """A change of the page, waited for in a grab; gives its files."""
    page.upload(job(RUN, events_total=number))
    wait_until(lambda: f"{number} (12.5 evt/s)" in events(home), 60, f"{number} is grabbed: {says(home)}")
    return grabbed(home)[1]


@pytest.mark.parametrize("browser", BROWSERS)
def test_lines_3_and_4_the_page_in_all_its_moods_and_nothing_is_left_of_what_was_killed(
    home: Path, page: Page, browser: str
) -> None:
    """One robber lives through all of it: no test pays for a browser that another one has already."""
    configure(home, PRODUCTION, browser=browser)
    with going(home) as robber:
        the_page_is_taken_whole(home, page)
        line_11_a_log_is_that_of_the_job_whose_id_it_has(home, page)
        a_box_is_sent_away_and_told(home, page)
        a_link_that_is_cut_and_one_that_is_deaf(home, page)
        a_page_that_is_slow_is_waited_for(home, page)
        half_the_documents_and_another_markup(home, page)
        line_2_a_source_that_died_is_told_and_found_again_elsewhere(home, page)
        line_4_a_page_that_hangs_is_ended_with_its_browser(home, page, robber)
        if browser == "chromium":
            killed_and_here_again(home, page, robber, lambda: robber.named("chromedriver"))
            killed_and_here_again(home, page, robber, lambda: robber.named("dqm-production"))
        else:
            killed_and_here_again(home, page, robber, lambda: robber.named("dqm-grabber"))
        all_below = robber.all()
        if browser == "chromium":  # the command alone: its keepers clear away
            os.kill(robber.process.pid, signal.SIGKILL)
        else:  # all that is ours at once: nobody is left to clear away but the next start
            for pid in [robber.process.pid, *(one for one in all_below if comm(one).startswith("dqm-"))]:
                os.kill(pid, signal.SIGKILL)
        robber.process.wait(30)
        wait_until(lambda: not [one for one in leftovers(home) if not one.startswith("/")], 20, f"{leftovers(home)}")
        if browser == "chromium":
            wait_until(lambda: leftovers(home) == [], 20, f"{leftovers(home)}")
    configure(home, PRODUCTION, backend="http")
    run("dqm-robber", home=home, timeout=120).ok()
    assert leftovers(home) == []


def the_page_is_taken_whole(home: Path, page: Page) -> None:
    got(home)
    taken = seen(home, page, 3001)
    tree = html.fromstring(taken["page.html"])
    assert "beam begins" in taken["page.html"].decode()  # a log is open
    assert [one.get("data-dm-graph") for one in tree.iter("canvas")] == ["graph-1.png", "graph-2.png"]
    assert taken["graph-1.png"].startswith(_PNG)
    assert taken["graph-2.png"].startswith(_PNG)
    assert taken["graph-1.png"] != taken["graph-2.png"]
    assert {one["_id"] for one in documents(taken)["documents"]} == {f"files-{RUN}", f"job-{RUN}-beam-100", f"job-{RUN}-ecal-7"}
    before, told = grabbed(home)[0].mark, says(home)
    wait_until(lambda: says(home).confirmed > told.confirmed, 30, "it goes on to be confirmed")
    assert grabbed(home)[0].mark == before


def line_11_a_log_is_that_of_the_job_whose_id_it_has(home: Path, page: Page) -> None:
    """A job that comes later stands above the others."""
    page.upload(job(RUN, "aaa-first", 9))
    taken = wait_until(lambda: "aaa-first begins" in events(home) and grabbed(home)[1], 60, "the new job's log")
    tree = html.fromstring(taken["page.html"])
    rows = {one.get("data-dm-job"): one.text_content() for one in tree.iter("tr") if one.get("data-dm-job")}
    logs = {one.get("data-dm-log-of"): one.text_content() for one in tree.iter("tr") if one.get("data-dm-log-of")}
    assert list(rows) == [f"job-{RUN}-aaa-first-9", f"job-{RUN}-beam-100", f"job-{RUN}-ecal-7"]
    assert set(logs) == set(rows)
    assert all(f"{re.search(f'{RUN}-(.*)-', key)[1]} begins" in text for key, text in logs.items())  # type: ignore[index]


def a_box_is_sent_away_and_told(home: Path, page: Page) -> None:
    page.faults('op = "alert"\nmatch = "GET /sync"\nreason = "The session ends"\nseconds = 0\ntimes = 1')
    wait_until(lambda: "a box was sent away" in diary(home), 60, f"the box is told:\n{diary(home)}")
    page.faults()
    seen(home, page, 3002)


def a_link_that_is_cut_and_one_that_is_deaf(home: Path, page: Page) -> None:
    page.faults('op = "cut"\nmatch = "GET /sync"')
    wait_until(lambda: ">closed</strong>" in events(home), 60, "the page says that its link is closed")
    told = got(home)
    wait_until(lambda: says(home).confirmed > told.confirmed, 60, "the page itself can be had")
    wait_until(lambda: "it is opened anew" in diary(home), 60, "a page that does not find its source again is opened anew")
    page.faults('op = "deaf"\nmatch = "GET /sync"')
    page.upload(job(RUN, events_total=3003))
    told = got(home)
    wait_until(lambda: says(home).confirmed > told.confirmed, 60, "the page itself can be had")
    assert "3003 (12.5" not in events(home)
    page.faults()
    seen(home, page, 3004)


def a_page_that_is_slow_is_waited_for(home: Path, page: Page) -> None:
    """Its files and its endpoint take a second each, also when it is opened anew because its link was cut."""
    slow = ('op = "slow"\nmatch = "GET /static"\nseconds = 1', 'op = "slow"\nmatch = "POST"\nseconds = 1')
    before = diary(home).count("it is opened anew")
    page.faults(*slow, 'op = "cut"\nmatch = "GET /sync"')
    wait_until(lambda: diary(home).count("it is opened anew") > before, 60, "it is opened anew, slowly")
    page.faults(*slow)
    seen(home, page, 3006)
    assert got(home).failures == 0
    page.faults()


def line_2_a_source_that_died_is_told_and_found_again_elsewhere(home: Path, page: Page) -> None:
    """The page in the browser stands there as before; another port and another token are all that is new."""
    page.stop()
    told = in_trouble(home, "away")
    page.start("--still").upload(job(RUN), job(RUN, "ecal", 7, exit_code=139), files(RUN))
    got(home)
    seen(home, page, 3005)
    assert got(home).confirmed > told.at


def half_the_documents_and_another_markup(home: Path, page: Page) -> None:
    """The page is got; what it does not show is told, and is for the parser to judge."""
    page.faults('op = "markup"\nmatch = "GET /sync"')
    wait_until(lambda: "crumbs" in events(home), 60, "the other markup is taken as it is")
    assert got(home).trouble == ""
    page.faults('op = "half"\nmatch = "GET /sync"')
    page.upload(*(job(RUN + 1, "half", number) for number in range(6)))
    wait_until(lambda: (newest(home) or pytest.fail("gone"))[0].manifest.facts["lacking"], 60, "what is not seen is told")
    assert got(home).trouble == ""
    page.faults()


def line_4_a_page_that_hangs_is_ended_with_its_browser(home: Path, page: Page, robber: Robber) -> None:
    """The script that never ends hits the page that is open; the server that never answers the one that is opened then."""
    old = robber.named("dqm-grabber")
    busy = 'op = "busy"\nmatch = "GET /sync"\nseconds = 0\ntimes = 1'
    page.faults('op = "cut"\nmatch = "GET /sync"\ntimes = 1', busy, 'op = "silent"\nmatch = "GET /static/index.html"')
    hang = lambda: (told := says(home)) and told.failures >= 2 and told.trouble == "too slow"  # noqa: E731
    wait_until(hang, 150, f"two grabs hang: {says(home)}")
    page.faults()
    got(home)
    assert not set(old) & set(robber.named("dqm-grabber"))


def killed_and_here_again(home: Path, page: Page, robber: Robber, whom: Callable[[], list[int]]) -> None:
    (killed,) = whom()
    name = comm(killed)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: (found := whom()) and killed not in found, 90, f"another {name}: {robber.said}")
    got(home)
    number = 5000 + killed % 1000
    page.upload(job(RUN + 1, "after", 1, events_total=number))
    wait_until(lambda: f"{number} (12.5 evt/s)" in events(home), 90, f"it grabs again after {name} was killed")
    assert len([pid for pid in robber.all() if "driver" in comm(pid)]) == 1, "the browser that was there before is gone"


@pytest.mark.needs("browser")
def test_line_10_an_old_run_that_fails_stops_no_other_and_comes_later(home: Path, page: Page) -> None:
    for number in range(RUN + 1, RUN + 4):
        page.upload(job(number, "old", number % 10, exit_code=0), files(number))
    configure(home, PRODUCTION, old_runs=3)
    page.faults('op = "http500"\nmatch = "GET /static/index.html"\ntimes = 1')
    told = run("dqm-robber", "--old-runs", "--json", home=home, timeout=120).ok().json
    assert told["counts"] == {"old run>grabbed": 2}
    (error,) = told["errors"]
    assert f"HTTP 500, run {RUN + 2}" in error["why"]
    kept = {int(path.name): grabbed(home, run=int(path.name))[1] for path in (home / "dqm/raw/production/runs").iterdir()}
    assert sorted(kept) == [RUN, RUN + 1]
    assert f"job-{RUN + 1}-old" in kept[RUN + 1]["page.html"].decode()
    assert "beam" not in kept[RUN + 1]["page.html"].decode()  # nothing of another run
    page.faults()
    assert run("dqm-robber", "--old-runs", "--json", home=home, timeout=120).ok().json["counts"] == {"old run>grabbed": 1}
    assert leftovers(home) == []
