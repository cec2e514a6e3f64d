"""The plot site in a real Chromium: from its directory, and through dm-web; what is drawn is what is in the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.datalogger.history import History
from tests.datalogger.test_site import LAST, NAMES, ODD, STATES, day, site_of
from tests.support import Server, run
from tests.web.browser import Browser
from tests.web.conftest import PASSWORD, add_user

pytestmark = [pytest.mark.needs("browser"), pytest.mark.slow]
IS = "p.state === 'drawn' && p.shown === shown()"
DRAWN = f"""
    if (typeof panels === 'undefined') return false;
    const near = [...panels.values()].filter((p) => p.near);
    return near.length && near.every((p) => {IS});
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(1280, 1000) as one:
        yield one


@pytest.fixture
def history(home: Path) -> History:
    """Four hundred days, so that a year is not all."""
    found = History(home, NAMES, LAST, 400, STATES, ODD)
    found.write()
    run("datalogger-json", home=home).ok()
    return found


def drawn(one: Browser, stem: str = "") -> None:
    """All panels near the screen show what they should, this one too."""
    one.until(lambda: one.driver.execute_script(DRAWN), "all near panels are drawn")
    if stem:
        script = f"const p = panels.get('{stem}'); return {IS}"
        one.until(lambda: one.driver.execute_script(script), f"{stem} is drawn")


def plot(one: Browser, stem: str, what: str) -> Any:
    """Something of a panel's plot as plotly has it."""
    return one.driver.execute_script(f"return document.querySelector('#panel-{stem} .plot').{what}")


def ranges(one: Browser) -> set[str]:
    each = "p.plot._fullLayout.xaxis.range.map((x) => x.slice(0, 16)).join()"
    script = f"return [...panels.values()].filter((p) => p.drawn).map((p) => {each})"
    return set(one.driver.execute_script(script))


def of_the_history(one: Browser, history: History) -> None:
    """The points that are drawn are those of the tables; what is missing breaks the line and is marked."""
    one.show("#panel-B_VIMIN")
    drawn(one, "B_VIMIN")
    trace = plot(one, "B_VIMIN", "data[2]")
    points = dict(zip(trace["x"], trace["y"], strict=True))
    assert len(points) == 400
    for at in history.all_days():
        is_missing = ("B:VIMIN", at) in STATES
        wanted = None if is_missing else pytest.approx(history.figures("B:VIMIN", at)["mode"], rel=1e-8)
        assert points[at.isoformat()] == wanted
    bars = plot(one, "B_VIMIN", "data[5]")
    assert bars["x"] == [day(9).isoformat(), LAST.isoformat()]
    assert one.driver.execute_script("return document.querySelectorAll('#panel-B_VIMIN .bars .point').length") == 2
    paths = "return document.querySelectorAll('#panel-B_VIMIN .scatterlayer .trace:nth-child(3) .js-line').length"
    assert one.driver.execute_script(paths) == 2  # the line is broken once, and ends before the owed day


def test_from_its_directory_it_draws_zooms_all_panels_together_and_finds(browser: Browser, history: History) -> None:
    browser.go(f"file://{site_of(history.home)}/index.html")
    drawn(browser)
    of_the_history(browser, history)
    assert len(ranges(browser)) == 1
    browser.wait("[data-range='30']").click()
    drawn(browser)
    assert ranges(browser) == {f"{day(29)} 00:00,{LAST + timedelta(days=1)} 00:00"}
    browser.show("#panel-B_VIMIN")
    drawn(browser, "B_VIMIN")
    place = browser.wait("#panel-B_VIMIN .nsewdrag")
    wide = place.size["width"]
    drag = ActionChains(browser.driver).move_to_element_with_offset(place, -wide // 4, 0).click_and_hold()
    drag.move_by_offset(wide // 4, 0).move_by_offset(wide // 4, 0).release().perform()
    browser.until(lambda: ranges(browser) != {f"{day(29)} 00:00,{LAST + timedelta(days=1)} 00:00"}, "another time")
    drawn(browser)
    (zoomed,) = ranges(browser)
    assert day(29).isoformat() < zoomed[:10] < zoomed.partition(",")[2][:10] < LAST.isoformat()
    browser.wait("body").send_keys("0")
    drawn(browser)
    assert ranges(browser) == {f"{day(399)} 00:00,{LAST + timedelta(days=1)} 00:00"}
    browser.wait("body").send_keys("/", "vim")
    browser.until(lambda: browser.text("#number") == "2 of 4 devices", "two are found")
    assert "find=vim" in browser.driver.current_url
    browser.wait("#find").send_keys(Keys.ESCAPE)
    browser.driver.execute_script("byId('find').value = ''; byId('find').dispatchEvent(new Event('input'))")
    assert browser.complaints() == []


def test_the_calendar_by_keyboard_says_of_each_day_what_is_missing_and_the_panel_shows_the_rule(
    browser: Browser, history: History
) -> None:
    browser.go(f"file://{site_of(history.home)}/index.html")
    drawn(browser)
    names = browser.driver.execute_script("return page.chosen.map((one) => one.name)")
    browser.wait("#days").send_keys(Keys.ARROW_DOWN)
    line = names.index("B:VIMIN")
    for _ in range(abs(line - 1)):
        browser.wait("#days").send_keys(Keys.ARROW_DOWN if line > 1 else Keys.ARROW_UP)
    assert browser.text("#cell") == f"B:VIMIN, {LAST}: owed"
    browser.wait("#days").send_keys(*[Keys.ARROW_LEFT] * 8)
    assert browser.text("#cell") == f"B:VIMIN, {day(8)}: lost: {STATES['B:VIMIN', day(8)][1]}"
    browser.wait("#days").send_keys(Keys.ENTER)
    drawn(browser)
    assert ranges(browser) == {f"{day(23)} 00:00,{day(-8)} 00:00"}
    assert "3 lost" not in browser.text("#sum")
    assert "2 lost" in browser.text("#sum")
    browser.wait("#panel-B_VIMAX summary").click()
    told = browser.text("#panel-B_VIMAX details")
    assert "further from the median of their means than 5 spreads" in told
    assert f"{day(3)} drift: mean 900 A" in told
    browser.driver.execute_script("document.body.dataset.made = '2020-01-01T00:00:00Z'; tellAge()")
    assert "days old" in browser.text("#old")
    browser.driver.execute_script("setTheme('dark')")
    drawn(browser, "B_VIMAX")
    assert plot(browser, "B_VIMAX", "_fullLayout.paper_bgcolor") == "#18212a"
    assert browser.complaints() == []


def test_through_dm_web_it_runs_for_who_is_signed_in_and_for_nobody_else(
    browser: Browser, history: History, serve: Callable[..., Server]
) -> None:
    add_user(history.home, "vera", "viewer")
    url = serve("dm-web", "--port", 0, home=history.home).url
    assert requests.get(f"{url}/datalogger/index.json", allow_redirects=False, timeout=30).status_code == 303
    browser.go(f"{url}/datalogger/")
    browser.sign_in("vera", PASSWORD)
    drawn(browser)
    of_the_history(browser, history)
    assert browser.complaints() == []
    browser.go(url)
    assert browser.wait("#pipeline-datalogger a[href='/datalogger/']").text == "What it shows"
    cookies = {one["name"]: one["value"] for one in browser.driver.get_cookies()}
    answer = requests.get(f"{url}/datalogger/data/B_VIMIN.json", cookies=cookies, timeout=30)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    (site_of(history.home) / "secret.txt").write_text("no")
    (site_of(history.home) / "data/out.json").symlink_to(history.home / "dmtools.toml")
    session = requests.Session()
    for path in (".made.json", "secret.txt", "data/out.json", "data/%2e%2e/index.html", "data/..%2fdmtools.toml", "data"):
        request = requests.Request("GET", f"{url}/datalogger/", cookies=cookies).prepare()
        request.url = f"{url}/datalogger/{path}"
        assert session.send(request, timeout=30).status_code == 404, path


def test_a_phone_shows_one_column_that_scrolls(history: History) -> None:
    with Browser(390, 844, phone=True) as one:
        one.go(f"file://{site_of(history.home)}/index.html")
        drawn(one)
        one.show("#panel-I_IB")
        drawn(one, "I_IB")
        assert plot(one, "I_IB", "_fullLayout.dragmode") is False  # a finger scrolls the page
        for button in one.driver.find_elements("css selector", "#controls button"):
            assert button.rect["height"] >= 36
            assert button.rect["x"] + button.rect["width"] <= 390
        assert one.complaints() == []
