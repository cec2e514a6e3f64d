"""XRootD storages by the commands xrdfs and xrdcp: every call is a process that its deadline ends."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dmtools.names import NameRefused, encode, shown
from dmtools.storage import checksum as sums
from dmtools.storage.answers import RESIDENCIES, Absent, Copied, Entry, Look, Looks, Mark, Present, StorageError, Unknown
from dmtools.storage.tools import CALL_SECONDS, call, error_of, look_of
from dmtools.storage.xrootd_url import Place, place

if TYPE_CHECKING:
    from dmtools.settings import Settings

AT_ONCE = 4  # as many checksums as a server computes at once by its usual settings
_DIRECTORY, _OTHER, _OFFLINE, _PENDING, _BACKED_UP = 2, 4, 8, 64, 128  # the flags of a stat, as the protocol numbers them
_STAT = re.compile(rb"^(Id|Size|MTime|Flags):\s+(.*?)\s*$", re.MULTILINE)
_STATUS = re.compile(rb'^user\.status="([^"]*)"\s*$', re.MULTILINE)
_LINE = re.compile(
    rb"(?P<kind>[-dlscbpo])[-rwxstST]{3,9}\S*\s+(?:\S+\s+\S+\s+(?P<size>\d+)\s+(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)"
    rb"|(?P<time4>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\s+(?P<size4>\d+))\s(?P<path>/?.+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Stat:
    """What `xrdfs stat` said: size in bytes, mtime in seconds since 1970, the server's id and flags."""

    size: int
    mtime: int
    ident: int
    flags: int

    @property
    def is_file(self) -> bool:
        """A regular file."""
        return not self.flags & (_DIRECTORY | _OTHER)


def parse_stat(out: bytes) -> Stat | None:
    """The output of `xrdfs HOST stat PATH`; None when it is none."""
    found = dict(_STAT.findall(out))
    try:
        mtime = datetime.strptime(found[b"MTime"].decode("ascii"), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        ident = int(found.get(b"Id", b"0") or 0)
        return Stat(int(found[b"Size"]), int(mtime.timestamp()), ident, int(found[b"Flags"].split()[0]))
    except (KeyError, ValueError, IndexError, UnicodeDecodeError):
        return None


def _placed(url: str) -> Place:
    try:
        return place(url)
    except NameRefused as refused:
        raise StorageError("invalid", str(refused)) from None


class XRootDStore:
    """`root://` and its kin."""

    scheme = "root"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def look_many(self, urls: Sequence[str], *, checksum: bool = True, deadline: float) -> Looks:
        """One answer for each URL, in order, several asked at once; a server in trouble is not asked for the rest."""
        from dmtools.storage import bulk

        end = time.monotonic() + deadline
        answers = bulk.look_many(urls, checksum, deadline, self.settings)
        troubled: dict[str, Unknown] = {}

        def one(number: int) -> Look:
            known = answers.get(number)
            return known if known is not None else self._look(urls[number], checksum, end, troubled)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return [*pool.map(one, range(len(urls)))]

    def _look(self, url: str, checksum: bool, end: float, troubled: dict[str, Unknown]) -> Look:
        try:
            where = place(url)
        except NameRefused as refused:
            return Unknown(str(refused), wide=False)
        if where.endpoint in troubled:
            return Unknown(f"{shown(url)}: not asked after {troubled[where.endpoint].reason}", wide=True)
        left = end - time.monotonic()
        if left <= 0:
            return Unknown(f"{shown(url)}: not asked, the time was up", wide=True)
        found = self._ask(url, where, checksum, left)
        if isinstance(found, Unknown) and found.wide:
            troubled[where.endpoint] = found
        return found

    def _ask(self, url: str, where: Place, checksum: bool, seconds: float) -> Look:
        began = time.monotonic()
        try:
            found = self._stat(url, where, seconds)
        except StorageError as problem:
            return Unknown(problem.reason, problem.wide)
        if not isinstance(found, Stat):
            return found
        if not found.is_file or found.flags & _PENDING:
            why = "is still being written" if found.is_file else "is no regular file"
            return Unknown(f"{shown(url)} {why}", wide=False)
        if not checksum:
            return Present(found.size, None)
        left = max(1.0, seconds - (time.monotonic() - began))
        done = call(["xrdfs", where.endpoint, "query", "checksum", where.asked(b"cks.type=adler32")], self.settings, left)
        if done.code != 0:
            return look_of(done, url, where.texts(), left)
        try:
            kind, value = done.out.decode("ascii").strip("\0 \n").split()[:2]
            return Present(found.size, sums.normal(f"{kind}:{value}"))
        except ValueError:
            said = done.out.decode("ascii", "replace").strip("\0 \n")
            return Unknown(f"{shown(url)}: the server gives no adler32 but {said!r}", wide=False)

    def _stat(self, url: str, where: Place, seconds: float = CALL_SECONDS) -> Stat | Absent | Unknown:
        done = call(["xrdfs", where.endpoint, "stat", where.asked()], self.settings, seconds)
        if done.code != 0:
            return look_of(done, url, where.texts(), seconds)
        return parse_stat(done.out) or Unknown(f"{shown(url)}: xrdfs stat gave an answer that can't be read", wide=True)

    def _stat_or_raise(self, url: str, act: str) -> Stat | None:
        where = _placed(url)
        done = call(["xrdfs", where.endpoint, "stat", where.asked()], self.settings)
        found = parse_stat(done.out) if done.code == 0 else None
        if found is None:
            problem = error_of(done, url, act, where.texts(), CALL_SECONDS)
            if problem.cls != "missing":
                raise problem
        return found

    def list(self, url: str) -> Iterator[Entry]:
        """Every file below a directory, one `xrdfs ls -l` a directory; parts that can't be read are told at the end."""
        top = _placed(url)
        waiting, troubles = [top.path], list[str]()
        while waiting:
            directory = waiting.pop()
            done = call(["xrdfs", top.endpoint, "ls", "-l", directory], self.settings)
            if done.code != 0:
                name = f"{top.endpoint}/{encode(directory)}"
                problem = error_of(done, name, "listed", (os.fsdecode(directory),), CALL_SECONDS)
                if directory == top.path or problem.wide:
                    raise problem
                troubles.append(problem.reason)
                continue
            for line in filter(None, done.out.split(b"\n")):
                entry = _entry(top, directory, line)
                if entry is None:
                    troubles.append(f"a line that can't be read: {line.decode('utf-8', 'backslashreplace')}")
                elif entry.kind == "directory":
                    waiting.append(place(entry.url).path)
                else:
                    yield entry
        if troubles:
            raise StorageError("permission", f"{shown(url)} was listed, but not all: {'; '.join(troubles[:3])}")

    def copy(
        self, source: str, destination: str, *, expect: str | None = None, overwrite: bool = False, fence: int | None = None
    ) -> Copied:
        """To, from or between XRootD servers; see dmtools.storage.xrootd_copy."""
        from dmtools.storage.xrootd_copy import copy

        return copy(self, source, destination, expect, overwrite)

    def mark(self, url: str) -> Mark | None:
        """The server's id, size and mtime (seconds) of a file; None when absent. Raises StorageError."""
        found = self._stat_or_raise(url, "looked at")
        return Mark(found.ident, found.size, found.mtime) if found else None

    def delete(self, url: str, *, mark: Mark | None = None) -> None:
        """Looks once more, then removes the file; absent already is done. Raises StorageError."""
        found = self._stat_or_raise(url, "looked at")
        if found is None:
            return
        if not found.is_file:
            raise StorageError("invalid", f"{shown(url)} is no regular file and was left; only files are deleted")
        if mark is not None and Mark(found.ident, found.size, found.mtime) != mark:
            raise StorageError("changed", f"{shown(url)} is not the file that was proved; it was left")
        where = _placed(url)
        done = call(["xrdfs", where.endpoint, "rm", where.asked()], self.settings)
        if done.code != 0 and (problem := error_of(done, url, "deleted", where.texts(), CALL_SECONDS)).cls != "missing":
            raise problem

    def residency(self, url: str) -> str:
        """By the flags of a stat: offline, and whether a copy is on tape; else by the extended attribute `user.status`.

        Raises StorageError("missing").
        """
        where = _placed(url)
        found = self._stat(url, where)
        if isinstance(found, Absent):
            raise StorageError("missing", f"{shown(url)} is not there")
        if isinstance(found, Unknown):
            return "UNKNOWN"
        if found.flags & _OFFLINE:
            return "NEARLINE"
        return "ONLINE_AND_NEARLINE" if found.flags & _BACKED_UP else self._status_said(where)

    def _status_said(self, where: Place) -> str:
        """The attribute that a tape's server gives its files; ONLINE where there is none."""
        done = call(["xrdfs", where.endpoint, "xattr", where.asked(), "get", "user.status"], self.settings)
        said = _STATUS.search(done.out) if done.code == 0 else None
        if said is None:
            return "ONLINE"
        status = said[1].decode("ascii", "replace")
        return status if status in RESIDENCIES else "UNKNOWN"

    def free(self, url: str) -> tuple[int, int] | None:
        """(free, total) bytes by `query space`; None when the server doesn't say."""
        where = _placed(url)
        done = call(["xrdfs", where.endpoint, "query", "space", where.path], self.settings)
        said = dict(part.partition("=")[::2] for part in done.out.decode("ascii", "replace").strip("\0 \n").split("&"))
        try:
            return int(said["oss.free"]), int(said["oss.space"])
        except (KeyError, ValueError):
            return None

    def trouble(self, url: str) -> str | None:
        """Why the directory can't be worked with: absent, no directory, the server away."""
        found = self._stat(url, _placed(url))
        if isinstance(found, Unknown):
            return found.reason
        if isinstance(found, Absent):
            return f"{shown(url)} is not there"
        return None if found.flags & _DIRECTORY else f"{shown(url)} is no directory"


def _entry(top: Place, directory: bytes, line: bytes) -> Entry | None:
    """One line of `xrdfs ls -l`, of version 5 or 4; `kind` may also be "directory"."""
    match = _LINE.fullmatch(line)
    if not match or not match["path"].startswith(directory.rstrip(b"/") + b"/"):
        return None
    instant = datetime.strptime((match["time"] or match["time4"]).decode("ascii"), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    kind = {b"d": "directory", b"-": "file", b"l": "link"}.get(match["kind"], "other")
    if kind == "file" and re.fullmatch(rb"\..*\.[0-9-]+\.dmtmp", os.path.basename(match["path"]), re.DOTALL):
        kind = "temporary"
    return Entry(f"{top.endpoint}/{encode(match['path'])}", int(match["size"] or match["size4"]), instant.timestamp(), kind)
