"""Where files are: local directories below one root, by real path, and XRootD servers through their own tools."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote_to_bytes

BLOCK = 1 << 20


class Writer(Protocol):
    """An open destination."""

    identity: str

    def write(self, block: memoryview | bytes) -> None:
        """Appends. Raises OSError."""

    def close(self) -> None:
        """Ends the file, and tells by OSError when it could not."""

    def abandon(self) -> None:
        """Lets go of it without an error, whatever its state."""


class Place(Protocol):
    """What the copy needs of a storage; every method raises OSError with the errno that FTS3 shows."""

    def size(self, url: str) -> int:
        """Bytes of a file that is there."""

    def checksum(self, url: str, algorithm: str, check: Callable[[], None]) -> str:
        """Hexadecimal digits; `check` is called between blocks."""

    def remove(self, url: str, identity: str | None = None) -> None:
        """Removes the file if it is there (and still the one with this identity)."""

    def make_parents(self, url: str) -> None:
        """Makes, as mkdir -p,  the directory that the file goes to."""

    def read(self, url: str) -> Iterator[memoryview]:
        """The file's bytes, block by block."""

    def open_new(self, url: str, replace: bool) -> Writer:
        """Begins a file that must not be there yet; with `replace` it may."""


def adler32() -> Callable[[bytes | memoryview, int], int]:
    """The fastest adler32 that is installed."""
    try:
        from zlib_ng import zlib_ng

        return zlib_ng.adler32
    except ImportError:
        return zlib.adler32


class Digest:
    """A running checksum of one of the algorithms that storages know. Raises OSError(EOPNOTSUPP) for another."""

    def __init__(self, algorithm: str) -> None:
        self._name = algorithm.lower().replace("-", "")
        self._value = 1 if self._name == "adler32" else 0
        if self._name not in ("adler32", "crc32"):
            if self._name not in ("md5", "sha1", "sha256", "sha512"):
                raise OSError(errno.EOPNOTSUPP, f"Checksum type {algorithm} is not supported")
            self._hash = hashlib.new(self._name)
        self._roll = adler32() if self._name == "adler32" else zlib.crc32

    def update(self, block: bytes | memoryview) -> None:
        """Takes the next bytes."""
        if self._name in ("adler32", "crc32"):
            self._value = self._roll(block, self._value)
        else:
            self._hash.update(block)

    def text(self) -> str:
        """The digits so far."""
        return f"{self._value:08x}" if self._name in ("adler32", "crc32") else self._hash.hexdigest()


class LocalWriter:
    """A destination file that is being written."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        found = os.fstat(handle)
        self.identity = f"{found.st_dev}:{found.st_ino}"

    def write(self, block: memoryview | bytes) -> None:
        """Writes all of the block."""
        view = memoryview(block)
        while view:
            view = view[os.write(self._handle, view) :]

    def close(self) -> None:
        """Closes the file."""
        os.close(self._handle)
        self._handle = -1

    def abandon(self) -> None:
        """Closes it if it is still open."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class Directory:
    """file:// below one root. What really lies elsewhere (.., symbolic links) is refused with EACCES."""

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(os.fsencode(root))

    def size(self, url: str) -> int:
        """Bytes of the regular file."""
        with self._open(url) as handle:
            return os.fstat(handle).st_size

    def checksum(self, url: str, algorithm: str, check: Callable[[], None]) -> str:
        """Reads the whole file."""
        digest = Digest(algorithm)
        for block in self.read(url):
            check()
            digest.update(block)
        return digest.text()

    def remove(self, url: str, identity: str | None = None) -> None:
        """Unlinks; a file with another identity stays."""
        directory, name = self._parent(url)
        path = os.path.join(directory, name)
        try:
            found = os.lstat(path)
            if identity is None or identity == f"{found.st_dev}:{found.st_ino}":
                os.unlink(path)
        except FileNotFoundError:
            return

    def make_parents(self, url: str) -> None:
        """Makes the missing directories, each below a real directory of the root."""
        path = os.path.dirname(self.path(url))
        if os.path.isdir(path):
            return
        known = path
        while not os.path.lexists(known):
            known = os.path.dirname(known)
        self._inside(os.path.realpath(known), url)
        os.makedirs(path, exist_ok=True)

    def read(self, url: str) -> Iterator[memoryview]:
        """Blocks of one buffer that is used again and again."""
        with self._open(url) as handle:
            buffer = memoryview(bytearray(min(BLOCK, max(1, os.fstat(handle).st_size))))
            while count := os.readv(handle, [buffer]):
                yield buffer[:count]

    def open_new(self, url: str, replace: bool) -> Writer:
        """O_EXCL unless it may be replaced; never through a symbolic link."""
        directory, name = self._parent(url)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_TRUNC if replace else os.O_EXCL)
        return LocalWriter(os.open(os.path.join(directory, name), flags, 0o644))

    def look(self, url: str, known: dict[bytes, bytes]) -> tuple[bytes, os.stat_result]:
        """For `--instant`: the real path of a plain file. `known` keeps the real directories of one submission."""
        path = self._known(self.path(url), url, known, make=False)
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "Invalid argument, not a regular file")
        return path, found

    def link(self, path: bytes, found: os.stat_result, destination: str, known: dict[bytes, bytes], overwrite: bool) -> bool:
        """Hard-links what `look` found, or copies it where links can't be; False when it is the file there already."""
        target = self._known(self.path(destination), destination, known, make=True)
        if overwrite:
            self.remove(destination)
        try:
            os.link(path, target, follow_symlinks=False)
        except FileExistsError:
            if os.path.samestat(found, os.lstat(target)):
                return False
            raise
        except OSError as problem:
            if problem.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
                raise
            writer = self.open_new(destination, replace=False)
            writer.write(Path(os.fsdecode(path)).read_bytes())
            writer.close()
        return True

    def _known(self, path: bytes, url: str, known: dict[bytes, bytes], make: bool) -> bytes:
        directory, _, name = path.rpartition(b"/")
        if directory not in known:
            if make:
                self.make_parents(url)
            known[directory] = os.path.realpath(directory)
            self._inside(os.path.join(known[directory], name), url)
        return known[directory] + b"/" + name

    @staticmethod
    def path(url: str) -> bytes:
        """`file:///a%20b` -> b"/a b". Raises OSError(EINVAL) for what is no local path."""
        rest = url.partition("://")[2]
        host, slash, path = rest.partition("/")
        raw = unquote_to_bytes(slash + path) if "%" in path else os.fsencode(slash + path)
        if host not in ("", "localhost") or not raw or b"\0" in raw or b".." in raw.split(b"/"):
            raise OSError(errno.EINVAL, f"Invalid argument, {url} is no local path")
        return raw

    @contextmanager
    def _open(self, url: str) -> Iterator[int]:
        handle = os.open(self.path(url), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._inside(os.readlink(b"/proc/self/fd/%d" % handle), url)
            mode = os.fstat(handle).st_mode
            if stat.S_ISDIR(mode):
                raise OSError(errno.EISDIR, "Is a directory")
            if not stat.S_ISREG(mode):
                raise OSError(errno.EINVAL, "Invalid argument, not a regular file")
            yield handle
        finally:
            os.close(handle)

    def _parent(self, url: str) -> tuple[bytes, bytes]:
        directory, name = os.path.split(self.path(url))
        real = os.path.realpath(directory)
        self._inside(os.path.join(real, name), url)
        return real, name

    def _inside(self, real: bytes, url: str) -> None:
        if real != self.root and not real.startswith(self.root.rstrip(b"/") + b"/"):
            raise OSError(errno.EACCES, f"Permission denied, {url} is outside of {os.fsdecode(self.root)}")
