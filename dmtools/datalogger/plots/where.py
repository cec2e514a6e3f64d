"""Where the plot site is and when it was made, for those who only want to know that: nothing heavy is loaded."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from dmtools.settings import Settings


def directory(settings: Settings) -> Path:
    """[datalogger] site."""
    return settings.path(settings.datalogger.site)


def made(settings: Settings) -> datetime | None:
    """When its pages were made last; None: there are none."""
    try:
        text = (directory(settings) / "index.html").read_text("utf-8", "replace")
    except OSError:
        return None
    found = re.search(r'data-made="([0-9T:.-]+Z)"', text)
    return datetime.fromisoformat(found[1]) if found else None
