"""Places that hold files: look, list, copy, delete, residency; the same for directories, XRootD and gfal2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtools.storage.answers import (
    Absent,
    Copied,
    Entry,
    ErrorClass,
    Look,
    Looks,
    Mark,
    Present,
    StorageError,
    Store,
    Unknown,
)

if TYPE_CHECKING:
    from dmtools.settings import Settings

__all__ = [
    "Absent",
    "Copied",
    "Entry",
    "ErrorClass",
    "Look",
    "Looks",
    "Mark",
    "Present",
    "StorageError",
    "Store",
    "Unknown",
    "client_for",
    "client_reason",
    "scheme_of",
]


def scheme_of(url: str) -> str:
    """`root` of `root://host//path`, in lower case; empty when there is none."""
    return url.partition("://")[0].lower() if "://" in url else ""


def client_for(url: str, settings: Settings) -> Store | None:
    """The client for the URL's scheme; None when this machine has none (then: client_reason)."""
    if scheme_of(url) == "file":
        from dmtools.storage.local import LocalStore

        return LocalStore()
    return None


def client_reason(url: str, settings: Settings) -> str | None:
    """Why `client_for` gives None, and what to install; None when there is a client."""
    if client_for(url, settings) is not None:
        return None
    return f"no client for {scheme_of(url) or 'a name without a scheme'}:// here"
