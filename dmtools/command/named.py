"""`module:function` -> the function: what only some calls need is loaded by those."""

from __future__ import annotations

import importlib
from typing import Any


def named(place: str) -> Any:
    """The function that is named so. Raises ImportError or AttributeError when there is none."""
    module, _, function = place.partition(":")
    return getattr(importlib.import_module(module), function)
