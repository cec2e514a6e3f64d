"""The pages of the site as text: the frame that its scripts fill, and the page that says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

STATIC = Path(__file__).parent / "static"
# In the order in which the page needs them; plotly comes last, for the page is there before its first curve.
SCRIPTS = ("page.js", "calendar.js", "panels.js", "plotly-basic.min.js")
STYLES = ("site.css", "icon.svg")


def assets() -> dict[str, bytes]:
    """The scripts and styles that come with dmtools."""
    return {name: (STATIC / name).read_bytes() for name in (*SCRIPTS, *STYLES)}


def index(names: Mapping[str, str], facts: dict[str, str]) -> bytes:
    """index.html; `names`: where each asset is, and `catalogue`; `facts`: made, old (seconds), source, version."""
    scripts = "\n".join(f'<script src="{escape(names[one])}" defer></script>' for one in ("catalogue", *SCRIPTS))
    return _filled("index.html", facts | _looks(names)).replace("{scripts}", scripts).encode()


def help_page(names: Mapping[str, str], facts: dict[str, str]) -> bytes:
    """help.html."""
    return _filled("help.html", facts | _looks(names)).encode()


def _looks(names: Mapping[str, str]) -> dict[str, str]:
    return {"style": names["site.css"], "icon": names["icon.svg"]}


def _filled(name: str, values: Mapping[str, str]) -> str:
    text = (Path(__file__).parent / "templates" / name).read_text("utf-8")
    for key, value in values.items():
        text = text.replace("{" + key + "}", escape(value))
    return text
