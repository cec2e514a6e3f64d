"""The WSGI application: a list of the addresses that there are, and nothing else; whatever goes wrong is a sentence."""

from __future__ import annotations

import gzip
import re
import traceback
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

import bottle

from dmtools import clock
from dmtools.dqm import places
from dmtools.dqm.generations import Torn
from dmtools.dqm.serving import api, logs, runs
from dmtools.dqm.serving.answers import CSV, HTML, JSON, KEEP, TEXT, Answer, NotHere, Wrong, called, encoded
from dmtools.dqm.serving.events import Events
from dmtools.dqm.serving.exhibits import LOG, Exhibit
from dmtools.dqm.serving.faces import COLUMNS, Faces, Finished
from dmtools.dqm.serving.watching import Site, Watcher
from dmtools.settings import Dqm
from dmtools.settings.dqm import NAME
from dmtools.web.serving import TAKE

_SITE, _RUN = f"<name:re:{NAME}>", f"<run:re:{places.RUN}>"
_FILE = "<sum16:re:[0-9a-f]{16}>/<file:re:[A-Za-z0-9][A-Za-z0-9._-]{0,127}>"
_GONE = "the page that this belonged to was cleaned away; there are newer ones"
_SLOW = (b"/files/", b"/log/", b"/runs", b"/compare", b"/static/", b".csv")
_BIG = 2000  # bytes; smaller answers are not worth packing
_QUERY_BYTES = 2000


class Application:
    """Answers by `wsgi`, on any number of threads. `prefix` of the settings may stand before each address, or not."""

    def __init__(self, limits: Dqm, watcher: Watcher, log: Callable[[str], None]) -> None:
        self._watcher, self._log = watcher, log
        self._faces, self._finished = Faces(limits, lambda: watcher.sites), Finished()
        self.events = Events(self._news)
        self._routes = bottle.Bottle()
        for path, handler in self._paths():
            self._routes.route(path, "GET", handler)

    def _paths(self) -> Iterable[tuple[str, Callable[..., Answer]]]:
        site, call = f"/sites/{_SITE}", f"/api/v1/sites/{_SITE}"
        return (
            ("/", self._first),
            (site, self._live),
            (f"{site}/fragment", self._fragment),
            (f"{site}/runs", self._runs),
            (f"{site}/runs/{_RUN}", self._old_run),
            (f"{site}/compare", self._compare),
            (f"{site}/files/{_FILE}", self._file),
            (f"{site}/log/{_FILE}", self._read_log),
            ("/help", self._help),
            ("/healthz", self._healthz),
            ("/static/<name:re:[a-z]+[.][a-z]+>", self._static),
            ("/api/v1/health", self._api_health),
            ("/api/v1/sites", self._api_health),
            (call, self._api_live),
            (f"{call}/jobs.csv", self._api_csv),
            (f"{call}/runs", self._api_runs),
            (f"{call}/runs/{_RUN}", self._api_run),
            (f"{call}/runs/{_RUN}/jobs.csv", self._api_run_csv),
        )

    def wsgi(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answers a request."""
        path = self._path(environ)
        if path in ("/events", "/api/v1/events") and environ["REQUEST_METHOD"] == "GET" and TAKE in environ:
            if not self.events.is_full:
                self.events.join(environ[TAKE]())
                return []
            answer = Answer(b"others listen already\n", TEXT, 503, headers=(("Retry-After", "30"),))
        else:
            answer = self._packed(self._answer(environ, path), environ)
        start_response(answer.line, answer.all_headers())
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else answer.body]

    def at_once(self, head: bytes) -> int:
        """How many bytes the answer may have, for what is finished, or soon; 0: it may come from a disk, or be long."""
        line = head.partition(b" HTTP/")[0]
        if not line or any(word in line for word in _SLOW):
            return 0
        return (self._finished.largest or 1 << 30) // (3 if b"gzip" in head else 1)

    def _path(self, environ: dict[str, Any]) -> str:
        path, prefix = str(environ["PATH_INFO"]), self._faces.prefix
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            path = path[len(prefix) :]
        found = path if path in ("", "/") else path.removesuffix("/")
        environ["PATH_INFO"] = found or "/"
        return found or "/"

    def _answer(self, environ: dict[str, Any], path: str) -> Answer:
        try:
            query = _query(environ)
            found, fields = self._routes.match(environ)
            answer: Answer = found.callback(query, **fields)
            return answer
        except NotHere as problem:
            return self._told(path, 404, "There is no such thing", str(problem))
        except Wrong as problem:
            return self._told(path, 400, "Not so", str(problem))
        except Torn:
            return self._told(path, 404, "It is gone", _GONE)
        except bottle.HTTPError as problem:
            if problem.status_code == 405:
                return self._told(path, 405, "Not so", "Nothing can be changed here: all addresses take GET.")
            return self._told(path, 404, "There is no such page", "No page has this address.")
        except Exception as problem:  # noqa: BLE001 - the last line of defence: a sentence, never a traceback
            self._log("internal error: " + " / ".join("".join(traceback.format_exception(problem)).splitlines()))
            return self._told(path, 500, "Internal error", "The program did something wrong; its log has the details.")

    def _told(self, path: str, status: int, title: str, text: str) -> Answer:
        headers = (("Allow", "GET, HEAD"),) if status == 405 else ()
        if path.startswith("/api/"):
            return Answer(encoded({"schema": api.SCHEMA, "status": status, "why": text}), JSON, status, headers=headers)
        return Answer(self._faces.message(title, text), HTML, status, headers=headers)

    def _packed(self, answer: Answer, environ: dict[str, Any]) -> Answer:
        """Gzip for those who can and for what gains by it."""
        if len(answer.body) < _BIG or answer.kind.startswith("image/png") or answer.status != 200:
            return answer
        vary = ("Vary", "Accept-Encoding")
        if not re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\b)", environ.get("HTTP_ACCEPT_ENCODING", "")):
            return Answer(answer.body, answer.kind, cache=answer.cache, headers=(*answer.headers, vary))
        body = self._finished.packed(answer.body, lambda: gzip.compress(answer.body, 3, mtime=0))
        return Answer(body, answer.kind, cache=answer.cache, headers=(*answer.headers, vary, ("Content-Encoding", "gzip")))

    # ---- pages --------------------------------------------------------------------------------------------------------

    def _site(self, name: str) -> Site:
        found = self._watcher.sites.get(name)
        if found is None:
            raise NotHere(f"no page called {name} is mirrored here; there are: {', '.join(self._watcher.sites)}")
        return found

    def _shown(self, site: Site, run: str) -> Exhibit:
        found = site.runs.get(int(run))
        if found is None:
            raise NotHere(f"run {run} is not among the old runs that are kept")
        return self._watcher.page(found)

    def _first(self, query: dict[str, str]) -> Answer:
        return self._live(query, next(iter(self._watcher.sites), ""))

    def _live(self, query: dict[str, str], name: str) -> Answer:
        site, order = self._site(name), _order(query)
        return self._new("page", site, lambda at: self._faces.live(site, order, at), HTML, order)

    def _fragment(self, _query: dict[str, str], name: str) -> Answer:
        site = self._site(name)
        return self._new("fragment", site, lambda at: self._faces.fragment(site, "", at), HTML)

    def _new(self, what: str, site: Site, make: Callable[[datetime], bytes], kind: str, *more: str) -> Answer:
        return Answer(self._finished.once((what, site.name, *more), site.number, lambda: make(clock.now())), kind)

    def _runs(self, query: dict[str, str], name: str) -> Answer:
        return Answer(runs.timeline(self._site(name), self._faces, bad=query.get("bad") == "1"))

    def _old_run(self, query: dict[str, str], name: str, run: str) -> Answer:
        site = self._site(name)
        return Answer(self._faces.old_run(site, self._shown(site, run), _order(query)))

    def _compare(self, query: dict[str, str], name: str) -> Answer:
        site, pair = self._site(name), (query.get("a", ""), query.get("b", ""))
        if not all(map(places.is_run, pair)):
            raise Wrong("Choose two runs: one as A and one as B.")
        return Answer(runs.comparison(site, self._faces, *(self._shown(site, one) for one in pair)))

    def _file(self, _query: dict[str, str], name: str, sum16: str, file: str) -> Answer:
        found = self._watcher.file(self._site(name).name, sum16, file)
        if found is None:
            raise NotHere("no page that is shown here has this file")
        return Answer(found[1], found[0].kind, cache=KEEP)

    def _read_log(self, query: dict[str, str], name: str, sum16: str, file: str) -> Answer:
        site = self._site(name)
        found = self._watcher.file(name, sum16, file)
        if found is None or found[0].kind != LOG:
            raise NotHere("no page that is shown here has this log")
        raw = f"{self._faces.prefix}/sites/{name}/files/{sum16}/{file}"
        jobs = [job for job in site.live.page.jobs if job.log == file] if site.live else []
        title = f"Log of {jobs[0].host} {jobs[0].tag or ''}" if jobs else f"Log of job {file[4:-4]}"
        q, only = query.get("q", "")[:200], query.get("only") == "1"
        return Answer(logs.page(site, self._faces, title, found[1], raw, q, only=only))

    def _help(self, _query: dict[str, str]) -> Answer:
        return Answer(self._faces.help())

    def _static(self, _query: dict[str, str], name: str) -> Answer:
        found = self._faces.sheets.static(name)
        if found is None:
            raise NotHere("there is no such file")
        return Answer(*found, cache=KEEP)

    # ---- for programs -------------------------------------------------------------------------------------------------

    def _health(self) -> dict[str, Any]:
        return api.health(list(self._watcher.sites.values()), self._faces, clock.now())

    def _once(self, what: str, make: Callable[[], bytes]) -> bytes:
        return self._finished.once((what,), sum(site.number for site in self._watcher.sites.values()), make)

    def _healthz(self, _query: dict[str, str]) -> Answer:
        return Answer(self._once("healthz", lambda: self._health()["state"].encode() + b"\n"), TEXT)

    def _api_health(self, _query: dict[str, str]) -> Answer:
        return Answer(self._once("health", lambda: encoded(self._health())), JSON)

    def _api_live(self, _query: dict[str, str], name: str) -> Answer:
        site = self._site(name)
        return self._new("api", site, lambda at: encoded(api.live(site, self._faces, at)), JSON)

    def _api_csv(self, _query: dict[str, str], name: str) -> Answer:
        site = self._site(name)
        if site.live is None:
            raise NotHere(f"nothing was got of {name} yet")
        return Answer(api.table(site.live.page), CSV, headers=called(f"{name}-{site.live.page.run or 'live'}.csv"))

    def _api_runs(self, _query: dict[str, str], name: str) -> Answer:
        return Answer(encoded(api.old_runs(self._site(name), self._faces)), JSON)

    def _api_run(self, _query: dict[str, str], name: str, run: str) -> Answer:
        site = self._site(name)
        return Answer(encoded(api.old_run(site, self._shown(site, run), self._faces)), JSON)

    def _api_run_csv(self, _query: dict[str, str], name: str, run: str) -> Answer:
        shown = self._shown(self._site(name), run)
        return Answer(api.table(shown.page), CSV, headers=called(f"{name}-{run}.csv"))

    def _news(self) -> tuple[object, bytes]:
        told = self._health()
        news = [(name, one["mark"], one["state"], one["old_runs"]) for name, one in told["sites"].items()]
        return news, b"data: " + encoded({"sites": {name: [mark, state] for name, mark, state, _ in news}}) + b"\n"


def _query(environ: dict[str, Any]) -> dict[str, str]:
    text = str(environ.get("QUERY_STRING", ""))
    if not text:
        return {}
    if len(text) > _QUERY_BYTES:
        raise Wrong("the question is too long")
    try:
        found = parse_qs(text, keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise Wrong("the question has too many fields") from None
    return {name: values[-1].replace("\0", "") for name, values in found.items()}


def _order(query: dict[str, str]) -> str:
    found = query.get("sort", "")
    return found if found.removeprefix("-") in COLUMNS else ""
