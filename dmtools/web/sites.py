"""Sites of plain files that pipelines make: shown as they are to who is signed in, below the name of their pipeline."""

from __future__ import annotations

import re
from pathlib import Path

from dmtools.command.named import named
from dmtools.control.entry import Pipeline
from dmtools.settings import Settings
from dmtools.web.sheets import TYPES

_TYPES = {**TYPES, ".html": "text/html; charset=utf-8", ".json": "application/json"}
_NAME = r"[A-Za-z0-9][A-Za-z0-9_\[\]@.,$-]{0,120}"
_PATH = re.compile(rf"(?:{_NAME}/)?{_NAME}")
_FOR_EVER = re.compile(r"-[0-9a-f]{16}\.(?:js|css|svg)")  # named by their content


def file(settings: Settings, entry: Pipeline, path: str) -> tuple[bytes, str, bool] | None:
    """(bytes, type, whether it may be kept) of a file of its site; None: there is none, or it may not be shown."""
    kind = _TYPES.get(Path(path).suffix)
    if kind is None or not _PATH.fullmatch(path):
        return None
    root = named(entry.site)(settings)
    place = root / path
    try:
        if not place.resolve(strict=True).is_relative_to(root.resolve()):
            return None
        return place.read_bytes(), kind, bool(_FOR_EVER.search(path))
    except OSError:
        return None
