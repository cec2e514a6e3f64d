"""Many XRootD files asked by one helper process where the Python bindings are: fifty times as many a second as by xrdfs."""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dmtools.names import NameRefused
from dmtools.storage import checksum as sums
from dmtools.storage.answers import Absent, Look, Present, Unknown
from dmtools.storage.deadline import run
from dmtools.storage.texts import classify, first_line
from dmtools.storage.tools import SYSTEM_PYTHON, environment
from dmtools.storage.xrootd_url import Place, place

if TYPE_CHECKING:
    from dmtools.settings import Settings

FEWEST = 3  # below that, starting the helper costs more than it saves
THREADS = 16
CHECKSUMS = 4  # a server's usual limit; those above it are told to come back after half a minute
_NO_FILE, _PENDING = 6, 64
_PLACES = ("/usr/lib/python3/dist-packages", "/usr/lib/python3*/site-packages", "/usr/lib64/python3*/site-packages")


@functools.cache
def python() -> str | None:
    """A Python that has the XRootD bindings: this one, or the system's; None when there is none."""
    if importlib.util.find_spec("XRootD") is not None:
        return sys.executable
    found = any(next(Path("/").glob(f"{where[1:]}/XRootD"), None) for where in _PLACES)
    return SYSTEM_PYTHON if found and Path(SYSTEM_PYTHON).exists() else None


def look_many(urls: Sequence[str], checksum: bool, seconds: float, settings: Settings) -> dict[int, Look]:
    """The answers that could be had this way, by place in `urls`; what is left out must be asked by xrdfs."""
    interpreter = python()
    if len(urls) < FEWEST or interpreter is None:
        return {}
    places = {number: where for number, url in enumerate(urls) if (where := _plain(url)) is not None}
    files = [[number, where.endpoint, where.path.decode("utf-8")] for number, where in places.items()]
    work = {"seconds": seconds, "threads": THREADS, "checksums": CHECKSUMS, "checksum": checksum, "files": files}
    script = str(Path(__file__).with_name("xrootd_worker.py"))
    try:
        done = run([interpreter, script], seconds, environment(settings, seconds), feed=json.dumps(work).encode("ascii"))
    except OSError:
        return {}
    answers: dict[int, Look] = {}
    for line in done.out.split(b"\n")[:-1]:
        number, size, flags, value, message = json.loads(line)
        answers[number] = _answer(urls[number], places[number], size, flags, value, message)
    return answers


def _plain(url: str) -> Place | None:
    """Only names that the bindings can hold: UTF-8, without an opaque part."""
    try:
        where = place(url)
        where.path.decode("utf-8")
    except (NameRefused, UnicodeDecodeError):
        return None
    return None if where.opaque else where


def _answer(url: str, where: Place, size: int, flags: int, value: str | None, message: str | None) -> Look:
    from dmtools.names import shown

    if message is not None:
        cls, wide = classify(message, where.texts())
        return Absent() if cls == "missing" else Unknown(f"{shown(url)}: {first_line(message)}", wide)
    if flags & (_NO_FILE | _PENDING):
        return Unknown(f"{shown(url)} {'is no regular file' if flags & _NO_FILE else 'is still being written'}", wide=False)
    try:
        return Present(size, sums.normal(value) if value is not None else None)
    except ValueError:
        return Unknown(f"{shown(url)}: the server gives no adler32 but {value!r}", wide=False)
