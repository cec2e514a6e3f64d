"""The page of dm-sim dqm in a real Chromium: what a shifter sees and does, what a robber finds, and each way to break it."""

from __future__ import annotations

import base64
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from lxml import html
from selenium.webdriver.common.by import By

from dmtools.house.leftovers import end_all
from tests.simulators.dqm_page import Dqm, files, job
from tests.simulators.fts_client import make_home
from tests.support import TEST_MARK, wait_until
from tests.web.browser import Browser

pytestmark = [pytest.mark.needs("browser"), pytest.mark.slow]

EVIL = "<img src=x onerror=document.title='taken'> & \"quotes\" 'too'"
LOG = "a[class='hover-hide btn btn-default btn-xs'][ng-click=\"_show_inline = 'log'\"]"
GRAPH = "a[class='hover-hide btn btn-default btn-xs'][ng-click=\"_show_inline = 'graph'\"]"
LABEL = "a[class='label-run label label-info ng-binding ng-scope']"


@pytest.fixture(scope="module")
def still() -> Iterator[Dqm]:
    """One server for all tests here; each has runs of its own."""
    place = Path(tempfile.mkdtemp(prefix="dmd-", dir="/tmp"))
    server = Dqm(make_home(place / "home")).start("--still")
    yield server
    server.stop()
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(1400, 1000) as one:
        one.driver.set_script_timeout(5)
        yield one


@pytest.fixture
def one(browser: Browser, still: Dqm) -> Iterator[Browser]:
    yield browser
    still.faults()
    browser.go("about:blank")


def opened(one: Browser, still: Dqm, run: object = None, hosts: str = "production_local") -> None:
    """As a robber goes there: by about:blank, for another hash alone is no other page."""
    one.go("about:blank")
    one.go(still.page(hosts, run))


def rows(one: Browser) -> list[list[str]]:
    """The visible text of the rows of jobs."""
    jobs = "[...document.querySelectorAll('tbody:not([role]) > tr:not([ng-if])')]"
    found: list[list[str]] = script(one, f"{jobs}.map(row => [...row.cells].map(cell => cell.innerText.trim()))")
    return found


def script(one: Browser, text: str) -> Any:
    return one.driver.execute_script(f"return {text}")


def link(one: Browser) -> tuple[str, str]:
    """What the page says of its link, and in which colour."""
    label = one.wait(".servers strong")
    return label.text, str(label.get_attribute("class")).split()[1]


def test_a_run_with_its_jobs_states_logs_and_graphs(one: Browser, still: Dqm) -> None:
    now = time.time()
    crashed = job(101, "ecal", 7, exit_code=139, timestamp=now - 200, extra={"stdlog_start": [EVIL], "stdlog_end": ["the end"]})
    still.upload(job(101), crashed, job(101, "hcal", 8, exit_code=0, timestamp=now - 4000, events_total=None), files(101))
    opened(one, still, 101)
    one.until(lambda: len(rows(one)) == 3, "three jobs")
    beam, ecal, hcal = rows(one)
    assert beam[1:8] == ["fu-1-01", "100", "R", "beam", "7", "1024 mb", "2000 (12.5 evt/s)"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\s+\d+ s\.", beam[0])
    assert (ecal[3], hcal[3], hcal[7]) == ("139", "0", "--")
    ages = script(one, "[...document.querySelectorAll('tbody > tr > td:first-child .label')].map(l => l.className.split(' ')[1])")
    assert ages == ["label-success", "label-info", "label-danger"]
    assert [part.text for part in one.driver.find_elements(By.CSS_SELECTOR, ".legend")] == ["running 1", "stopped 1", "crashed 1"]
    assert " ".join(one.text(".breadcrumb").split()) == "Run 101 Known cmssw jobs 3 running 1 stopped 1 crashed 1"
    assert script(one, "document.querySelectorAll('dqm-log').length") == 0
    script(one, f"document.querySelectorAll(`{LOG}`).forEach(a => a.click())")
    logs = [part.get_property("textContent") for part in one.driver.find_elements(By.CSS_SELECTOR, "tr[ng-if] dqm-log")]
    assert logs[2:4] == [EVIL, "the end"]
    assert len(logs) == 6
    assert one.driver.title == "DQM^2"  # a log is text
    pictures = [
        base64.b64decode(text)
        for text in script(one, "[...document.querySelectorAll('canvas')].map(c => c.toDataURL().split(',')[1])")
    ]
    assert len(pictures) == 2
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 3000 for picture in pictures)
    one.wait(GRAPH).click()  # instead of the log
    one.until(lambda: script(one, "document.querySelectorAll('canvas').length") == 3, "the memory of a job")
    assert script(one, "document.querySelectorAll('dqm-log').length") == 4
    assert one.complaints() == []


def test_the_original_parser_reads_it(one: Browser, still: Dqm) -> None:
    playback = {
        "_id": "playback-102",
        "type": "dqm-playback",
        "run": 102,
        "state": "playing",
        "ls": 3,
        "config": {"number_of_ls": 9},
    }
    path = "/fff/BU0/playback_files/run379866/run379866_ls0003.dat"
    still.upload(
        job(102), job(102, "ecal", 7, exit_code=139), playback | {"extra": {"ls_map": {"3": path}}}, hosts="playback_local"
    )
    opened(one, still, 102, "playback_local")
    one.until(lambda: len(rows(one)) == 2, "two jobs")
    script(one, f"document.querySelectorAll(`{LOG}`)[1].click()")
    tree = html.fromstring(one.driver.page_source)
    servers = [
        a for a in tree.iter("a") if a.get("class", "").split()[:1] == ["ng-binding"] and not {"href", "ng-href"} & set(a.attrib)
    ]
    assert [(a.text.split()[0], a.find("strong").text) for a in servers] == [("ws://dqmrubu-c2a06-03-01.cms:9215/sync", "live")]
    (bread,) = [
        ol for ol in tree.iter("ol") if ol.get("class") == "breadcrumb" and ol.xpath(".//span[text()='Known cmssw jobs']")
    ]
    assert bread.xpath(".//strong[@class='ng-binding']")[0].text == "102"
    titles = tree.xpath("//div[@ng-controller='CachedDocumentCtrl']//strong[@class='ng-binding']/@title")
    assert next(part for part in titles[0].split("/") if "run" in part) == "run379866"
    jobs: list[list[str]] = []
    for row in (row for body in tree.iter("tbody") if not body.attrib for row in body.iter("tr")):
        if row.get("ng-if") == "_show_inline == 'log'":
            jobs[-1].append("\n...\n".join(log.text_content().strip() for log in row.iter("dqm-log")))
        else:
            jobs.append([cell.text_content().strip() for cell in row.iter("td")])
    first = [[cell.split("\n")[0].strip() for cell in one[1:8]] for one in jobs]
    assert first[0] == ["fu-1-01", "100", "R", "beam", "7", "1024 mb", "2000 (12.5 evt/s)"]
    assert [cells[2] for cells in first] == ["R", "139"]
    assert jobs[1][-1] == "ecal begins\n...\necal goes on"
    assert jobs[1][3].split() == ["139", "R"]  # the hidden twin is there, for those who don't look at classes
    assert tree.xpath("//a[contains(@href, '/show_log/')]/@href") == [
        f"/utils/show_log/job-102-{one}" for one in ("beam-100", "ecal-7")
    ]


def test_runs_are_switched_and_the_newest_is_followed(one: Browser, still: Dqm) -> None:
    still.upload(*[job(run) for run in range(900_001, 900_021)])
    opened(one, still)
    one.until(lambda: one.text(".breadcrumb strong") == "900020", "the newest run")
    labels = [label.text for label in one.driver.find_elements(By.CSS_SELECTOR, LABEL)]
    assert labels == [str(run) for run in range(900_020, 900_005, -1)]
    still.upload(job(900_021))
    one.until(lambda: one.text(".breadcrumb strong") == "900021", "the next run, by itself")
    box = one.wait("input[type=checkbox]")
    assert box.is_selected()
    box.click()
    one.driver.find_elements(By.CSS_SELECTOR, LABEL)[3].click()
    one.until(lambda: one.text(".breadcrumb strong") == "900018", "the run that was clicked")
    one.until(lambda: len(rows(one)) == 1, "its job")
    assert "run=900018" in one.driver.current_url
    script(one, "window.mark = 1")
    one.go(still.page(run=900_005))  # only the hash is another one
    one.until(lambda: one.text(".breadcrumb strong") == "900005", "an older run than there are labels")
    assert script(one, "window.mark") == 1, "another hash must not load the page anew"
    opened(one, still, 900_005)
    assert script(one, "window.mark || 0") == 0


def test_ages_go_on_and_news_come_without_a_reload(one: Browser, still: Dqm) -> None:
    still.upload(job(103, timestamp=time.time() - 20))
    opened(one, still, 103)
    one.until(lambda: rows(one), "a job")
    before = rows(one)[0][0]
    one.until(lambda: rows(one)[0][0] != before, "the age goes on")
    row = one.wait("tbody > tr")
    still.upload(job(103, events_total=2001, exit_code=134))
    one.until(lambda: rows(one)[0][3] == "134", "the job crashed")
    still.upload(job(103, "another"))
    one.until(lambda: len(rows(one)) == 2, "a row before it")
    assert row.get_attribute("class") == "ng-scope danger"  # the same row, brought up to date


def test_cut_shows_closed_and_comes_back(one: Browser, still: Dqm) -> None:
    still.upload(job(104))
    opened(one, still, 104)
    one.until(lambda: link(one) == ("live", "label-success"), "live")
    still.faults("op = 'cut'\nmatch = 'GET /sync'")
    one.until(lambda: link(one) == ("closed", "label-danger"), "closed")
    assert len(rows(one)) == 1  # what was known stays
    still.upload(job(104, pid=101))
    still.faults()
    one.until(lambda: link(one) == ("live", "label-success") and len(rows(one)) == 2, "live again, with what came meanwhile")


def test_deaf_looks_live_and_is_not(one: Browser, still: Dqm) -> None:
    still.upload(job(105))
    opened(one, still, 105)
    one.until(lambda: len(rows(one)) == 1, "a job")
    still.faults("op = 'deaf'\nmatch = 'GET /sync'")
    still.upload(job(105, events_total=3000))
    before = rows(one)[0][0]
    one.until(lambda: rows(one)[0][0] != before, "the age goes on")
    assert (link(one)[0], rows(one)[0][7]) == ("live", "2000 (12.5 evt/s)")
    opened(one, still, 105)
    one.until(lambda: link(one) == ("open", "label-warning"), "open, and told nothing")
    still.faults()
    one.until(lambda: rows(one) and rows(one)[0][7] == "3000 (12.5 evt/s)", "what was held back")


def test_half_shows_some_of_the_jobs(one: Browser, still: Dqm) -> None:
    still.upload(*[job(106, pid=pid) for pid in range(20)])
    still.faults("op = 'half'\nmatch = 'GET /sync?hosts=production_local'")
    opened(one, still, 106)
    one.until(lambda: 3 < len(rows(one)) < 17, "some rows")


def test_markup_is_what_no_parser_knows(one: Browser, still: Dqm) -> None:
    still.upload(job(107))
    still.faults("op = 'markup'\nmatch = 'GET /sync'")
    opened(one, still, 107)
    one.until(lambda: "Known cmssw jobs" in one.text() and "beam" in one.text(), "the page, for eyes")
    for gone in (".ng-binding", ".breadcrumb", ".label-run", LOG, "tbody:not([role])"):
        assert one.driver.find_elements(By.CSS_SELECTOR, gone) == []


def test_alert_waits_for_a_person(one: Browser, still: Dqm) -> None:
    still.upload(job(108))
    still.faults("op = 'alert'\nmatch = 'GET /sync'\nreason = 'Session ends'\nseconds = 0.2\ntimes = 1")
    opened(one, still, 108)

    def box() -> bool:
        try:
            return one.driver.switch_to.alert.text == "Session ends"
        except Exception:  # noqa: BLE001 - no box yet
            return False

    one.until(box, "a box")
    one.driver.switch_to.alert.accept()
    one.until(lambda: len(rows(one)) == 1, "the page goes on")


def test_busy_never_answers_again(still: Dqm) -> None:
    still.upload(job(109))
    still.faults("op = 'busy'\nmatch = 'GET /sync'\nseconds = 0.3\ntimes = 1")
    lost = Browser(600, 400)  # its page can't be left any more, and quit would wait for minutes
    try:
        lost.driver.set_script_timeout(1)
        opened(lost, still, 109)
        where = f"{lost.driver.service.service_url}/session/{lost.driver.session_id}/execute/sync"

        def stuck() -> bool:
            try:
                return requests.post(where, json={"script": "return 1", "args": []}, timeout=3).status_code != 200
            except requests.ReadTimeout:
                return True

        wait_until(stuck, what="a script that gets no answer")
    finally:
        end_all(TEST_MARK, os.environ[TEST_MARK])
