"""The finished pages: made once a snapshot and a role, kept as bytes, so that a thousand readers cost as much as one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from dmtools import clock
from dmtools.control.entry import Pipeline
from dmtools.control.train_ok import Outcome
from dmtools.settings import Settings
from dmtools.web import accounts, pages, status
from dmtools.web.news import News, moment


class Finished:
    """`page` whole, `fragment` its figures alone, `json` the same for programs."""

    def __init__(self, news: News, settings: Settings, entries: dict[str, Pipeline]) -> None:
        self._news, self._settings, self._entries = news, settings, entries
        self._scopes = list(_scopes(entries))
        self._kept: dict[tuple[str, str], tuple[object, bytes]] = {}
        self._making = threading.Lock()

    def page(self, role: str) -> bytes:
        """The status page; its slots are still empty."""
        return self._once("page", role, lambda: self._page(role))

    def fragment(self, role: str) -> bytes:
        """What changes of it."""
        return self._once("fragment", role, lambda: pages.encoded(self._live(role)))

    def json(self) -> bytes:
        """What dm-monitoring and dm-train-ok tell, as one object."""
        return self._once("json", "", self._json)

    def _once(self, what: str, role: str, make: Callable[[], bytes]) -> bytes:
        figures, verdicts = self._news.figures(), self._news.verdicts()
        old = self._news.old(figures)
        key = (figures.number, verdicts.number, old)
        kept = self._kept.get((what, role))
        if kept and kept[0] == key:
            return kept[1]
        with self._making:
            kept = self._kept.get((what, role))
            if kept and kept[0] == key:
                return kept[1]
            body = make()
            self._kept[what, role] = (key, body)
            return body

    def _outcome(self) -> Outcome | None:
        """The newest verdicts; when the tables can't be read nothing is known, whatever was well before."""
        reading = self._news.figures()
        if old := self._news.old(reading):
            return Outcome(str(self._settings.home), clock.now(), failure=old)
        return self._news.verdicts().value

    def _live(self, role: str) -> str:
        reading, outcome = self._news.figures(), self._outcome()
        snapshot = reading.value
        values: dict[str, Any] = status.view(snapshot, self._entries) if snapshot else {"at": None}
        return pages.render(
            "live",
            **values,
            iso=clock.iso(snapshot.at) if snapshot else "",
            local=moment(snapshot.at) if snapshot else "",
            age=f"{self._news.age(reading):.1f}",
            old=self._news.old(reading),
            verdict=status.verdict(outcome) if outcome else None,
            judged=moment(outcome.at) if outcome else "",
            may_release=accounts.may(role, accounts.OPERATOR),
            slots=pages.SLOTS,
        )

    def _page(self, role: str) -> bytes:
        body = pages.render(
            "status",
            live=self._live(role),
            refresh=self._settings.web.refresh_seconds,
            may_order=accounts.may(role, accounts.SHIFTER),
            scopes=self._scopes,
            slots=pages.SLOTS,
        )
        return pages.page(f"dmtools at {self._settings.home}", body, signed_in=True, scripts=True)

    def _json(self) -> bytes:
        reading, outcome = self._news.figures(), self._outcome()
        told = (
            reading.value.told if reading.value else {"schema": 1, "at": None, "home": str(self._settings.home), "pipelines": {}}
        )
        found = {
            **told,
            "age_seconds": round(self._news.age(reading), 1),
            "problem": self._news.old(reading) or None,
            "train_ok": outcome.record() if outcome else None,
        }
        return pages.encoded(json.dumps(found, ensure_ascii=False, default=str) + "\n")


def _scopes(entries: dict[str, Pipeline]) -> Any:
    yield "all", "everything"
    for name, entry in entries.items():
        yield name, name
        yield from (
            (f"{name}/{component.name}", f"{name}/{component.name}: {component.meaning}") for component in entry.components
        )
