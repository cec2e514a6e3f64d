"""The outbound directory: where a bundle's zip is, under which name the other site and FTS know it, and whether all is well."""

from __future__ import annotations

import os

from dmtools import names
from dmtools.settings import Settings
from dmtools.storage.deadline import Hung, guarded

STALL_SECONDS = 30.0


def root(settings: Settings) -> bytes:
    """The directory."""
    return os.fsencode(settings.path(settings.lta.outbound)).rstrip(b"/")


def ideal_of(path: bytes) -> str:
    """A path below the directory -> the bundle's name at all sites, percent-encoded, with a leading slash."""
    return "/" + names.encode(path)


def zip_of(settings: Settings, ideal: str) -> bytes:
    """Where the zip of a bundle of this HOME is. Raises NameRefused for a name that leads out."""
    path = names.decode(ideal)
    names.check_path(path, ideal)
    return root(settings) + path


def trouble(settings: Settings) -> str:
    """Why it can't be listed now (not mounted, no right, it hangs); empty: all is well."""
    place = root(settings)
    said = names.shown(names.encode(place))
    try:
        guarded(lambda _: os.scandir(place).close(), deadline=STALL_SECONDS, stall=STALL_SECONDS)
    except Hung:
        return f"{said}: the file system does not answer"
    except OSError as problem:
        return f"{said}: {os.strerror(problem.errno or 0)}"
    return ""


def free(settings: Settings) -> int | None:
    """Free bytes of its file system; None when that can't be told."""
    from dmtools.storage.local import LocalStore

    found = LocalStore().free(names.file_url(root(settings)))
    return found[0] if found else None
