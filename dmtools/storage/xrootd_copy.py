"""Copies to, from and between XRootD servers: hidden name, checksum proved at both ends, then the rename."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from typing import TYPE_CHECKING

from dmtools.names import NameRefused, file_path, shown
from dmtools.storage import checksum as sums
from dmtools.storage.answers import Absent, Copied, Look, Present, StorageError, Unknown
from dmtools.storage.deadline import streamed
from dmtools.storage.publish import hidden, make_file, open_source, pump, refuse_changed
from dmtools.storage.tools import CALL_SECONDS, call, environment, error_of
from dmtools.storage.xrootd_url import Place, place

if TYPE_CHECKING:
    from dmtools.storage.xrootd import XRootDStore

SLOWEST = 1e6  # bytes a second: a copy that is slower is ended
LEAST_SECONDS = 600.0
_RESULT = re.compile(rb"^adler32: ([0-9a-fA-F]{1,8}) ", re.MULTILINE)
_THIRD_PARTY = 256 << 20  # smaller files are done before a third-party copy is set up
_NUMBER = "0"  # one hidden name a destination: the server's own lock keeps a second writer out


def copy(store: XRootDStore, source: str, destination: str, expect: str | None, overwrite: bool) -> Copied:
    """See Store.copy. Raises StorageError."""
    try:
        wanted = sums.normal(expect) if expect else None
    except ValueError as problem:
        raise StorageError("unsupported", f"{shown(source)} was not copied: {problem}") from None
    if destination.startswith("file:"):
        return _fetch(store, source, destination, wanted, overwrite)
    _placed(destination)
    _refuse_occupied(store, destination, overwrite)
    if not source.startswith("file:"):
        found = _present(store, source, checksum=False)
        third = ["--tpc", "first"] if found.size >= _THIRD_PARTY else []
        return _send(store, source, [*third, _placed(source).full()], destination, wanted, overwrite, found.size)
    path = _local(source)
    with open_source(path) as handle:
        before = os.fstat(handle)
        argument = f"/dev/fd/{handle}"  # a name that xrdcp can't misread, and certainly this file
        copied = _send(store, source, [argument], destination, wanted, overwrite, before.st_size, handle)
        refuse_changed(handle, path, before, copied.size)
    return copied


def _placed(url: str) -> Place:
    try:
        return place(url)
    except NameRefused as refused:
        raise StorageError("invalid", str(refused)) from None


def _local(url: str) -> bytes:
    try:
        return file_path(url)
    except NameRefused as refused:
        raise StorageError("invalid", str(refused)) from None


def _seconds(size: int) -> float:
    return LEAST_SECONDS + size / SLOWEST


def _look(store: XRootDStore, url: str, checksum: bool) -> Look:
    return store.look_many([url], checksum=checksum, deadline=LEAST_SECONDS if checksum else CALL_SECONDS)[0]


def _present(store: XRootDStore, url: str, *, checksum: bool) -> Present:
    found = _look(store, url, checksum)
    if isinstance(found, Absent):
        raise StorageError("missing", f"{shown(url)} is not there; nothing was copied")
    if isinstance(found, Unknown):
        raise StorageError("unreachable" if found.wide else "permission", found.reason, wide=found.wide)
    return found


def _refuse_occupied(store: XRootDStore, url: str, overwrite: bool) -> None:
    if overwrite:
        return
    found = _look(store, url, checksum=False)
    if isinstance(found, Present):
        raise StorageError("occupied", f"{shown(url)} is there already; it was left, nothing was copied")
    if isinstance(found, Unknown):
        raise StorageError("unreachable" if found.wide else "occupied", found.reason, wide=found.wide)


def _send(
    store: XRootDStore,
    source: str,
    arguments: list[str | bytes],
    destination: str,
    wanted: str | None,
    overwrite: bool,
    size: int,
    handle: int | None = None,
) -> Copied:
    """By xrdcp to the hidden name, then the rename. An object store has no rename: there the copy goes straight."""
    target = _placed(destination)
    direct = not target.path.startswith(b"/")
    at = target.path if direct else hidden(target.path, _NUMBER)
    argv: list[str | bytes] = ["xrdcp", "--nopbar", "--posc", "--rm-bad-cksum"]
    argv += ["--cksum", f"adler32:{wanted.partition(':')[2] if wanted else 'source'}"]
    argv += ["--force"] if overwrite or not direct else []
    seconds = _seconds(size)
    done = call([*argv, *arguments, target.full(path=at)], store.settings, seconds, [] if handle is None else [handle])
    value = _RESULT.search(done.err)  # not printed when the value was given: then it is that one
    try:
        if done.code != 0 or (value is None and wanted is None):
            blotted = (*target.texts(), os.fsdecode(at), *(os.fsdecode(part) for part in arguments))
            raise error_of(done, source, f"copied to {shown(destination)}", blotted, seconds)
        copied = Copied(size, sums.normal(value[1].decode("ascii")) if value else str(wanted))
        if wanted is not None and copied.checksum != wanted:
            raise StorageError(
                "checksum", f"{shown(source)} was not copied: its checksum is {copied.checksum}, expected {wanted}"
            )
        if not direct:
            _refuse_occupied(store, destination, overwrite)
            moved = call(["xrdfs", target.endpoint, "mv", at, target.path], store.settings)
            if moved.code != 0:
                raise error_of(moved, destination, "put at its name", target.texts(), CALL_SECONDS)
    except StorageError:
        if not direct:
            with contextlib.suppress(StorageError):
                call(["xrdfs", target.endpoint, "rm", at], store.settings)
        raise
    found = _present(store, destination, checksum=False)
    if found.size != size:
        raise StorageError("changed", f"{shown(destination)} has {found.size} bytes after its copy, expected {size}")
    return copied


def _fetch(store: XRootDStore, source: str, destination: str, wanted: str | None, overwrite: bool) -> Copied:
    """By xrdcp through a pipe: our own adler32 over what came, against the server's."""
    origin, target = _placed(source), _local(destination)
    found = _present(store, source, checksum=True)
    if wanted is not None and found.checksum != wanted:
        raise StorageError("checksum", f"{shown(source)} was not copied: its checksum is {found.checksum}, expected {wanted}")
    seconds = _seconds(found.size)

    def fill(writer: int) -> Copied:
        argv: list[str | bytes] = ["xrdcp", "--nopbar", "--silent", origin.full(), "-"]
        with streamed(argv, seconds, environment(store.settings, seconds)) as (reader, finish):
            with contextlib.suppress(OSError):
                fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 1 << 20)
            copied = pump(reader, writer, origin.full(), target, found.size)
            done = finish()
        if done.code != 0:
            raise error_of(done, source, "read", origin.texts(), seconds)
        if Present(copied.size, copied.checksum) != found:
            raise StorageError("checksum", f"{shown(source)}: {copied} came, but the server says {found}; nothing was kept")
        return copied

    return make_file(target, overwrite, f"{os.getpid()}", 0o640, fill)
