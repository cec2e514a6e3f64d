"""The web side: the page, /sync, /sync_proxy, /_upload/, /info; who may, and the faults that hit requests and pages."""

from __future__ import annotations

import asyncio
import base64
import hmac
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from dmtools.clock import now
from dmtools.simulators.dqm import sync
from dmtools.simulators.dqm.clockwork import Clockwork
from dmtools.simulators.dqm.store import Document, Store
from dmtools.simulators.faults import FaultsFile, server_error, subjects

COOKIE = "dm-sim"
LOOK_SECONDS = 0.2  # how soon a socket sees that the faults changed
UPLOAD_BYTES = 64 << 20
_PAGE_OPS = frozenset({"busy", "alert", "markup"})
_PAGE = Path(__file__).with_name("page")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers for the clusters; the first is meant where a request names none."""

    def __init__(self, clockworks: list[Clockwork], token: str, faults: FaultsFile) -> None:
        self._clockworks = {one.cluster.hosts: one for one in clockworks}
        self._first = clockworks[0].cluster.hosts
        self._token, self._faults = token.encode(), faults

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._with_faults, self._guarded], client_max_size=UPLOAD_BYTES)
        app.add_routes(
            [
                web.get("/", self._to_page),
                web.get("/sync", self._sync),
                web.post("/sync_proxy", self._proxy),
                web.post("/_upload/", self._upload),
                web.get("/info", self._info),
                web.get("/utils/show_log/{id}", self._show_log),
                web.post("/sim/next-run", self._next_run),
                web.static("/static", _PAGE),
            ]
        )
        return app

    # ---- who may, and faults ---------------------------------------------------------------------------------------

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        asked = request.query.get("token")
        given = asked or request.headers.get("X-Dm-Token") or request.cookies.get(COOKIE) or ""
        if not hmac.compare_digest(given.encode(), self._token):
            text = "401: this page wants the token of run/sim/dqm.json: cookie dm-sim, header X-Dm-Token or ?token=\n"
            return web.Response(status=401, text=text)
        answer = await handler(request)
        if asked and not answer.prepared:
            answer.set_cookie(COOKIE, asked, httponly=True, samesite="Strict", path="/")
        return answer

    @web.middleware
    async def _with_faults(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = self._faults.of_request(request.method, request.path, request.query_string)
        if fault is None:
            return await handler(request)
        if fault.op == "http500":
            await request.read()
            return web.Response(status=500, body=server_error(fault), content_type="application/json")
        if fault.op == "silent":
            await asyncio.sleep(fault.seconds if fault.seconds is not None else 1e9)
        elif fault.op == "slow":
            await asyncio.sleep(fault.seconds if fault.seconds is not None else 1.0)
            return await handler(request)
        else:
            await handler(request)
        if request.transport:
            request.transport.abort()
        return web.Response()

    def _hit(self, request: web.Request, *ops: str) -> Any:
        return self._faults.find(subjects(request.method, request.path, request.query_string), frozenset(ops))

    def _thin(self, request: web.Request) -> sync.Thin:
        def thin(documents: list[Document]) -> list[Document]:
            if not documents or not self._hit(request, "half"):
                return documents
            return [one for one in documents if zlib.crc32(one["_id"].encode()) % 2]

        return thin

    # ---- answers ---------------------------------------------------------------------------------------------------

    def _clockwork(self, request: web.Request) -> Clockwork:
        hosts = request.query.get("hosts", self._first)
        if hosts not in self._clockworks:
            raise web.HTTPNotFound(text=f"404: no cluster is called {hosts}; there are: {', '.join(self._clockworks)}\n")
        return self._clockworks[hosts]

    async def _to_page(self, _request: web.Request) -> web.StreamResponse:
        return web.HTTPFound("/static/index.html")

    async def _info(self, request: web.Request) -> web.StreamResponse:
        one = self._clockwork(request)
        told = {"host": one.cluster.builder, "cluster": one.cluster.name, "timestamp": now().timestamp()}
        return web.json_response(told | {"db_size": len(one.store), "rev": one.store.rev})

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        store = self._clockwork(request).store
        try:
            documents = (await request.json())["docs"]
            if not isinstance(documents, list):
                raise TypeError
            return web.json_response({"count": len(documents), "rev": store.upload(documents)})
        except (KeyError, TypeError):
            return web.Response(status=400, text='400: write {"docs": [...]}; none was taken in\n')
        except ValueError as problem:
            return web.Response(status=400, text=f"400: {problem}\n")

    async def _proxy(self, request: web.Request) -> web.StreamResponse:
        store = self._clockwork(request).store
        try:
            messages = (await request.json())["messages"]
            return web.json_response({"messages": sync.by_proxy(store, messages, self._thin(request))})
        except (KeyError, TypeError, ValueError) as problem:
            return web.Response(status=400, text=f'400: write {{"messages": ["<json>", ...]}}: {problem}\n')

    async def _show_log(self, request: web.Request) -> web.StreamResponse:
        for one in self._clockworks.values():
            for document in one.store.documents([request.match_info["id"]]):
                packed = base64.b64decode(document.get("stdlog_gzip") or "")
                return web.Response(text=zlib.decompress(packed).decode("utf-8", "replace") if packed else "")
        raise web.HTTPNotFound(text="404: no such document\n")

    async def _next_run(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"run": self._clockwork(request).next_run(now().timestamp())})

    # ---- the websocket ---------------------------------------------------------------------------------------------

    async def _sync(self, request: web.Request) -> web.StreamResponse:
        store = self._clockwork(request).store
        socket = web.WebSocketResponse(max_msg_size=UPLOAD_BYTES)
        await socket.prepare(request)
        if self._hit(request, "cut"):
            await socket.close(code=1001)
            return socket
        listener = _Listener(self, request, socket, store)
        pump = asyncio.create_task(listener.pump())
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await listener.heard(message.data)
        except ConnectionError:
            pass
        finally:
            pump.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await pump
        return socket


class _Listener:
    """One websocket: what it was told, and what it is not told because of a fault."""

    def __init__(self, server: Server, request: web.Request, socket: web.WebSocketResponse, store: Store) -> None:
        self._server, self._request, self._socket, self._store = server, request, socket, store
        self._told: int | None = None  # the last revision that it heard of; None: it asked for none yet
        self._broken = False

    async def heard(self, text: str) -> None:
        """One message of the page; what is no message is let be, as there."""
        try:
            message = sync.parsed(text)
        except ValueError:
            return
        if message.get("event") == "sync_request":
            await self._break_page()
            self._told = sync.first_rev(self._store, message.get("known_rev"))
            await self._tell()
        elif message.get("event") == "request_documents" and not self._deaf():
            await self._socket.send_json(sync.given(self._store, message.get("ids"), self._server._thin(self._request)))

    async def pump(self) -> None:
        """Tells of news, and looks at the faults."""
        while not self._socket.closed:
            await self._store.news(LOOK_SECONDS)
            if self._server._hit(self._request, "cut"):
                await self._socket.close(code=1001)
                return
            await self._break_page()
            await self._tell()

    async def _tell(self) -> None:
        if self._told is None or self._store.rev <= self._told or self._deaf():
            return
        headers = self._store.headers(self._told)
        self._told = self._store.rev
        for message in sync.told(headers):
            await self._socket.send_json(message)

    async def _break_page(self) -> None:
        if self._broken or not (fault := self._server._hit(self._request, *_PAGE_OPS)):
            return
        self._broken = True
        await self._socket.send_json({"event": "sim", "op": fault.op, "reason": fault.reason, "seconds": fault.seconds})

    def _deaf(self) -> bool:
        return bool(self._server._hit(self._request, "deaf"))
