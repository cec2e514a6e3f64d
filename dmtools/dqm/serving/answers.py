"""What goes back: a status, bytes and their type."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec

HTML, JSON, CSV = "text/html; charset=utf-8", "application/json", "text/csv; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
NEW = "no-store"
KEEP = "private, max-age=86400, immutable"  # the address of a file changes when the file does
_ENCODE = msgspec.json.Encoder(enc_hook=str, order="deterministic").encode


@dataclass(frozen=True)
class Answer:
    """An answer; `cache` says how long a browser may keep it, `name` what a download is called."""

    body: bytes
    kind: str = HTML
    status: int = 200
    cache: str = NEW
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def line(self) -> str:
        """`200 OK`."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"

    def all_headers(self) -> list[tuple[str, str]]:
        """Its headers."""
        own = [("Content-Type", self.kind), ("Content-Length", str(len(self.body))), ("Cache-Control", self.cache)]
        return [*own, *self.headers]


class NotHere(Exception):
    """There is no such thing here: 404, with a sentence."""


class Wrong(Exception):
    """The question can't be answered as it was put: 400, with a sentence."""


def encoded(told: Any) -> bytes:
    """An object as JSON, one line."""
    return _ENCODE(told) + b"\n"


def called(name: str) -> tuple[tuple[str, str], ...]:
    """The header that makes of an answer a file of this (plain) name."""
    return (("Content-Disposition", f'attachment; filename="{name}"'),)
