"""The status page's routes: who may see and do what, and which page answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

import bottle

from dmtools.command.run import Refused
from dmtools.control.entry import Pipeline
from dmtools.ledger import LedgerUnavailable
from dmtools.settings import Settings, SettingsError
from dmtools.web import pages, sessions, signing, sites, status
from dmtools.web.acting import Acting
from dmtools.web.asking import Asking
from dmtools.web.finished import Finished
from dmtools.web.news import News
from dmtools.web.sessions import Session
from dmtools.web.signing import Signing
from dmtools.web.snapshots import explained

KEEP = "private, max-age=31536000, immutable"  # a static file's address changes when the file does


@dataclass(frozen=True)
class Setup:
    """What the pages stand on. `scope` proves what a person holds, `log` keeps a line, `secure`: https is in front of us."""

    settings: Settings
    entries: dict[str, Pipeline]
    troubles: list[str]
    scope: Callable[[str], str]
    log: Callable[[str], None]
    secure: bool = False


class StatusPage:
    """The application: `wsgi` answers, `close` ends its threads."""

    def __init__(self, setup: Setup) -> None:
        self._log = setup.log
        self._settings, self._entries = setup.settings, setup.entries
        self._news = News(setup.settings, setup.entries, setup.troubles)
        self._finished = Finished(self._news, setup.settings, setup.entries)
        self._signing = Signing(setup, self._news)
        self._acting = Acting(setup, self._news)
        self._asking = Asking(setup.settings, setup.entries)
        self._app = bottle.Bottle(catchall=False)
        self._app.default_error_handler = self._no_such_page
        self._told: dict[bytes, str] = {}  # what a form did, shown once on the page that follows
        self._lock = threading.Lock()
        for method, path, handler in self._routes():
            self._app.route(path, method, handler)

    def _routes(self) -> Iterable[tuple[str, str, Callable[..., Any]]]:
        return (
            ("GET", "/", self._status),
            ("GET", "/fragment", self._fragment),
            ("GET", "/api/status.json", self._json),
            ("GET", "/search", self._search),
            ("GET", "/trace/<name:path>", self._trace),
            ("GET", "/sign-in", self._signing.form),
            ("POST", "/sign-in", self._signing.sign_in),
            ("POST", "/sign-out", self._sign_out),
            ("POST", "/control", self._control),
            ("POST", "/leases", self._leases),
            ("GET", "/healthz", self._healthz),
            ("GET", "/static/<name>", self._static),
            *self._sites(),
        )

    def _sites(self) -> Iterable[tuple[str, str, Callable[..., Any]]]:
        for name, entry in self._entries.items():
            if entry.site:
                yield "GET", f"/{name}", partial(self._to_site, name)
                yield "GET", f"/{name}/<path:path>", partial(self._site, entry)
                yield "GET", f"/{name}/", partial(self._site, entry, "index.html")

    def look(self) -> str:
        """Why the tables can't be read now; empty when they can."""
        return self._news.look()

    def close(self) -> None:
        """Ends the threads that read."""
        self._news.stop()

    def wsgi(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answers a request; whatever goes wrong has a page of its own, never a traceback."""
        try:
            found: Iterable[bytes] = self._app.wsgi(environ, start_response)
            return found
        except Exception as problem:  # noqa: BLE001 - the last line of defence
            answer = self._refusal(problem, f"{environ.get('REQUEST_METHOD')} {environ.get('PATH_INFO')}")
        answer.set_header("Content-Length", str(len(answer.body)))
        start_response(answer.status_line, answer.headerlist)
        return [b"" if environ.get("REQUEST_METHOD") == "HEAD" else answer.body]

    # ---- pages for those who are signed in ----------------------------------------------------------------------------

    def _session(self) -> tuple[str, Session]:
        token = self._signing.token()
        found = self._news.session(token)
        if found is None:
            raise signing.NotSignedIn
        return token, found

    def _page(self, body: bytes, token: str, session: Session) -> bytes:
        with self._lock:
            told = self._told.pop(sessions.key(token), "")
        _html()
        return pages.filled(body, user=f"{session.user}, {session.role}", mark=sessions.form_mark(token), told=told)

    def _status(self) -> bytes:
        token, session = self._session()
        return self._page(self._finished.page(session.role), token, session)

    def _fragment(self) -> bytes:
        token, session = self._session()
        body = self._finished.fragment(session.role)
        _html()
        return pages.filled(body, user=session.user, mark=sessions.form_mark(token))

    def _json(self) -> bytes:
        self._session()
        bottle.response.content_type = "application/json"
        bottle.response.set_header("Cache-Control", "no-store")
        return self._finished.json()

    def _search(self) -> bytes:
        token, session = self._session()
        asked = signing.fields(bottle.request.environ.get("QUERY_STRING", "")).get("q", "").strip()
        self._require_tables()
        title, body, exact = self._asking.search(asked)
        if exact:
            raise signing.SeeOther(status.trace_path(exact))
        return self._page(pages.page(title, body, signed_in=True), token, session)

    def _trace(self, name: str) -> bytes:
        token, session = self._session()  # `name` as bottle decodes it has lost bytes that are no UTF-8
        raw = str(bottle.request.environ["bottle.raw_path"]).partition("/trace/")[2]
        asked = raw.encode("latin-1").replace(b"%2F", b"/").decode("utf-8", "surrogateescape")
        self._require_tables()
        found = self._asking.trace(asked)
        if found is None:
            raise bottle.HTTPError(404, f"no pipeline knows {asked!r}")
        return self._page(pages.page(asked, found, signed_in=True), token, session)

    def _to_site(self, name: str) -> None:
        raise signing.SeeOther(f"/{name}/")

    def _site(self, entry: Pipeline, path: str) -> bytes:
        self._session()
        found = sites.file(self._settings, entry, path)
        if found is None:
            raise bottle.HTTPError(404, f"the site of {entry.name} has no {path!r}")
        body, bottle.response.content_type, keeps = found
        bottle.response.set_header("Cache-Control", KEEP if keeps else "private, no-cache")
        return body

    def _require_tables(self) -> None:
        if problem := self._news.trouble():
            raise LedgerUnavailable(problem, "")

    # ---- forms --------------------------------------------------------------------------------------------------------

    def _sign_out(self) -> None:
        self._signing.sign_out()
        raise signing.SeeOther("/sign-in")

    def _control(self) -> None:
        self._after(*self._acting.order(self._signing.token(), self._signing.form_fields()))

    def _leases(self) -> None:
        self._after(*self._acting.release(self._signing.token(), self._signing.form_fields()))

    def _after(self, token: str, told: str) -> None:
        with self._lock:
            self._told[sessions.key(token)] = told
            while len(self._told) > 1000:
                del self._told[next(iter(self._told))]
        self._news.refresh()
        raise signing.SeeOther("/")

    # ---- without a session --------------------------------------------------------------------------------------------

    def _healthz(self) -> str:
        bottle.response.content_type = "text/plain; charset=utf-8"
        bottle.response.set_header("Cache-Control", "no-store")
        return "degraded\n" if self._news.look() else "ok\n"

    def _static(self, name: str) -> bytes:
        found = pages.static(name)
        if found is None:
            raise bottle.HTTPError(404, "there is no such file")
        body, kind = found
        bottle.response.content_type = kind
        bottle.response.set_header("Cache-Control", KEEP)
        return body

    # ---- what goes wrong ----------------------------------------------------------------------------------------------

    def _refusal(self, problem: Exception, request: str) -> bottle.HTTPResponse:
        """An exception as an answer."""
        if isinstance(problem, signing.SeeOther):
            return bottle.HTTPResponse("", 303, {"Location": problem.place, "Cache-Control": "no-store", **problem.headers})
        if isinstance(problem, signing.NotSignedIn):
            return self._not_signed_in()
        code, kind, body = self._told_badly(problem, request)
        return bottle.HTTPResponse(body, code, {"Content-Type": kind, "Cache-Control": "no-store"})

    def _no_such_page(self, problem: bottle.HTTPError) -> bytes:
        """The router's own errors."""
        _, kind, body = self._told_badly(problem, "")
        bottle.response.content_type = kind
        bottle.response.set_header("Cache-Control", "no-store")
        return body

    def _told_badly(self, problem: Exception, request: str) -> tuple[int, str, bytes]:
        code, title, text, step = self._explained(problem, request)
        if bottle.request.path.startswith("/api/"):
            said = json.dumps({"schema": 1, "error": f"{text} {step}".strip()})
            return code, "application/json", said.encode() + b"\n"
        inner = pages.render("message", title=title, text=text, step=step)
        return code, "text/html; charset=utf-8", pages.page(title, inner, signed_in=False)

    def _not_signed_in(self) -> bottle.HTTPResponse:
        path = bottle.request.path
        if path == "/fragment" or path.startswith("/api/") or bottle.request.method not in ("GET", "HEAD"):
            kind = "application/json" if path.startswith("/api/") else "text/plain; charset=utf-8"
            body = b'{"schema": 1, "error": "sign in first"}\n' if path.startswith("/api/") else b"sign in first\n"
            return bottle.HTTPResponse(body, 401, {"Content-Type": kind, "Cache-Control": "no-store"})
        place = "/sign-in" if path == "/" else f"/sign-in?next={quote(signing.this_place(), safe='')}"
        return bottle.HTTPResponse("", 303, {"Location": place, "Cache-Control": "no-store"})

    def _explained(self, problem: Exception, request: str) -> tuple[int, str, str, str]:
        """(code, title, what happened, what to do)."""
        left = "Nothing was changed."
        if isinstance(problem, signing.NotAllowed):
            return 403, "Not allowed", str(problem), left
        if isinstance(problem, Refused):
            return 400, "Refused", str(problem), f"{left} Go back, mend it, and send it again."
        if isinstance(problem, LedgerUnavailable | SettingsError):
            why = explained(problem).rstrip("; ")
            return 503, "Not now", f"The database can't be read: {why}", left
        if isinstance(problem, Asking.Busy):
            return 503, "Not now", "Other searches are under way, and they keep the database busy.", "Try again in a moment."
        if isinstance(problem, bottle.HTTPError):
            titles = {404: "There is no such page", 405: "Not so"}
            said = {405: f"{bottle.request.path} does not take {bottle.request.method}."}.get(
                problem.status_code, str(problem.body)
            )
            return problem.status_code, titles.get(problem.status_code, "Refused"), said, ""
        import traceback

        self._log(f"internal error at {request}: " + " / ".join("".join(traceback.format_exception(problem)).splitlines()))
        return 500, "Internal error", "The program did something wrong; its log has the details.", "Please report it."


def _html() -> None:
    bottle.response.content_type = "text/html; charset=utf-8"
    bottle.response.set_header("Cache-Control", "no-store")
