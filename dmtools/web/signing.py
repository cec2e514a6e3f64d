"""Signing in and out: the forms, the cookies, and what every other form must bring."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import bottle
from sqlalchemy import Connection

from dmtools import clock
from dmtools.ledger import LedgerUnavailable
from dmtools.web import accounts, pages, sessions, snapshots
from dmtools.web.guesses import Guesses
from dmtools.web.news import News

if TYPE_CHECKING:
    from dmtools.web.app import Setup

WRONG = "Name or password is wrong."


class NotSignedIn(Exception):
    """There is no session, or it is over."""


class NotAllowed(Exception):
    """The role, or the form, does not allow it; the text says why."""


class SeeOther(Exception):
    """The answer is at another place of ours; `headers` set cookies."""

    def __init__(self, place: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(place)
        self.place, self.headers = place, headers or {}


def fields(text: str) -> dict[str, str]:
    """The fields of a query or a form; bytes that are no UTF-8 stay what they are. Raises NotAllowed for a flood of them."""
    try:
        return dict(parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=20))
    except ValueError:
        raise NotAllowed("The form has too many fields.") from None


def own_place(text: str, sites: tuple[str, ...] = ()) -> str:
    """A place of ours to go to after signing in, also below one of `sites` (/NAME/); whatever else is asked, the status page."""
    plain = text.isascii() and text.isprintable() and "\\" not in text
    return text if plain and text.startswith(("/trace/", "/search", *sites)) else "/"


def this_place() -> str:
    """The present request's path and query, as it was sent."""
    return str(bottle.request.environ.get("REQUEST_URI", "/"))


class Signing:
    """Sign-in and sign-out of one server. Cookies are named after HOME: two status pages of one host don't mix them up."""

    def __init__(self, setup: Setup, news: News) -> None:
        self._setup, self._news = setup, news
        self._sites = tuple(f"/{name}/" for name, entry in setup.entries.items() if entry.site)
        own = hashlib.sha256(str(setup.settings.home).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        prefix = "__Host-" if setup.secure else ""
        self._session_cookie, self._form_cookie = f"{prefix}dm-{own}", f"{prefix}dm-{own}-form"
        self._guesses = Guesses()

    def token(self) -> str:
        """The session's token that the browser sent; empty when none."""
        return str(bottle.request.get_cookie(self._session_cookie) or "")

    def form_fields(self) -> dict[str, str]:
        """The fields of a form from one of our pages, of someone signed in. Raises NotSignedIn, NotAllowed."""
        found = _body()
        token = self.token()
        if not token:
            raise NotSignedIn
        if not sessions.is_ours(token, found.get("mark", "")):
            raise NotAllowed("The form is too old, or did not come from a page of ours: load the page again, then send it.")
        return found

    def form(self, problem: str = "", name: str = "", next_place: str | None = None) -> bytes:
        """The sign-in page."""
        secret = str(bottle.request.get_cookie(self._form_cookie) or "") or secrets.token_urlsafe(24)
        self._set(self._form_cookie, secret)
        wanted = fields(bottle.request.environ.get("QUERY_STRING", "")).get("next", "/") if next_place is None else next_place
        mark, place = sessions.form_mark(secret), own_place(wanted, self._sites)
        bottle.response.content_type = "text/html; charset=utf-8"
        bottle.response.set_header("Cache-Control", "no-store")
        return pages.page("Sign in", pages.render("sign_in", problem=problem, name=name, next=place, mark=mark), signed_in=False)

    def sign_in(self) -> bytes:
        """Proves name and password. The answer and its time are the same for a name that there is not."""
        given = _body()
        name, password, place = given.get("name", "").strip().lower()[:64], given.get("password", ""), given.get("next", "/")
        if not sessions.is_ours(str(bottle.request.get_cookie(self._form_cookie) or ""), given.get("mark", "")):
            raise NotAllowed("The form is too old, or did not come from a page of ours: load the sign-in page again.")
        if problem := self._news.look():
            raise LedgerUnavailable(problem, "signing in needs it")
        address = self._address()
        if wait := self._guesses.begin(name, address):
            return self._too_often(name, address, wait, place)
        with snapshots.opened(self._setup.settings) as ledger:
            with ledger.read() as connection:
                stored = accounts.password_of(connection, name)
            if not accounts.matches(stored, password):
                self._setup.log(f"sign-in refused: {name!r} from {address}")
                bottle.response.status = 401
                return self.form(WRONG, name, place)
            token = ledger.transact(lambda c: self._begin(c, name, stored))
        if not token:
            bottle.response.status = 401
            return self.form(WRONG, name, place)
        self._guesses.worked(name, address)
        self._setup.log(f"signed in: {name} from {address}")
        self._news.refresh()
        raise SeeOther(own_place(place, self._sites), self._cookie(self._session_cookie, token, self._seconds()))

    def _begin(self, connection: Connection, name: str, stored: str | None) -> str:
        """A session, if the account is still what the password was compared with."""
        if accounts.password_of(connection, name) != stored:
            return ""
        return sessions.begin(connection, name, clock.now(), timedelta(seconds=self._seconds()))

    def sign_out(self) -> None:
        """Ends the session. Raises SeeOther."""
        self.form_fields()
        token = self.token()
        with snapshots.opened(self._setup.settings) as ledger:
            ledger.transact(lambda c: sessions.end(c, token))
        self._news.refresh()
        raise SeeOther("/sign-in", self._cookie(self._session_cookie, "", 0))

    def _too_often(self, name: str, address: str, wait: float, place: str) -> bytes:
        self._setup.log(f"sign-in put off, too many failed: {name!r} from {address}")
        bottle.response.status = 429
        bottle.response.set_header("Retry-After", str(int(wait) + 1))
        return self.form(f"Too many sign-ins failed. Try again in {clock.age(wait + 1)}.", name, place)

    def _address(self) -> str:
        """Whose request it is; behind a proxy the last address that the proxy itself has written down."""
        forwarded = str(bottle.request.get_header("X-Forwarded-For", "")) if self._setup.secure else ""
        return forwarded.rpartition(",")[2].strip()[:64] or str(bottle.request.environ.get("REMOTE_ADDR", ""))

    def _seconds(self) -> int:
        return self._setup.settings.web.session_hours * 3600

    def _set(self, name: str, value: str) -> None:
        bottle.response.set_cookie(name, value, path="/", httponly=True, samesite="Strict", secure=self._setup.secure)

    def _cookie(self, name: str, value: str, seconds: int) -> dict[str, str]:
        secure = "; Secure" if self._setup.secure else ""
        return {"Set-Cookie": f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"}


def _body() -> dict[str, str]:
    kind = bottle.request.content_type.partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise NotAllowed("Only a form is taken here.")
    return fields(bottle.request.body.read().decode("utf-8", "surrogateescape"))
