"""A file of a DAQ disk -> its LFN, or why it is no data; and the keys on which its place and its LFN are unique."""

from __future__ import annotations

import hashlib
import re

from dmtools.settings.kinds import Daq

FLAGGED, READY = b"ReadyToTransfer", b"ReadyForData"
NEW_READY = b".ReadyForData.dmtmp"  # in the making
NO_FILES = frozenset((FLAGGED, READY, NEW_READY, b"lost+found"))  # at the root of a disk
MOST_DATES = 10_000  # kept
_DATE = re.compile(rb"(?:\d\d)?(\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")


def lfn_key(lfn: str) -> bytes:
    """The 32 bytes of `daq_file.lfn_key`: half for the directory, half for the name, so that neighbours are stored together."""
    directory, _, name = lfn.rpartition("/")
    return half(directory.encode("ascii")) + half(name.encode("ascii"))


def place_key(disk: int, path: str) -> bytes:
    """The 32 bytes of `daq_file.place_key`: of a disk's id and an encoded path below it."""
    directory, _, name = path.rpartition("/")
    return half(b"%d:%b" % (disk, directory.encode("ascii"))) + half(name.encode("ascii"))


def half(text: bytes) -> bytes:
    """Half a key: 16 bytes of a SHA-256."""
    return hashlib.sha256(text).digest()[:16]


class Naming:
    """[daq] pattern and lfn: which files are data, and what their LFN is."""

    def __init__(self, daq: Daq) -> None:
        self._fits = re.compile(_regex(daq.pattern), re.DOTALL).fullmatch
        self._template = daq.lfn
        self._dated = "{YYMM" in daq.lfn
        self._filled: dict[bytes, str] = {}  # the template with its date, by the token that holds the date

    def look(self, path: bytes, name: bytes) -> tuple[str, str | None]:
        """A file's path below its disk, and its name -> its LFN with {path} left to fill in, or why it is no data."""
        if path.startswith(b".") or b"/." in path:
            return "", "a dot-file"
        if self._fits(path) is None:
            return "", "it doesn't fit [daq] pattern"
        token = name.rpartition(b"_")[2].partition(b".")[0].partition(b"T")[0] if self._dated else b""
        known = self._filled.get(token)
        if known is None:
            known = self._fill(token)
            if len(self._filled) < MOST_DATES:
                self._filled[token] = known
        return known, None if known else "no date in its name, which its LFN needs"

    def _fill(self, token: bytes) -> str:
        """The date is what stands behind the last `_` of a name, up to a `.` or a T; empty when that is none."""
        if not self._dated:
            return self._template
        date = _DATE.fullmatch(token)
        if date is None:
            return ""
        year, month, day = (part.decode("ascii") for part in date.groups())
        return self._template.replace("{YYMMDD}", year + month + day).replace("{YYMM}", year + month)


def _regex(pattern: str) -> bytes:
    """`MIG_*/**` -> a regular expression over bytes; ** is any number of directories, at the end any number and a name."""
    made, parts = "", pattern.split("/")
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            made += ".+" if last else "(?:[^/]+/)*"
        else:
            made += _glob(part) + ("" if last else "/")
    return made.encode("utf-8", "surrogateescape")


def _glob(part: str) -> str:
    """`*`: any part of a name; `?`: one byte of it."""
    return "".join({"*": "[^/]*", "?": "[^/]"}.get(letter, re.escape(letter)) for letter in part)
