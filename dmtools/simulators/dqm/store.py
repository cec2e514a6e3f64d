"""The documents of one cluster, each with a revision; whoever waits is told of news. One thread: the event loop's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from dmtools.clock import now

Document = dict[str, Any]
_HEADER = ("_id", "_rev", "timestamp", "type", "hostname", "tag", "run")


class Store:
    """`upload` gives each document the next revision; the newest revision of each id is kept."""

    def __init__(self) -> None:
        self.rev = 0
        self._documents: dict[str, Document] = {}  # in the order of their revisions
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._documents)

    def upload(self, documents: Iterable[Any]) -> int:
        """Takes the documents in; gives the last revision. Raises ValueError and takes none when one is no document."""
        given = [document if isinstance(document, dict) else {} for document in documents]
        for number, document in enumerate(given, 1):
            if not isinstance(document.get("_id"), str):
                raise ValueError(f"document {number} of {len(given)} has no _id; none was taken in")
        for document in given:
            self.rev += 1
            stored = {"timestamp": now().timestamp(), "hostname": None, "type": None, "tag": None, "run": None} | document
            stored["_rev"] = self.rev
            self._documents.pop(document["_id"], None)
            self._documents[document["_id"]] = stored
        self._news.set()
        self._news = asyncio.Event()
        return self.rev

    def headers(self, after: int) -> list[Document]:
        """The headers of what came after this revision, oldest first."""
        found = []
        for document in reversed(self._documents.values()):
            if document["_rev"] <= after:
                break
            found.append({key: document[key] for key in _HEADER})
        return found[::-1]

    def documents(self, ids: Iterable[str]) -> list[Document]:
        """Those of these that there are."""
        return [self._documents[one] for one in dict.fromkeys(ids) if one in self._documents]

    def runs(self) -> list[int]:
        """The runs that there are documents of, newest first."""
        return sorted({one["run"] for one in self._documents.values() if isinstance(one["run"], int)}, reverse=True)

    def forget(self, run: int) -> None:
        """Takes the documents of a run away; pages that have them keep them."""
        self._documents = {key: one for key, one in self._documents.items() if one["run"] != run}

    async def news(self, seconds: float) -> None:
        """Waits until something comes, so long at most."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            pass
