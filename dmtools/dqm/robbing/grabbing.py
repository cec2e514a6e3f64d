"""The grabber: a process that its keeper may kill at any time. A line comes in, a page is got, a line goes out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dmtools.control.simulated import NotRunning
from dmtools.dqm import record
from dmtools.dqm.robbing import addresses, browsers, told
from dmtools.dqm.robbing.addresses import NOWHERE, Address
from dmtools.dqm.robbing.browsers import NoBrowser
from dmtools.dqm.robbing.endpoint import Endpoint, NoEndpoint
from dmtools.dqm.robbing.page import BrowserPage, Failed, Late, Refused
from dmtools.dqm.robbing.told import Stage, Told
from dmtools.settings import Settings, SettingsError
from dmtools.settings.dqm import Site

_CONNECTION = ("ERR_", "about:neterror", "dnsNotFound", "connectionFailure", "netTimeout", "NS_ERROR")
_START_SECONDS = 60.0  # a browser starts in a second or two, and much slower on a busy machine
_WAIT_SECONDS = 0.5  # what a wait may take longer than it was told to


@dataclass
class Source:
    """Where the pages of a site come from: its browser (None: backend http) and its endpoint, both started when needed."""

    site: Site
    settings: Settings
    room: Path
    log: int  # what the driver says goes there
    stage: Callable[[Stage], None]
    run: int | None = None  # the old run that is at hand
    more: bool = False  # others wait
    address: Address = NOWHERE
    _page: BrowserPage | None = None
    _endpoint: Endpoint | None = None
    _none: bool = False  # the site has no endpoint

    @property
    def by_browser(self) -> bool:
        """Or by the endpoint alone?"""
        return self.settings.dqm.backend == "browser"

    @property
    def name(self) -> str:
        """chromium, firefox or http."""
        return self.settings.dqm.browser if self.by_browser else "http"

    def begin(self, what: str, waits: float = 0, least: float = 0) -> None:
        """The next step may take [dqm] grab_seconds (`least`: or longer), and as long as it waits on purpose."""
        seconds = max(self.settings.dqm.grab_seconds, least) + waits + (_WAIT_SECONDS if waits else 0)
        self.stage(Stage(what, seconds, self.run, self.more))

    def find(self) -> bool:
        """Looks where the site is now, with which cookies, as each round begins; gives whether that is another place than before.

        Raises NotRunning, SettingsError.
        """
        before, self.address = self.address, addresses.find(self.site, self.settings)
        if self.address == before:
            return False
        self._endpoint = None
        if self._page is not None:
            self._page.stand_at(self.address)
        return True

    def page(self) -> BrowserPage:
        """The page in its browser, which is started if there is none. Raises NoBrowser, selenium's errors."""
        if self._page is None:
            self.begin("starting the browser", least=_START_SECONDS)
            driver = browsers.start(browsers.Tools(self.settings.dqm), self.room, self.log)
            self._page = BrowserPage(driver, self.address, self.settings.dqm.grab_seconds)
        return self._page

    def endpoint(self) -> Endpoint:
        """It, with the newest headers. Raises NoEndpoint and what `Endpoint.update` raises."""
        if self._none:
            raise NoEndpoint("there is none")
        if self._endpoint is None:
            self._endpoint = Endpoint(self.address, self.settings.dqm.grab_seconds)
        try:
            self._endpoint.update()
        except NoEndpoint:
            self._none = self.by_browser
            raise
        return self._endpoint

    def oracle(self, notes: list[str]) -> Endpoint | None:
        """The endpoint beside the browser, None when there is none; a trouble of it is none of the page: it goes to the notes.

        With the backend http there is nothing else, so its troubles are raised.
        """
        import requests

        try:
            return self.endpoint()
        except NoEndpoint:
            if not self.by_browser:
                raise
        except (Refused, Failed, requests.RequestException) as problem:
            if not self.by_browser:
                raise
            notes.append(f"the page's endpoint can't be asked: {problem}")
        return None


class Work(Protocol):
    """What a grabber does at each line: `live.Live` or `oldruns.OldRuns`."""

    def round(self, skip: tuple[int, ...]) -> Told:
        """One page, or none; not of these old runs."""


def serve(work: Work, ears: told.Ear, mouth: int) -> None:
    """A round for each wish that comes, until the end."""
    while (messages := ears.hear()) is not None:
        for wish in messages:
            if isinstance(wish, told.Wish):
                told.write(mouth, judged(functools.partial(work.round, wish.skip)))


def judged(act: Callable[[], Told]) -> Told:
    """What a round gave; a trouble as one of the words of `record`, with the reason for the log."""
    try:
        return act()
    except NotRunning as problem:
        return Told(trouble=record.AWAY, why=str(problem))
    except NoEndpoint as problem:
        return Told(trouble=record.WRONG, why=f'{problem}: the site has no JSON endpoint, so take [dqm] backend = "browser"')
    except Refused as problem:
        return Told(trouble=record.REFUSED, why=str(problem))
    except SettingsError as problem:
        return Told(trouble=record.REFUSED, why="; ".join(problem.problems))
    except NoBrowser as problem:
        return Told(trouble=record.NO_BROWSER, why=str(problem))
    except (Failed, Late) as problem:
        return Told(trouble=record.SLOW if isinstance(problem, Late) else record.WRONG, why=str(problem))
    except Exception as problem:  # noqa: BLE001 - of libraries, or not foreseen; the next round has another grabber
        return _of_libraries(problem)


def _of_libraries(problem: Exception) -> Told:
    import requests
    import urllib3
    from selenium.common.exceptions import TimeoutException, WebDriverException

    if isinstance(problem, (requests.Timeout, TimeoutException)):
        return Told(trouble=record.SLOW, why=_text(problem))
    if isinstance(problem, requests.RequestException):
        return Told(trouble=record.AWAY, why=_text(problem))
    if isinstance(problem, WebDriverException):
        away = any(word in str(problem.msg) for word in _CONNECTION)
        return Told(trouble=record.AWAY if away else record.WRONG, why=_text(problem))
    if isinstance(problem, (urllib3.exceptions.HTTPError, ConnectionError)):
        return Told(trouble=record.WRONG, why=f"the browser's driver does not answer: {_text(problem)}")
    if isinstance(problem, OSError):
        return Told(trouble=record.WRONG, why=f"{problem.filename or 'a file'}: {problem.strerror or problem}")
    import traceback

    place = traceback.extract_tb(problem.__traceback__)[-1]
    return Told(trouble=record.WRONG, why=f"internal error: {_text(problem)}, in {place.name}, line {place.lineno}")


def _text(problem: BaseException) -> str:
    """Its first line."""
    return f"{type(problem).__name__}: {str(problem).strip().partition(chr(10))[0]}"
