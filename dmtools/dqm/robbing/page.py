"""The page in its browser: opened, waited for, taken whole by one script in it."""

from __future__ import annotations

import base64
import functools
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from dmtools.dqm.robbing.addresses import Address

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

_PNG = "data:image/png;base64,"
_ICON = "/favicon.ico"  # any answer of the page's host
_OLD = "window.dmOld === true"  # a page that is being left
_MARK = "window.dmOld = true"
_WHERE = f"""
const one = performance.getEntriesByType("navigation")[0];
return [one ? one.responseStatus || 0 : 0, location.origin, {_OLD}, location.pathname === "{_ICON}"];
"""
_ASK_AGAIN = 2.0  # seconds after which a page that has not come is asked for once more, and then twice as long each time
_ALERTS = 3  # in a row; a page that has more of them is no page


class Refused(Exception):
    """The page wants other cookies: 401 or 403, or it sent us to another host."""


class Failed(Exception):
    """The page can't be had; the text says why."""


class Late(Exception):
    """The page did not come in time."""


@dataclass
class Content:
    """What one grab gave. `same`: nothing that the grab before did not have; then there is no content."""

    run: int | None
    runs: tuple[int, ...] = ()
    running: int = 0
    link: str = ""
    lacking: tuple[str, ...] = ()  # what was not seen in time
    same: bool = False
    print: str = ""  # a sum over what people see; times that go on by themselves are not in it
    files: dict[str, bytes] = field(default_factory=dict)


class BrowserPage:
    """One tab with one page. All methods raise selenium's WebDriverException when the browser or the page is gone."""

    def __init__(self, driver: WebDriver, address: Address, seconds: float) -> None:
        self._driver, self._address = driver, address
        self._seconds = seconds
        self._given = False  # the cookies
        self.alerts: list[str] = []  # boxes that were sent away, since somebody looked
        driver.set_page_load_timeout(seconds)
        driver.set_script_timeout(seconds)

    def stand_at(self, address: Address) -> None:
        """The page is elsewhere now, or wants other cookies: it has to be opened again."""
        self._address, self._given = address, False

    def open(self, url: str) -> None:
        """Loads the page anew, also when only what stands behind its # is another. Raises Refused, Failed, Late."""
        self._give_cookies()
        status, origin = self._go(url)
        if status in (401, 403):
            raise Refused(f"the page refuses us with HTTP {status}")
        if status >= 400:
            raise Failed(f"the page's server answers with HTTP {status}")
        if origin != self._address.origin:
            raise Refused(f"the page sent us to {origin}")

    def _go(self, url: str) -> tuple[int, str]:
        """Loads that anew; gives HTTP's status (0: not told) and whose page it is. Raises Failed, Late."""
        self._run(_MARK)
        wait, ask = _ASK_AGAIN, 0.0
        for passed in self._tries("the page does not open"):
            if passed >= ask:
                self._ask(url)
                wait, ask = 2 * wait, passed + wait
            # The driver may come back while the tab still has the page before, or, in Firefox, nothing that could answer.
            here = self._run(_WHERE)
            if here and here[1] != "null" and not here[2] and here[3] == url.endswith(_ICON):
                return int(here[0]), str(here[1])
        raise AssertionError

    def _ask(self, url: str) -> None:
        """Another address; where only what stands behind the # is another, the page stays, and has to be loaded again."""
        self._driver.get(url)
        if self._run(f"return {_OLD}"):
            self._driver.refresh()

    def _run(self, text: str) -> Any:
        """What the script gives; None while one page goes and the other has not come."""
        from selenium.common.exceptions import NoSuchWindowException

        try:
            return self._calmly(lambda: self._driver.execute_script(text))
        except NoSuchWindowException:
            return None

    def _tries(self, why: str) -> Iterator[float]:
        """Some, within the time of a grab: the seconds that have passed. Raises Late after them."""
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < self._seconds:
            yield passed
            time.sleep(0.02)
        raise Late(why)

    def grab(
        self, show: float, *, news: float = 0, run: int | None = None, jobs: int | None = None, fresh: bool = False
    ) -> Content:
        """Waits for news, `news` seconds at most, then for what is to be seen, `show` seconds at most, and takes it.

        `run`, `jobs`: which run it is to show, with how many jobs; `fresh`: also what was there before. Raises Failed.
        """
        wish = {"run": run, "jobs": jobs, "news": 1000 * news, "show": 1000 * show, "fresh": fresh}
        for _ in self._tries("the page gives nothing"):
            if answer := self._calmly(lambda: self._driver.execute_script(script(), wish)):
                return content(answer)
        raise AssertionError

    def _give_cookies(self) -> None:
        """A cookie is taken for the host of the page that is open: any answer of it will do, a refusal too."""
        from selenium.common.exceptions import InvalidCookieDomainException

        if self._given or not self._address.cookies:
            return
        self._go(self._address.origin + _ICON)
        for name, value in self._address.cookies.items():
            for _ in self._tries("the browser takes no cookies for the page's host"):
                try:
                    self._driver.add_cookie({"name": name, "value": value, "path": "/"})
                    break
                except InvalidCookieDomainException:  # Firefox, while the tab is still becoming another one
                    continue
        self._given = True

    def _calmly(self, act: Any) -> Any:
        """Does it again when a box stood before the page: the driver has sent it away, and here it is kept to be told."""
        from selenium.common.exceptions import UnexpectedAlertPresentException

        for _ in range(_ALERTS):
            try:
                return act()
            except UnexpectedAlertPresentException as box:
                self.alerts.append(str(box.alert_text or ""))
        raise Failed(f"the page shows boxes again and again: {self.alerts[-1]!r}")


@functools.cache
def script() -> str:
    """grab.js."""
    return resources.files("dmtools.dqm.robbing").joinpath("grab.js").read_text()


def content(answer: dict[str, Any]) -> Content:
    """What grab.js gave, as files. Raises Failed when it is something else."""
    try:
        found = Content(
            answer["run"],
            tuple(int(one) for one in answer["runs"]),
            int(answer["running"]),
            str(answer["link"]),
            tuple(answer["lacking"]),
            bool(answer.get("same")),
        )
        if not found.same:
            found.files = {"page.html": answer["html"].encode("utf-8", "replace"), **pictures(answer["graphs"])}
            found.print = hashlib.sha256(answer["print"].encode("utf-8", "replace")).hexdigest()
    except (KeyError, TypeError, ValueError) as problem:
        raise Failed(f"the page's script gave something else than a page: {type(problem).__name__}") from None
    return found


def pictures(urls: list[str]) -> dict[str, bytes]:
    """Data URLs -> graph-N.png. Raises ValueError."""
    if wrong := [url for url in urls if not url.startswith(_PNG)]:
        raise ValueError(f"no PNG: {wrong[0][:40]}")
    return {f"graph-{number}.png": base64.b64decode(url[len(_PNG) :], validate=True) for number, url in enumerate(urls, 1)}
