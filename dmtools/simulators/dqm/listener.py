"""One websocket of /sync: what it was told, and what it is not told because of a fault."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import suppress

from aiohttp import WSMsgType, web

from dmtools.simulators.dqm import sync
from dmtools.simulators.dqm.store import Document, Store
from dmtools.simulators.faults import Fault, FaultsFile, subjects

LOOK_SECONDS = 0.2  # how soon a socket sees that the faults changed
_OF_THE_SCRIPT = ("busy", "alert", "markup")  # what the page does to itself when it is told to


class FaultsOf:
    """The faults that hit what one request asked for."""

    def __init__(self, faults: FaultsFile, request: web.Request) -> None:
        self._faults = faults
        self._subjects = subjects(request.method, request.path, request.query_string)

    def hit(self, *ops: str) -> Fault | None:
        """The first of these that hits; one use is counted."""
        return self._faults.find(self._subjects, frozenset(ops))

    def thin(self, documents: list[Document]) -> list[Document]:
        """All of them, or with the fault `half` always the same half."""
        if not documents or not self.hit("half"):
            return documents
        return [one for one in documents if zlib.crc32(one["_id"].encode()) % 2]


class Listener:
    """`serve` answers and tells of news until either side closes."""

    def __init__(self, store: Store, socket: web.WebSocketResponse, faults: FaultsOf) -> None:
        self._store, self._socket, self._faults = store, socket, faults
        self._told: int | None = None  # the last revision that it heard of; None: it asked for none yet
        self._broken = False
        self._telling = asyncio.Lock()  # the chunks of one telling come one after the other

    async def serve(self) -> None:
        """Both ways at once."""
        news = asyncio.create_task(self._tell_news())
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._hear(message.data)
        except ConnectionError:
            pass
        finally:
            news.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await news

    async def _hear(self, text: str) -> None:
        try:
            message = sync.parsed(text)
        except ValueError:
            return  # what is no message is let be, as there
        if message.get("event") == "sync_request":
            await self._break_page()
            self._told = sync.first_rev(self._store, message.get("known_rev"))
            await self._tell()
        elif message.get("event") == "request_documents" and not self._faults.hit("deaf"):
            await self._socket.send_json(sync.given(self._store, message.get("ids"), self._faults.thin))

    async def _tell_news(self) -> None:
        while not self._socket.closed:
            await self._store.news(LOOK_SECONDS)
            if self._faults.hit("cut"):
                await self._socket.close(code=1001)
                return
            await self._break_page()
            await self._tell()

    async def _tell(self) -> None:
        async with self._telling:
            if self._told is None or self._store.rev <= self._told or self._faults.hit("deaf"):
                return
            headers, self._told = self._store.headers(self._told), self._store.rev
            for message in sync.told(headers):
                await self._socket.send_json(message)

    async def _break_page(self) -> None:
        if self._broken or not (fault := self._faults.hit(*_OF_THE_SCRIPT)):
            return
        self._broken = True
        await self._socket.send_json({"event": "sim", "op": fault.op, "reason": fault.reason, "seconds": fault.seconds})
