"""Storages that only the gfal2 tools know here: https, davs, srm, gsiftp (and root without xrdfs)."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dmtools.names import NameRefused, check_path, decode, encode, file_path, shown
from dmtools.storage import checksum as sums
from dmtools.storage.answers import Absent, Copied, Entry, Look, Looks, Mark, Present, StorageError, Unknown
from dmtools.storage.local import LocalStore
from dmtools.storage.publish import adopt, hidden, open_source, prepare, refuse_changed
from dmtools.storage.tools import CALL_SECONDS, call, error_of, look_of

if TYPE_CHECKING:
    from dmtools.settings import Settings

AT_ONCE = 6
TOOLS = ("gfal-stat", "gfal-sum", "gfal-copy", "gfal-rename", "gfal-rm", "gfal-xattr", "gfal-ls")
PLUGINS = {"http": "http", "https": "http", "dav": "http", "davs": "http", "s3": "http", "s3s": "http"}
PLUGINS |= {"srm": "srm", "gsiftp": "gridftp", "root": "xrootd", "roots": "xrootd", "xroot": "xrootd", "xroots": "xrootd"}
RESIDENCIES = frozenset({"ONLINE", "NEARLINE", "ONLINE_AND_NEARLINE", "LOST", "UNKNOWN"})
SLOWEST = 1e6
LEAST_SECONDS = 600.0
_SIZE = re.compile(r"^\s*Size: (\d+)\s+(.*?)\s*$", re.MULTILINE)
_LINE = re.compile(
    r"(?P<kind>[-dlscbp])[-rwxstST]{9}\s+\d+\s+\S+\s+\S+\s+(?P<size>\d+) (?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\S*"
    r" [+-]\d{4} (?P<name>.+)\t",
    re.DOTALL,
)
_MODIFY = re.compile(r"^Modify: (\S+ \S+?)(?:\.\d+)?$", re.MULTILINE)


def has_plugin(scheme: str) -> bool:
    """Whether gfal2 has its part for the scheme: it is a file of its own that may not be installed."""
    name = f"libgfal_plugin_{PLUGINS.get(scheme, '?')}.so"
    places = [
        os.environ.get("GFAL_PLUGIN_DIR", ""),
        "/usr/lib/*/gfal2-plugins",
        "/usr/lib64/gfal2-plugins",
        "/usr/lib/gfal2-plugins",
    ]
    return any(glob.glob(f"{place}/{name}") for place in places if place)


def _checked(url: str) -> str:
    """The URL itself. Raises StorageError for what could lead out of a root or be read as an option."""
    rest = url.partition("://")[2]
    try:
        host, slash, path = rest.partition("/")
        if not host or not slash:
            raise NameRefused(f"{url} names no host and path")
        check_path(b"/" + decode(path), url)
    except NameRefused as refused:
        raise StorageError("invalid", str(refused)) from None
    return url


class GfalStore:
    """What gfal-stat, gfal-sum, gfal-copy, gfal-rm, gfal-xattr and gfal-ls can do; each call has a deadline."""

    def __init__(self, scheme: str, settings: Settings) -> None:
        self.scheme = scheme
        self.settings = settings

    def look_many(self, urls: Sequence[str], *, checksum: bool = True, deadline: float) -> Looks:
        """One answer for each URL, in order, several asked at once; a host in trouble is not asked for the rest."""
        end = time.monotonic() + deadline
        troubled: dict[str, Unknown] = {}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return [*pool.map(lambda url: self._look(url, checksum, end, troubled), urls)]

    def _look(self, url: str, checksum: bool, end: float, troubled: dict[str, Unknown]) -> Look:
        host = "/".join(url.split("/", 3)[:3])
        if host in troubled:
            return Unknown(f"{shown(url)}: not asked after {troubled[host].reason}", wide=True)
        left = end - time.monotonic()
        if left <= 0:
            return Unknown(f"{shown(url)}: not asked, the time was up", wide=True)
        try:
            found = self._ask(_checked(url), checksum, left)
        except StorageError as problem:
            return Unknown(problem.reason, problem.wide)
        if isinstance(found, Unknown) and found.wide:
            troubled[host] = found
        return found

    def _ask(self, url: str, checksum: bool, seconds: float) -> Look:
        began = time.monotonic()
        done = call(["gfal-stat", url], self.settings, seconds)
        if done.code != 0:
            return look_of(done, url, [url], seconds)
        match = _SIZE.search(done.out.decode("utf-8", "replace"))
        if match is None:
            return Unknown(f"{shown(url)}: gfal-stat gave an answer that can't be read", wide=True)
        if match[2] == "directory":
            return Unknown(f"{shown(url)} is a directory", wide=False)
        if not checksum:
            return Present(int(match[1]), None)
        left = max(1.0, seconds - (time.monotonic() - began))
        done = call(["gfal-sum", url, "ADLER32"], self.settings, left)
        if done.code != 0:
            return look_of(done, url, [url], left)
        try:
            return Present(int(match[1]), sums.normal(done.out.decode("ascii", "replace").rsplit(None, 1)[-1]))
        except (ValueError, IndexError):
            return Unknown(f"{shown(url)}: gfal-sum gave no adler32", wide=False)

    def list(self, url: str) -> Iterator[Entry]:
        """Every file below a directory, one `gfal-ls` a directory. Names that aren't UTF-8 make the tool fail, and it is told."""
        waiting, troubles = [_checked(url).rstrip("/")], list[str]()
        while waiting:
            directory = waiting.pop()
            done = call(["gfal-ls", "-al", "--time-style=full-iso", "--color=never", directory], self.settings)
            if done.code != 0 or b"Traceback" in done.err:
                problem = error_of(done, directory, "listed", [directory], CALL_SECONDS)
                if directory == url.rstrip("/") or problem.wide:
                    raise problem
                troubles.append(problem.reason)
                continue
            for line in filter(None, done.out.decode("utf-8", "surrogateescape").split("\n")):
                entry = _entry(directory, line)
                if entry is None:
                    troubles.append(f"a line that can't be read: {line!r}")
                elif entry.kind == "directory":
                    waiting.append(entry.url)
                elif entry.kind != "dot":
                    yield entry
        if troubles:
            raise StorageError("permission", f"{shown(url)} was listed, but not all: {'; '.join(troubles[:3])}")

    def copy(
        self, source: str, destination: str, *, expect: str | None = None, overwrite: bool = False, fence: int | None = None
    ) -> Copied:
        """By gfal-copy under a hidden name, with the checksum verified at both ends, then renamed. Raises StorageError."""
        try:
            wanted = sums.normal(expect) if expect else None
        except ValueError as problem:
            raise StorageError("unsupported", f"{shown(source)} was not copied: {problem}") from None
        if destination.startswith("file:"):
            return self._fetch(source, destination, wanted, overwrite)
        if not source.startswith("file:"):
            return self._send(_checked(source), source, destination, wanted, overwrite, ())
        try:
            path = file_path(source)
        except NameRefused as refused:
            raise StorageError("invalid", str(refused)) from None
        with open_source(path) as handle:
            before = os.fstat(handle)
            copied = self._send(f"file:///dev/fd/{handle}", source, destination, wanted, overwrite, (handle,))
            refuse_changed(handle, path, before, copied.size)
        return copied

    def _send(
        self, argument: str, source: str, destination: str, wanted: str | None, overwrite: bool, handles: tuple[int, ...]
    ) -> Copied:
        """To a hidden name, and renamed when the storage says that it is equal; what failed is taken away.

        A name that the URL must encode is written at once: some servers (XRootD's http) take a rename's target literally.
        """
        self._refuse_occupied(_checked(destination), overwrite)
        at = destination if "%" in destination else _hidden(destination)
        argv = ["gfal-copy", "-p", "-K", f"ADLER32:{wanted.partition(':')[2]}" if wanted else "ADLER32"]
        argv += ["--checksum-mode", "both", *(["-f"] if overwrite or at != destination else []), argument, at]
        size = os.fstat(handles[0]).st_size if handles else self._present(source, checksum=False).size
        seconds = LEAST_SECONDS + size / SLOWEST
        try:
            done = call(argv, self.settings, seconds, handles)
            if done.code != 0:
                raise error_of(done, source, f"copied to {shown(destination)}", [source, argument, at], seconds)
            found = self._present(at, checksum=True)
            if found.size != size or found.checksum is None or (wanted is not None and found.checksum != wanted):
                why = f"{shown(destination)} is {found} after its copy, expected {size} bytes, {wanted or ''}"
                raise StorageError("checksum", why)
            if at != destination:
                self._rename(at, destination, overwrite)
        except StorageError as problem:
            if problem.cls != "occupied" or at != destination:
                with contextlib.suppress(StorageError):
                    self.delete(at)
            raise
        return Copied(found.size, found.checksum)

    def _rename(self, at: str, destination: str, overwrite: bool) -> None:
        self._refuse_occupied(destination, overwrite)
        done = call(["gfal-rename", at, destination], self.settings)
        if done.code != 0:
            raise error_of(done, destination, "given its name", [at, destination], CALL_SECONDS)

    def _refuse_occupied(self, url: str, overwrite: bool) -> None:
        if not overwrite and self.mark(url) is not None:
            raise StorageError("occupied", f"{shown(url)} is there already and was left")

    def _fetch(self, source: str, destination: str, wanted: str | None, overwrite: bool) -> Copied:
        """To a hidden file beside the destination whose name is plain ASCII, then fsync and rename."""
        try:
            target = file_path(destination)
        except NameRefused as refused:
            raise StorageError("invalid", str(refused)) from None
        found = self._present(_checked(source), checksum=True)
        directory = prepare(target, overwrite)
        name = f".{hashlib.sha256(target).hexdigest()[:32]}.gfal.dmtmp"
        temporary = os.path.join(directory, name.encode("ascii"))
        seconds = LEAST_SECONDS + found.size / SLOWEST
        place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)  # the tools can't name every directory, but all know /dev/fd
        try:
            check = (wanted or found.checksum or "").partition(":")[2]
            argv = [
                "gfal-copy",
                "-f",
                "-K",
                f"ADLER32:{check}",
                "--checksum-mode",
                "both",
                source,
                f"file:///dev/fd/{place}/{name}",
            ]
            done = call(argv, self.settings, seconds, [place])
            if done.code != 0:
                raise error_of(done, source, f"copied to {shown(destination)}", [source, destination], seconds)
            here = LocalStore().look_many(["file://" + encode(temporary)], deadline=seconds)[0]
            if here != found or found.checksum is None:
                raise StorageError("checksum", f"{shown(source)} came as {here}, but its storage says {found}; nothing was kept")
            adopt(temporary, target, overwrite)
        finally:
            os.close(place)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        return Copied(found.size, found.checksum)

    def _present(self, url: str, *, checksum: bool) -> Present:
        found = self.look_many([url], checksum=checksum, deadline=LEAST_SECONDS if checksum else CALL_SECONDS)[0]
        if isinstance(found, Absent):
            raise StorageError("missing", f"{shown(url)} is not there")
        if isinstance(found, Unknown):
            raise StorageError("unreachable" if found.wide else "permission", found.reason, wide=found.wide)
        return found

    def mark(self, url: str) -> Mark | None:
        """Size and mtime (seconds) of a file; None when absent. Raises StorageError."""
        done = call(["gfal-stat", _checked(url)], self.settings)
        if done.code != 0:
            problem = error_of(done, url, "looked at", [url], CALL_SECONDS)
            if problem.cls == "missing":
                return None
            raise problem
        text = done.out.decode("utf-8", "replace")
        size, changed = _SIZE.search(text), _MODIFY.search(text)
        if size is None or changed is None:
            raise StorageError("io", f"{shown(url)}: gfal-stat gave an answer that can't be read")
        if size[2] == "directory":
            raise StorageError("invalid", f"{shown(url)} is a directory; only files are deleted")
        instant = datetime.strptime(changed[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        return Mark(0, int(size[1]), int(instant.timestamp()))

    def delete(self, url: str, *, mark: Mark | None = None) -> None:
        """Looks once more, then gfal-rm without -r; absent already is done. Raises StorageError."""
        now = self.mark(url)
        if now is None:
            return
        if mark is not None and now != mark:
            raise StorageError("changed", f"{shown(url)} is not the file that was proved; it was left")
        done = call(["gfal-rm", url], self.settings)
        if done.code != 0 and (problem := error_of(done, url, "deleted", [url], CALL_SECONDS)).cls != "missing":
            raise problem

    def residency(self, url: str) -> str:
        """The extended attribute `user.status`; UNKNOWN where it can't be had. Raises StorageError("missing")."""
        done = call(["gfal-xattr", _checked(url), "user.status"], self.settings)
        if done.code != 0:
            if error_of(done, url, "asked", [url], CALL_SECONDS).cls == "missing":
                raise StorageError("missing", f"{shown(url)} is not there")
            return "UNKNOWN"
        status = done.out.decode("ascii", "replace").strip().rstrip("\0")
        return status if status in RESIDENCIES else "UNKNOWN"

    def free(self, url: str) -> tuple[int, int] | None:
        """The gfal tools have no common way to ask: None."""
        return None

    def trouble(self, url: str) -> str | None:
        """Why the directory can't be worked with: absent, no directory, the server away."""
        done = call(["gfal-stat", _checked(url)], self.settings)
        if done.code != 0:
            return error_of(done, url, "looked at", [url], CALL_SECONDS).reason
        match = _SIZE.search(done.out.decode("utf-8", "replace"))
        return None if match and match[2] == "directory" else f"{shown(url)} is no directory"


def _hidden(url: str) -> str:
    """Where a copy is made: what a killed one left there is written over by the next."""
    directory, _, name = url.rpartition("/")
    return f"{directory}/{encode(hidden(decode(name), '0'))}"


def _entry(directory: str, line: str) -> Entry | None:
    """One line of gfal-ls -al --time-style=full-iso; `kind` may also be "directory" or "dot"."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    name = match["name"].encode("utf-8", "surrogateescape")
    kind = {"d": "directory", "-": "file", "l": "link"}.get(match["kind"], "other")
    if name in (b".", b".."):
        kind = "dot"
    elif kind == "file" and name.startswith(b".") and name.endswith(b".dmtmp"):
        kind = "temporary"
    instant = datetime.strptime(match["time"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return Entry(f"{directory}/{encode(name)}", int(match["size"]), instant.timestamp(), kind)
