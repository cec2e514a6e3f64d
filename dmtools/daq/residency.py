"""Does the tape say that it has a file? NEARLINE and ONLINE_AND_NEARLINE do; whatever else leaves it unproved."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dmtools.names import NameRefused, file_path
from dmtools.settings import Settings
from dmtools.storage import StorageError, client_for, client_reason, scheme_of

ON_TAPE = ("NEARLINE", "ONLINE_AND_NEARLINE")
AT_ONCE = 8
DIRECTORY = "DIRECTORY"  # a local directory that is taken for a tape


@dataclass(frozen=True)
class Residency:
    """What the tape said of one file: `status` proves it or doesn't; `why` is for people."""

    proved: bool
    status: str
    why: str


def ask(urls: Sequence[str], settings: Settings) -> list[Residency]:
    """One answer for each URL, in order; several are asked at once. Never raises for a file's fault."""
    with ThreadPoolExecutor(min(AT_ONCE, max(1, len(urls)))) as pool:
        return [*pool.map(lambda url: _one(url, settings), urls)]


def _one(url: str, settings: Settings) -> Residency:
    store = client_for(url, settings)
    if store is None:
        return Residency(False, "UNKNOWN", client_reason(url, settings) or "it can't be asked")
    try:
        status = store.residency(url)
    except StorageError as problem:
        return Residency(False, "UNKNOWN", problem.reason)
    if status == "ONLINE" and scheme_of(url) == "file" and not _says_status(url):
        return Residency(True, DIRECTORY, "a directory taken for a tape has it")
    said = f"the tape says {status}"
    return Residency(status in ON_TAPE, status, said if status in ON_TAPE else f"{said}: no copy of it is proved to be on tape")


def _says_status(url: str) -> bool:
    """Has a local file the attribute by which a tape says where it is?"""
    try:
        os.getxattr(file_path(url), "user.status")
    except NameRefused:
        return True
    except OSError as problem:
        return problem.errno not in (errno.ENODATA, errno.EOPNOTSUPP)
    return True
