"""The pages of dm-web, and what of them differs from reader to reader."""

from __future__ import annotations

import secrets
from pathlib import Path

from dmtools.web.sheets import Sheets, encoded, safe

__all__ = ["SLOTS", "encoded", "filled", "page", "render", "safe", "static"]

# What differs from one reader to the next stands in a page that is kept for all as a word that nobody can guess.
SLOTS = {name: f"slot-{name}-{secrets.token_hex(12)}" for name in ("user", "mark", "told")}


_SHEETS = Sheets(Path(__file__).parent)
render, static = _SHEETS.render, _SHEETS.static


def page(title: str, body: str, *, signed_in: bool, scripts: bool = False) -> bytes:
    """A whole page; `body` is HTML."""
    return encoded(render("frame", title=title, body=body, signed_in=signed_in, scripts=scripts, slots=SLOTS))


def filled(body: bytes, *, user: str, mark: str, told: str = "") -> bytes:
    """The page for one reader."""
    for name, value in (("user", user), ("mark", mark), ("told", told)):
        body = body.replace(SLOTS[name].encode(), encoded(safe(value)))
    return body
