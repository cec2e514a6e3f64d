"""A disk that stops to answer in the middle of a read, as one of a dying controller does: a FUSE file system of the test's own.

It shows a directory, read-only, and can be made to fall silent: from then on each call on it waits in the kernel, and nobody
can tell it from a disk that hangs. What it said before, the kernel may keep (`keeps`): then the root looks well all the time.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

_LIBC = ctypes.CDLL(None, use_errno=True)
_FORCE, _DETACH = 1, 2
_HEAD = struct.Struct("<IIQQIIII")
LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE, INIT, OPENDIR, READDIR, RELEASEDIR = 1, 2, 3, 14, 15, 18, 26, 27, 28, 29
FORGET_MANY = 42
_UNANSWERED = (FORGET, FORGET_MANY)
_DIRECT = 1  # each read of a program is a read here
FOR_LONG = 3600


class FuseDisk:
    """`directory` as it is seen at `place`. With `reads` it falls silent when it has answered so many reads of files."""

    def __init__(self, directory: Path, place: Path, *, reads: int, keeps: bool) -> None:
        self.place, self._left, self._keeps = place, reads, keeps
        self._paths = {1: os.fsencode(directory)}
        self._talks = threading.Event()
        self._talks.set()
        self._device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other".encode("ascii")
        if _LIBC.mount(b"fuse-disk", os.fsencode(place), b"fuse", 1, options) != 0:  # 1: read-only
            raise OSError(ctypes.get_errno(), "mount")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def is_silent(self) -> bool:
        """Does it hang now?"""
        return not self._talks.is_set()

    def talk(self) -> None:
        """It answers again, and goes on doing so."""
        self._left = -1
        self._talks.set()

    def tear_off(self) -> None:
        """The device is gone: each call on it is an error from now on, also those that wait."""
        _LIBC.umount2(os.fsencode(self.place), _FORCE)

    def close(self) -> None:
        """Takes it away; who still waits for it gets an error."""
        self.talk()
        if self._device >= 0:
            self.tear_off()
            _LIBC.umount2(os.fsencode(self.place), _DETACH)
            self._thread.join(60)
            os.close(self._device)
            self._device = -1

    def _serve(self) -> None:
        while True:
            self._talks.wait()
            try:
                asked = os.read(self._device, 1 << 20)
            except OSError as problem:
                if problem.errno == errno.ENOENT:  # who asked has gone
                    continue
                return
            _, what, number, node, *_ = _HEAD.unpack_from(asked)
            if what in _UNANSWERED:
                continue
            error, body = 0, b""
            try:
                body = self._answers.get(what, _unknown)(self, node, asked[_HEAD.size :])
            except OSError as problem:
                error = -(problem.errno or errno.EIO)
            with contextlib.suppress(OSError):
                os.write(self._device, struct.pack("<IiQ", 16 + len(body), error, number) + body)
            if what == READ and self._left > 0:
                self._left -= 1
                if self._left == 0:
                    self._talks.clear()

    # ---- the answers

    def _init(self, _: int, asked: bytes) -> bytes:
        minor, ahead = struct.unpack_from("<4xII", asked)
        return struct.pack("<IIIIHHII8x28x", 7, min(minor, 31), ahead, 0, 12, 9, 1 << 16, 1)

    def _look_up(self, node: int, asked: bytes) -> bytes:
        path, long = self._paths[node] + b"/" + asked.rstrip(b"\0"), FOR_LONG * self._keeps
        if not os.path.lexists(path):
            return struct.pack("<QQQ104x", 0, 0, long)
        found = os.lstat(path)
        self._paths[found.st_ino] = path
        return struct.pack("<QQQQII", found.st_ino, 0, long, long, 0, 0) + _attributes(found)

    def _get_attributes(self, node: int, _: bytes) -> bytes:
        return struct.pack("<QII", FOR_LONG * self._keeps, 0, 0) + _attributes(os.lstat(self._paths[node]))

    def _open(self, _: int, __: bytes) -> bytes:
        return struct.pack("<QII", 0, _DIRECT, 0)

    def _read(self, node: int, asked: bytes) -> bytes:
        place, size = struct.unpack_from("<8xQI", asked)
        with open(self._paths[node], "rb") as file:
            file.seek(place)
            return file.read(size)

    def _list(self, node: int, asked: bytes) -> bytes:
        place, size = struct.unpack_from("<8xQI", asked)
        made = b""
        for number, name in enumerate(sorted(os.listdir(self._paths[node])), 1):
            if number <= place:
                continue
            entry = struct.pack("<QQII", 2**32 + number, number, len(name), 0) + name
            entry += bytes(-len(entry) % 8)
            if len(made) + len(entry) > size:
                break
            made += entry
        return made

    def _nothing(self, _: int, __: bytes) -> bytes:
        return b""

    _answers: ClassVar[dict[int, Callable[[FuseDisk, int, bytes], bytes]]] = {
        INIT: _init,
        LOOKUP: _look_up,
        GETATTR: _get_attributes,
        OPEN: _open,
        OPENDIR: _open,
        READ: _read,
        READDIR: _list,
        RELEASE: _nothing,
        RELEASEDIR: _nothing,
    }


def _unknown(_: FuseDisk, __: int, ___: bytes) -> bytes:
    raise OSError(errno.ENOSYS, "")


def _attributes(found: os.stat_result) -> bytes:
    times = [divmod(ns, 10**9) for ns in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
    sizes = (found.st_ino, found.st_size, found.st_blocks, *(seconds for seconds, _ in times))
    rest = (*(ns for _, ns in times), found.st_mode, found.st_nlink, found.st_uid, found.st_gid, 0, 4096, 0)
    return struct.pack("<6Q10I", *sizes, *rest)
