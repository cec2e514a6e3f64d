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


_XROOTD = frozenset({"root", "roots", "xroot", "xroots"})
_XROOTD_TOOLS = ("xrdfs", "xrdcp")


def scheme_of(url: str) -> str:
    """`root` of `root://host//path`, in lower case; empty when there is none."""
    return url.partition("://")[0].lower() if "://" in url else ""


def client_for(url: str, settings: Settings) -> Store | None:
    """The client for the URL's scheme; None when this machine has none (then: client_reason)."""
    scheme = scheme_of(url)
    if scheme == "file":
        from dmtools.storage.local import LocalStore

        return LocalStore()
    from dmtools.storage import gfal
    from dmtools.storage.tools import missing_tools

    if scheme in _XROOTD and not missing_tools(_XROOTD_TOOLS):
        from dmtools.storage.xrootd import XRootDStore

        return XRootDStore(settings)
    if scheme in gfal.PLUGINS and not missing_tools(gfal.TOOLS) and gfal.has_plugin(scheme):
        return gfal.GfalStore(scheme, settings)
    return None


def client_reason(url: str, settings: Settings) -> str | None:
    """Why `client_for` gives None, and what to install; None when there is a client."""
    if client_for(url, settings) is not None:
        return None
    from dmtools.storage import gfal
    from dmtools.storage.tools import missing_tools

    scheme = scheme_of(url)
    if scheme not in gfal.PLUGINS:
        return f"no client knows {scheme}://" if scheme else f"{url} has no scheme"
    gone = missing_tools(gfal.TOOLS)
    if scheme in _XROOTD:
        gone = missing_tools(_XROOTD_TOOLS) + gone
    if gone:
        return f"{scheme}:// needs {', '.join(gone)}, not found on PATH (Debian: xrootd-client, gfal2-util-scripts)"
    return f"{scheme}:// needs the {gfal.PLUGINS[scheme]} plugin of gfal2 (gfal2-plugin-{gfal.PLUGINS[scheme]})"
