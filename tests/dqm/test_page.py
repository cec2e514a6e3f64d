"""The mirrored page in a real Chromium: what a shifter sees and presses, on a desk, by keyboard, on a phone, without scripts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from dmtools import clock
from dmtools.dqm import record
from tests.dqm import mirror as mirrors
from tests.dqm import public
from tests.dqm.mirror import Mirror
from tests.dqm.pages import Source, some_jobs
from tests.support import Server, free_port
from tests.web.browser import Browser

pytestmark = [pytest.mark.needs("browser"), pytest.mark.slow]
PAGE = "/sites/production"


@pytest.fixture(scope="module")
def desk() -> Iterator[Browser]:
    """One browser for all tests here."""
    with Browser(1280, 900) as one:
        yield one


@pytest.fixture
def mirror(home: Path, serve: Callable[..., Server], desk: Browser) -> Mirror:
    found = mirrors.start(home, serve, jobs=some_jobs(12), page_seconds=0.5, stale_seconds=20)
    desk.driver.get(f"{found.url}/help")
    desk.driver.execute_script("localStorage.clear()")
    desk.complaints()
    return found


def rows(one: Browser, column: int) -> list[str]:
    shown = "[...document.querySelectorAll('table.jobs tbody tr')].filter(row => !row.hidden)"
    script = f"return {shown}.map(row => row.cells[arguments[0]].innerText)"
    found: list[str] = one.driver.execute_script(script, column)
    return found


def click(one: Browser, selector: str) -> None:
    """Also when the page is drawn anew just then."""
    one.until(lambda: (one.wait(selector).click(),), f"a click on {selector}")


def paper(one: Browser, selector: str) -> str:
    return str(
        one.driver.execute_script("return getComputedStyle(document.querySelector(arguments[0])).backgroundColor", selector)
    )


def focus(one: Browser) -> str:
    return str(one.driver.execute_script("const e = document.activeElement; return e.id || e.innerText || e.name || e.tagName"))


def tab_to(one: Browser, wanted: str, most: int = 60) -> None:
    for _ in range(most):
        one.driver.switch_to.active_element.send_keys(Keys.TAB)
        if focus(one) == wanted:
            return
    pytest.fail(f"no Tab leads to {wanted}")


def test_every_button_does_what_it_says_and_news_come_by_themselves(mirror: Mirror, desk: Browser) -> None:
    one = desk
    one.go(mirror.url + PAGE)
    assert "Fresh" in one.text("#state")
    assert one.text("#state .run") == "380001"
    for key, column in (("state", 3), ("host", 2), ("tag", 4), ("at", 0), ("age", 1), ("lumi", 5), ("rss", 6), ("events", 7)):
        click(one, f"#sort-{key}")
        up = rows(one, column)
        assert one.wait(f"th:has(#sort-{key})").get_attribute("aria-sort") == "ascending"
        click(one, f"#sort-{key}")
        down = rows(one, column)
        assert key == "age" or sorted(up) == sorted(down)  # ages go on
        if key in ("state", "tag"):
            assert up == down[::-1]
            assert key != "state" or up[0] == "✕ crashed 139"
    click(one, "#sort-state")
    click(one, "#only-crashed")
    assert rows(one, 3) == ["✕ crashed 139"]
    click(one, "#clear")
    assert len(rows(one, 3)) == 12
    one.fill("#sift", "hcal")
    assert rows(one, 4) == ["hcal"]
    # A new page: what was sorted, sifted and typed stays, and the place of the keyboard.
    public.publish(mirror.home, Source(some_jobs(13), at=clock.now()))
    public.says(mirror.home)
    one.until(lambda: one.text("#jobs .count") == "13", "the new page comes by itself")
    assert rows(one, 4) == ["hcal", "hcal"]
    assert focus(one) == "sift"
    assert one.wait("th:has(#sort-state)").get_attribute("aria-sort") == "ascending"
    click(one, "#clear")
    click(one, "table.jobs tbody tr.crashed a")
    assert "begin of job 3" in one.text("pre")
    one.fill("#q", "END OF")
    click(one, "input[name='only']")
    one.press(".find button")
    assert one.text("pre mark") == "end of"
    assert "begin" not in one.text("pre")
    one.press("nav a[href$='/runs']")
    assert one.text("h1") == "Old runs of production"
    one.press("form button")
    assert "No job differs in state." in one.text()
    one.press("nav a[href$='/runs']")
    one.press(".take a")
    one.press("table.timeline tbody a")
    assert "old run" in one.text(".strip")
    for place, text in (("/sites/playback", "replay of run 379866"), ("/help", "How good is what I see?"), (PAGE, "380001")):
        one.press(f"nav a[href='{place}']")
        assert text in one.text()
    assert one.complaints() == []


def test_line_2_a_killed_source_greys_the_rows_and_a_crash_is_told_until_it_was_seen(mirror: Mirror, desk: Browser) -> None:
    one = desk
    one.go(mirror.url + PAGE)
    one.wait("#sift")
    assert not one.driver.find_elements(By.CSS_SELECTOR, "#news .notice")
    more = some_jobs(12)
    more[5].exit_code = 11
    public.publish(mirror.home, Source(more, at=clock.now()))
    public.says(mirror.home)
    assert "Crashed since you looked: dqmfu-...-01 csc" in one.text("#news .notice")
    one.go(mirror.url + PAGE)
    assert "csc" in one.text("#news .notice")  # also after a reload, until it is said to be seen
    click(one, "#seen")
    one.go(mirror.url + PAGE)
    one.wait("#sift")
    assert not one.driver.find_elements(By.CSS_SELECTOR, "#news .notice")
    plain = paper(one, "table.jobs tbody td")
    public.says(mirror.home, link=record.CLOSED, data=clock.now() - timedelta(minutes=3))
    assert re.match(r"These data are 3 minutes old: the page inside has lost the link", one.text("#banner"))
    assert paper(one, "table.jobs tbody td") != plain
    public.says(mirror.home)
    one.until(lambda: not one.driver.find_elements(By.CSS_SELECTOR, "#banner"), "it comes back by itself")
    # From here on nobody writes: the age ticks, and the page turns Stale within its time, without a reload.
    assert "These data are" in one.text("#banner")
    first = one.text("#banner .age")
    one.until(lambda: one.text("#banner .age") != first, "the age goes on")
    assert one.complaints() == []


@pytest.mark.parametrize("events", [True, False], ids=["events", "polling"])
def test_line_12_a_server_that_went_away_is_told_and_comes_back_by_itself(
    home: Path, serve: Callable[..., Server], desk: Browser, events: bool
) -> None:
    mirror = mirrors.start(home, serve, port=(port := free_port()), page_seconds=0.5, stale_seconds=600, down_seconds=900)
    one = desk
    source = "" if events else "delete window.EventSource"
    script = one.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        one.go(mirror.url + PAGE)
        one.wait("#sift")
        mirror.server.kill()
        told = one.text("#lost:not([hidden])")
        assert re.search(r"connection lost since \d\d:\d\d:\d\d", told)
        assert "380001" in one.text("#state")
        assert "dqmfu" in one.text("table.jobs")
        serve("dqm-server", "--port", port, home=home)
        one.until(lambda: not one.driver.find_elements(By.CSS_SELECTOR, "#lost:not([hidden])"), "it is back without a press")
        public.publish(home, Source(some_jobs(9), at=clock.now()))
        public.says(home)
        one.until(lambda: one.text("#jobs .count") == "9", "and goes on")
        one.complaints()  # of the connections that were refused
    finally:
        one.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_by_keyboard_alone(mirror: Mirror, desk: Browser) -> None:
    one = desk
    one.go(mirror.url + PAGE)
    one.wait("#sift")
    one.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert focus(one) == "To the data"
    one.driver.switch_to.active_element.send_keys(Keys.ENTER)
    tab_to(one, "only-crashed")
    one.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert len(rows(one, 3)) == 1
    one.driver.switch_to.active_element.send_keys(Keys.SPACE)
    assert len(rows(one, 3)) == 12
    tab_to(one, "sort-state")
    one.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert rows(one, 3)[0] == "✕ crashed 139"
    public.publish(mirror.home, Source(some_jobs(13), at=clock.now()))
    public.says(mirror.home)
    one.until(lambda: one.text("#jobs .count") == "13", "the new page")
    assert focus(one) == "sort-state"
    crashed = str(one.wait("tr.crashed a").get_attribute("id"))
    tab_to(one, crashed)
    one.driver.switch_to.active_element.send_keys(Keys.ENTER)
    one.until(lambda: "begin of job 3" in one.text("pre"), "the log")
    assert one.complaints() == []


def test_a_phone_shows_all_in_one_column(mirror: Mirror) -> None:
    with Browser(390, 844, phone=True) as one:
        for path in (PAGE, f"{PAGE}/runs", f"{PAGE}/runs/380000", f"{PAGE}/compare?a=380000&b=379999", "/help"):
            one.go(mirror.url + path)
            one.wait("main")
            assert one.driver.execute_script("return document.documentElement.scrollWidth") <= 390, path
        one.go(mirror.url + PAGE)
        click(one, "#only-crashed")
        assert one.text("table.jobs tbody tr.crashed .job") == "✕ crashed 139"
        for selector in ("#only-crashed", "#clear", "#sift", "nav a"):
            assert one.until(lambda selector=selector: one.wait(selector).rect["height"], selector) >= 36


def test_without_scripts_it_reads_sorts_and_comes_anew(mirror: Mirror) -> None:
    with Browser(1000, 800, scripts=False) as one:
        one.go(mirror.url + PAGE)
        assert "380001" in one.text("#state")
        click(one, "#sort-state")
        one.until(lambda: one.text("table.jobs tbody tr .job") == "✕ crashed 139", "sorted")
        public.publish(mirror.home, Source(some_jobs(13), at=clock.now()))
        public.says(mirror.home)
        one.until(lambda: one.text("#jobs .count") == "13", "it loads itself anew")
        assert one.text("table.jobs tbody tr .job") == "✕ crashed 139"
        click(one, "table.jobs tbody tr a")
        assert "begin of job 3" in one.text("pre")
