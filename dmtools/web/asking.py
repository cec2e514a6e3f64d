"""Search and trace: the functions of dm-trace, and their answers as pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from dmtools import clock
from dmtools.control import troubles
from dmtools.control.entry import Pipeline, Question, Trace
from dmtools.settings import Settings
from dmtools.web import pages, snapshots, status

MOST = 50  # matches on a page
_WORDS = {"path": status.trace_path, "page": troubles.page, "local": clock.local, "iso": clock.iso}
AT_ONCE = 2  # a part of a name is looked for in every row: the other threads stay free for the status page


class Asking:
    """Answers one question at the tables as they are now."""

    class Busy(Exception):
        """As many searches as may be are under way."""

    def __init__(self, settings: Settings, entries: dict[str, Pipeline]) -> None:
        self._settings, self._entries = settings, list(entries.values())
        self._turn = threading.BoundedSemaphore(AT_ONCE)
        self._kinds = {state: "done" for one in self._entries for state in one.done}
        self._kinds |= {state: "bad" for one in self._entries for state in one.bad}

    def search(self, asked: str) -> tuple[str, str, str]:
        """(title, HTML, the subject whose trace says all and to which to go instead)."""
        if not asked:
            return "Search", self._page(asked, [], []), ""
        with self._question(asked) as question:
            if any(True for _ in self._traces(question)):
                return "", "", asked
            wide = replace(question, limit=MOST + 1)
            matches = [match for entry in self._entries for match in entry.ask("search", wide)]
            near = [] if matches else [match for entry in self._entries for match in entry.ask("near", question)]
        if len(matches) == 1:
            return "", "", str(matches[0].subject)
        return f"Search: {asked}", self._page(asked, matches, near), ""

    def trace(self, asked: str) -> str | None:
        """The page of all that have just this name; /trace/a/b may mean /a/b, or a name without a slash. None: nothing."""
        for name in (f"/{asked}", asked):
            with self._question(name) as question:
                found = list(self._traces(question))
            if found:
                return pages.render("trace", traces=found, kinds=self._kinds, facts=facts, **_WORDS)
        return None

    @contextmanager
    def _question(self, asked: str) -> Iterator[Question]:
        if not self._turn.acquire(timeout=2):
            raise self.Busy
        try:
            with snapshots.opened(self._settings) as ledger, ledger.read() as connection:
                yield Question(asked, self._settings, connection, clock.now(), MOST)
        finally:
            self._turn.release()

    def _traces(self, question: Question) -> Iterator[Trace]:
        for entry in self._entries:
            yield from entry.ask("trace", question)

    def _page(self, asked: str, matches: list[Any], near: list[Any]) -> str:
        shown, more = matches[:MOST], len(matches) > MOST
        return pages.render("search", asked=asked, matches=shown, more=more, near=near, kinds=self._kinds, path=status.trace_path)


def facts(one: Trace) -> Iterator[tuple[str, str]]:
    """(name, value) of what is known of it."""
    for name, value in one.facts.items():
        if value not in (None, "", [], {}):
            parts = [f"{n} {state}" for state, n in value.items()] if isinstance(value, dict) else value
            yield name, ", ".join(map(str, parts)) if isinstance(parts, list) else str(parts)
