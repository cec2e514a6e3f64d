"""Templates and static files of a web server of ours: every text is escaped, and what can't be printed is made visible."""

from __future__ import annotations

import hashlib
from functools import cache
from html import escape
from pathlib import Path

from bottle import SimpleTemplate

from dmtools.command.report import one_line

TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


def safe(value: object) -> str:
    """Any value as text of a page: names, reasons and logs come from outside."""
    return escape(one_line("" if value is None else str(value)))


def encoded(text: str) -> bytes:
    """UTF-8; half a surrogate pair, as undecodable bytes leave it, is spelt out."""
    return text.encode("utf-8", "backslashreplace")


class _Template(SimpleTemplate):  # type: ignore[misc]
    def prepare(self, *arguments: object, **options: object) -> None:
        super().prepare(*arguments, **options)
        self._escape = safe


class Sheets:
    """The directories templates/ and static/ of `place`; `prefix` stands before the addresses of the static files."""

    def __init__(self, place: Path, prefix: str = "") -> None:
        self._place, self._prefix = place, prefix
        self._template, self.static, self.address = cache(self._read_template), cache(self._read_static), cache(self._address)

    def render(self, template: str, /, **values: object) -> str:
        """A template filled with values."""
        text: str = self._template(template).render(**values)
        return text

    def _read_template(self, name: str) -> _Template:
        found = _Template(name=f"{name}.html", lookup=[str(self._place / "templates")])
        found.defaults["static"] = self.address
        found.defaults["prefix"] = self._prefix
        return found

    def _read_static(self, name: str) -> tuple[bytes, str] | None:
        """(bytes, type) of a file of static/; None when there is none of this name."""
        known = {path.name: path for path in (self._place / "static").iterdir() if path.suffix in TYPES}
        return (known[name].read_bytes(), TYPES[known[name].suffix]) if name in known else None

    def _address(self, name: str) -> str:
        """The address of a static file: another one when the file is, so that browsers may keep it."""
        found = self.static(name)
        mark = f"?v={hashlib.sha256(found[0]).hexdigest()[:12]}" if found else ""
        return f"{self._prefix}/static/{name}{mark}"
