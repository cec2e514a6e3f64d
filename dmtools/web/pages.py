"""Pages from templates: every text is escaped, and what can't be printed is made visible."""

from __future__ import annotations

import hashlib
import secrets
from functools import cache, partial
from html import escape
from pathlib import Path
from typing import Any

from bottle import SimpleTemplate

from dmtools.command.report import one_line

PLACE = Path(__file__).parent
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
# What differs from one reader to the next stands in a page that is kept for all as a word that nobody can guess.
SLOTS = {name: f"slot-{name}-{secrets.token_hex(12)}" for name in ("user", "mark", "told")}


def safe(value: object) -> str:
    """Any value as text of a page: LFNs, reasons and names come from outside."""
    return escape(one_line("" if value is None else str(value)))


class _Template(SimpleTemplate):  # type: ignore[misc]
    def prepare(self, *arguments: Any, **options: Any) -> None:
        super().prepare(*arguments, **options)
        self._escape = safe


@cache
def _template(name: str) -> _Template:
    found = _Template(name=f"{name}.html", lookup=[str(PLACE / "templates")])
    found.defaults["static"] = partial(_versioned)
    return found


def render(template: str, /, **values: Any) -> str:
    """A template filled with values."""
    text: str = _template(template).render(**values)
    return text


def page(title: str, body: str, *, signed_in: bool, scripts: bool = False) -> bytes:
    """A whole page; `body` is HTML."""
    return encoded(render("frame", title=title, body=body, signed_in=signed_in, scripts=scripts, slots=SLOTS))


def encoded(text: str) -> bytes:
    """UTF-8; half a surrogate pair, as undecodable bytes leave it, is spelt out."""
    return text.encode("utf-8", "backslashreplace")


def filled(body: bytes, *, user: str, mark: str, told: str = "") -> bytes:
    """The page for one reader."""
    for name, value in (("user", user), ("mark", mark), ("told", told)):
        body = body.replace(SLOTS[name].encode(), encoded(safe(value)))
    return body


@cache
def static(name: str) -> tuple[bytes, str] | None:
    """(bytes, type) of a file of static/; None when there is none of this name."""
    known = {path.name: path for path in (PLACE / "static").iterdir() if path.suffix in TYPES}
    return (known[name].read_bytes(), TYPES[known[name].suffix]) if name in known else None


def _versioned(name: str) -> str:
    """The address of a static file: another one when the file is, so that browsers may keep it."""
    found = static(name)
    return f"/static/{name}?v={hashlib.sha256(found[0]).hexdigest()[:12]}" if found else f"/static/{name}"
