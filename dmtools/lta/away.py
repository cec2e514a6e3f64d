"""Asks carried out by a server over HTTPS."""

from __future__ import annotations

from dmtools.lta.api import Books
from dmtools.settings import Settings


def away(settings: Settings) -> Books:
    """The books of the server of [lta] url."""
    raise NotImplementedError
