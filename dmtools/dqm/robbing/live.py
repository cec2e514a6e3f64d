"""The live page of a site: left open, grabbed when it has news."""

from __future__ import annotations

import time
from pathlib import Path

from msgspec.structs import replace

from dmtools.dqm import places
from dmtools.dqm.robbing import storing
from dmtools.dqm.robbing.endpoint import Endpoint
from dmtools.dqm.robbing.grabbing import Source
from dmtools.dqm.robbing.page import Content
from dmtools.dqm.robbing.told import Told

_PATIENCE = 2  # times sleep_seconds: so long the page may mend a cut link by itself before it is opened anew
_AT_WORK = ("live", "open", "sync")  # the page's words for a link that has data, or gets them


class Live:
    """Rounds of the live page. `once`: no round but the first, so nothing is waited for but what is to be seen."""

    def __init__(self, source: Source, home: Path, *, once: bool) -> None:
        self._source, self._once = source, once
        self._place = places.live(places.raw(home) / source.site.name)
        self._open = False
        self._cut: float | None = None  # since when the page's link is cut
        self._waits = self._patience
        self._notes: list[str] = []

    def round(self, skip: tuple[int, ...] = ()) -> Told:
        """Waits for news, takes the page, stores it when it is another one than before. Raises what `judged` knows."""
        self._notes = []
        try:
            if self._source.find():
                self._open = False
            return self._stored(self._by_browser() if self._source.by_browser else self._by_endpoint())
        except BaseException:
            self._open = False  # a page that is opened anew gives its content anew
            raise

    def _stored(self, content: Content) -> Told:
        told = Told(run=content.run, lacking=content.lacking, notes=tuple(self._notes))
        if content.same:
            return told
        generation, new = storing.store(self._place, content, backend=self._source.name)
        return replace(told, generation=generation.path.name, new=new)

    def _by_endpoint(self) -> Content:
        self._source.begin("asking the endpoint")
        return self._source.endpoint().content()

    def _by_browser(self) -> Content:
        if self._is_cut_for_long():
            self._open = False
        page, limits = self._source.page(), self._source.settings.dqm
        news = 0.0 if self._once else limits.sleep_seconds
        if not self._open:
            news = 0.0
            self._source.begin("opening the page")
            page.open(self._source.address.page)
            self._open = True
        self._source.begin("grabbing the page", news + limits.sleep_seconds)
        content = page.grab(limits.sleep_seconds, news=news, jobs=self._jobs())
        self._mind(content.link)
        self._notes += [f"a box was sent away: {text!r}" for text in page.alerts]
        page.alerts.clear()
        if not content.same and content.run and (endpoint := self._oracle()):
            content.files |= endpoint.content(content.run).files
        return content

    @property
    def _patience(self) -> float:
        return _PATIENCE * self._source.settings.dqm.sleep_seconds

    def _mind(self, link: str) -> None:
        """Keeps since when the link is cut: a page whose source was started anew may never find it again by itself."""
        if all(word.startswith(_AT_WORK) for word in link.split(", ")):
            self._cut, self._waits = None, self._patience
        elif self._cut is None:
            self._cut = time.monotonic()

    def _is_cut_for_long(self) -> bool:
        if self._cut is None or time.monotonic() - self._cut < self._waits:
            return False
        most = max(self._patience, self._source.settings.dqm.back_off_seconds)
        self._cut, self._waits = None, min(2 * self._waits, most)
        self._notes.append("the page's link to its data is cut: it is opened anew")
        return True

    def _jobs(self) -> int | None:
        """How many jobs the newest run has, by the endpoint; None: it isn't known."""
        endpoint = self._oracle()
        runs = endpoint.runs() if endpoint else ()
        return endpoint.jobs(runs[0]) if endpoint and runs else None

    def _oracle(self) -> Endpoint | None:
        """The endpoint, with which the page is compared."""
        return self._source.oracle(self._notes) if self._source.settings.dqm.cross_check else None
