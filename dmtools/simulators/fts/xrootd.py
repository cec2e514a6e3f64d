"""root:// through xrdcp and xrdfs, where they are installed."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Callable, Iterator

from dmtools.names import decode
from dmtools.simulators.fts.places import BLOCK, Writer

_CALL_SECONDS = 60
_PATIENCE = {"XRD_CONNECTIONWINDOW": "5", "XRD_CONNECTIONRETRY": "1", "XRD_STREAMERRORWINDOW": "5"}  # else it is half an hour
_ERRORS = (
    (r"\[3011\]|No such file", errno.ENOENT, "No such file or directory"),
    (r"\[3018\]|File exists", errno.EEXIST, "File exists"),
    (r"\[3010\]|Permission denied|not authorized", errno.EACCES, "Permission denied"),
    (r"\[3009\]|No space left", errno.ENOSPC, "No space left on device"),
    (r"\[3016\]|Is a directory", errno.EISDIR, "Is a directory"),
    (r"Connection refused|Connection error|Socket error", errno.ECONNREFUSED, "Connection refused"),
)


def _error(text: str) -> OSError:
    for pattern, number, words in _ERRORS:
        if re.search(pattern, text):
            return OSError(number, words)
    return OSError(errno.EIO, text.strip().splitlines()[-1] if text.strip() else "Input/output error")


def _start(*arguments: str | bytes, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(arguments, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=_PATIENCE | os.environ)
    except FileNotFoundError:
        raise OSError(errno.EPROTONOSUPPORT, f"Protocol not supported, {arguments[0]!s} is not installed") from None


class XRootD:
    """An XRootD storage; the path goes to the server decoded, as gfal2 (with which FTS copies) sends it."""

    def size(self, url: str) -> int:
        """`xrdfs stat`: bytes of a file."""
        told = self._ask(url, "stat")
        found = re.search(r"^Size:\s*(\d+)", told, re.MULTILINE)
        if not found or "IsDir" in told:
            raise OSError(errno.EISDIR, "Is a directory")
        return int(found[1])

    def checksum(self, url: str, algorithm: str, check: Callable[[], None]) -> str:
        """The server's own checksum of the file."""
        check()
        told = self._ask(url, "query", "checksum", more="cks.type=" + algorithm.lower()).split()
        if len(told) != 2:
            raise OSError(errno.EOPNOTSUPP, f"Checksum type {algorithm} is not supported")
        return told[1]

    def remove(self, url: str, identity: str | None = None) -> None:
        """`xrdfs rm`, if it is there."""
        try:
            self._ask(url, "rm")
        except FileNotFoundError:
            return

    def make_parents(self, url: str) -> None:
        """`xrdfs mkdir -p`; of a directory below the root it says that it exists."""
        parent = url.partition("?")[0].rpartition("/")[0]
        try:
            if _split(parent + "/")[1].strip(b"/"):
                self._ask(parent, "mkdir", "-p")
        except FileExistsError:
            return

    def read(self, url: str) -> Iterator[memoryview]:
        """`xrdcp URL -`: its standard output."""
        with _start("xrdcp", "-s", _whole(url), "-") as process:
            try:
                assert process.stdout
                assert process.stderr
                while block := process.stdout.read(BLOCK):
                    yield memoryview(block)
                said = process.stderr.read().decode("utf-8", "replace")
                if process.wait(_CALL_SECONDS):
                    raise _error(said)
            finally:
                if process.poll() is None:
                    process.kill()

    def open_new(self, url: str, replace: bool) -> Writer:
        """`xrdcp - URL`: its standard input."""
        return PipeWriter(url, replace)

    def _ask(self, url: str, *command: str, more: str = "") -> str:
        server, path, opaque = _split(url)
        query = "&".join(filter(None, (opaque, more))).encode("utf-8")
        process = _start("xrdfs", server, *command, path + (b"?" + query if query else b""))
        try:
            said, errors = process.communicate(timeout=_CALL_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise OSError(errno.ETIMEDOUT, "Connection timed out") from None
        if process.returncode:
            raise _error((errors or said).decode("utf-8", "replace"))
        return said.decode("utf-8", "replace")


class PipeWriter:
    """A destination that xrdcp writes from its standard input."""

    def __init__(self, url: str, replace: bool) -> None:
        self.identity = "xrootd"
        self._process = _start("xrdcp", "-s", *(["-f"] if replace else []), "-", _whole(url), stdin=subprocess.PIPE)

    def write(self, block: memoryview | bytes) -> None:
        """Writes; when xrdcp is gone its own words are raised."""
        assert self._process.stdin
        try:
            self._process.stdin.write(block)
        except BrokenPipeError:
            raise self._words() from None

    def close(self) -> None:
        """Ends the input and waits for xrdcp."""
        assert self._process.stdin
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            raise self._words() from None
        said = self._process.stderr.read() if self._process.stderr else b""
        if self._process.wait(_CALL_SECONDS):
            raise _error(said.decode("utf-8", "replace"))

    def abandon(self) -> None:
        """Kills xrdcp if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _words(self) -> OSError:
        said = self._process.stderr.read() if self._process.stderr else b""
        self._process.wait()
        return _error(said.decode("utf-8", "replace"))


def _split(url: str) -> tuple[str, bytes, str]:
    """`root://host:port//a%20path?opaque` -> (`root://host:port`, b`/a path`, `opaque`)."""
    match = re.match(r"^([a-z]+://[^/?#]+)/(/?[^?]*)\??(.*)$", url, re.IGNORECASE | re.DOTALL)
    if not match:
        raise OSError(errno.EINVAL, f"Invalid argument, {url}")
    path = decode(match[2])
    if b"?" in path or b"\0" in path:
        raise OSError(errno.EINVAL, f"Invalid argument, {url}")
    return match[1], path if path.startswith(b"/") else b"/" + path, match[3]


def _whole(url: str) -> bytes:
    """The one argument by which xrdcp names the file."""
    server, path, opaque = _split(url)
    return server.encode("utf-8") + b"/" + path + (b"?" + opaque.encode("utf-8") if opaque else b"")
