"""The web side: the page, /sync, /sync_proxy, /_upload/, /info; who may, and the faults that hit requests and pages."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from dmtools.clock import now
from dmtools.simulators.dqm import sync
from dmtools.simulators.dqm.clockwork import Clockwork
from dmtools.simulators.dqm.listener import FaultsOf, Listener
from dmtools.simulators.faults import FaultsFile, server_error

COOKIE = "dm-sim"
UPLOAD_BYTES = 64 << 20
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

    def _faults_of(self, request: web.Request) -> FaultsOf:
        return FaultsOf(self._faults, request)

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
            documents = (await _json(request))["docs"]
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
            messages = (await _json(request))["messages"]
            return web.json_response({"messages": sync.by_proxy(store, messages, self._faults_of(request).thin)})
        except (KeyError, TypeError, ValueError) as problem:
            return web.Response(status=400, text=f'400: write {{"messages": ["<json>", ...]}}: {problem}\n')

    async def _show_log(self, request: web.Request) -> web.StreamResponse:
        wanted = request.match_info["id"]
        found = [one for clockwork in self._clockworks.values() for one in clockwork.store.documents([wanted])]
        try:
            return web.Response(text=zlib.decompress(base64.b64decode(found[0]["stdlog_gzip"])).decode("utf-8", "replace"))
        except (LookupError, TypeError, ValueError, zlib.error):
            raise web.HTTPNotFound(text="404: no document of this id has a log\n") from None

    async def _next_run(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"run": self._clockwork(request).next_run(now().timestamp())})

    # ---- the websocket ---------------------------------------------------------------------------------------------

    async def _sync(self, request: web.Request) -> web.StreamResponse:
        store = self._clockwork(request).store
        socket = web.WebSocketResponse(max_msg_size=UPLOAD_BYTES)
        faults = self._faults_of(request)
        if faults.hit("cut"):
            return web.Response(status=503, text="503: cut by a fault\n")
        await socket.prepare(request)
        await Listener(store, socket, faults).serve()
        return socket


async def _json(request: web.Request) -> Any:
    """The body; NaN and the like, which a browser can't read, are no JSON. Raises ValueError."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    try:
        return json.loads(await request.text(), parse_constant=refuse)
    except RecursionError:
        raise ValueError("too deep") from None
