"""Where a bundle's zip may lie here: where it was made, or where FTS lays what comes back; and whether it is right.

What comes back lies in `.dm-back` of [lta] outbound, a name an errand: who reads it has it locked, who is done removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from dmtools import names
from dmtools.lta.api.bundles import Bundle
from dmtools.lta.restoring.bundlezip import sha512_of
from dmtools.settings import Lta
from dmtools.storage import StorageError
from dmtools.storage.publish import is_at

BACK = ".dm-back"
OLD_SECONDS = 7 * 86400  # what lies there for so long nobody is waiting for: the tape still has it


def name_of(errand: int) -> str:
    """The name of what an errand brings."""
    return f"errand-{errand}.zip"


def place_of(lta: Lta, errand: int) -> Path:
    """Where it lands."""
    return Path(lta.outbound) / BACK / name_of(errand)


def url_of(lta: Lta, errand: int) -> str:
    """The same, as FTS knows it."""
    return f"{lta.outbound_url}/{BACK}/{name_of(errand)}"


def made_here(bundle: Bundle, home: str) -> bytes | None:
    """Where the zip of a bundle of this HOME was made, when a file is there still."""
    if bundle.home != home:
        return None
    try:
        path = names.file_path(bundle.name)
    except names.NameRefused:
        return None
    return path if os.path.isfile(path) and not os.path.islink(path) else None


def trouble(path: bytes, bundle: Bundle) -> str:
    """Why this file is not the bundle; empty when it is, byte for byte. Raises StorageError."""
    size = os.path.getsize(path)
    if size != bundle.size:
        return f"it has {size} bytes, not {bundle.size}"
    found = sha512_of(path)
    return "" if found == (bundle.size, bundle.sha512) else f"its sha512 is {found[1]}, not {bundle.sha512}"


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """While it is read nobody removes it. Raises StorageError `missing` when somebody just did."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise StorageError("missing", f"{path} is not there any more") from None
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_SH)
        if not is_at(handle, bytes(path)):
            raise StorageError("missing", f"{path} is not there any more")
        yield
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Unless somebody reads it: who does removes it then."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(handle, bytes(path)):
                path.unlink()
        finally:
            os.close(handle)


def sweep(lta: Lta) -> None:
    """Removes what was never fetched."""
    before = time.time() - OLD_SECONDS
    with contextlib.suppress(OSError):
        for path in (Path(lta.outbound) / BACK).iterdir():
            if path.lstat().st_mtime < before and path.lstat().st_ctime < before:
                remove(path)
