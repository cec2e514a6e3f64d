"""A file of a DAQ disk -> its LFN, or why it is no data; and the keys on which its place and its LFN are unique."""

from __future__ import annotations

import hashlib
import re

from dmtools import names
from dmtools.settings.kinds import Daq

FLAGGED, READY = b"ReadyToTransfer", b"ReadyForData"
NEW_READY = b".ReadyForData.dmtmp"  # in the making
NO_FILES = frozenset((FLAGGED, READY, NEW_READY, b"lost+found"))  # at the root of a disk
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
        self._pattern = re.compile(_regex(daq.pattern), re.DOTALL)
        self._template = daq.lfn
        self._dates: dict[bytes, str] = {}  # the LFN's part before {path}, by the date of the name
        self._simple = daq.lfn.endswith("{path}") and daq.lfn.count("{path}") == 1

    def refusal(self, path: bytes) -> str | None:
        """Why the file at this path below its disk is no data; None when it is."""
        if path.startswith(b".") or b"/." in path:
            return "a dot-file"
        if self._pattern.fullmatch(path) is None:
            return "it doesn't fit [daq] pattern"
        if not self._dates_of(path.rpartition(b"/")[2]):
            return "no date in its name, which its LFN needs"
        return None

    def lfn(self, path: bytes) -> str:
        """The LFN of a path that is not refused."""
        before = self._dates_of(path.rpartition(b"/")[2])
        encoded = names.encode(path)
        return before + encoded if self._simple else before.replace("{path}", encoded)

    def _dates_of(self, name: bytes) -> str:
        """The template with the date that stands behind the last `_` of the name; empty when it needs one and there is none."""
        token = name.partition(b".")[0].rpartition(b"_")[2].partition(b"T")[0]
        known = self._dates.get(token)
        if known is None:
            known = self._fill(token)
            if len(self._dates) < 10_000:
                self._dates[token] = known
        return known

    def _fill(self, token: bytes) -> str:
        text = self._template.removesuffix("{path}") if self._simple else self._template
        if "{YYMM" not in text:
            return text
        date = _DATE.fullmatch(token)
        if date is None:
            return ""
        year, month, day = (part.decode("ascii") for part in date.groups())
        return text.replace("{YYMMDD}", year + month + day).replace("{YYMM}", year + month)


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
