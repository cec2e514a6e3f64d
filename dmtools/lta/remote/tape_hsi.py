"""HPSS by hsi: one command a call, its line as one argument, its answers read strictly.

An absent file is exit code 64 with HPSS_ENOENT. A listing, a checksum list and a verification must each hold the one line that
was asked for and nothing that is not understood.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from dmtools.lta.remote.tape import TapeError, run, said
from dmtools.storage.deadline import Finished

ABSENT = 64
LOOK_SECONDS = 300.0  # what a listing may take, at most
_PLAIN = re.compile(r"[A-Za-z0-9._/+=@%,^-]+\Z")
_NEVER = frozenset("\"'`$\\;|<>*?[]{}!#&~^:")  # what hsi may take for its own, in quotes or not
_ENTRY = re.compile(
    r"(?P<kind>[a-z-])[rwxsStT-]{9}[.+@]?\s+\d+\s+\S+\s+\S+\s+(?P<size>\d+)\s+"
    r"(?:[A-Z][a-z]{2}\s+)?[A-Z][a-z]{2}\s+\d{1,2}\s+[0-9:]{4,8}(?:\s+\d{4})?\s(?P<name>.+)\Z"
)
_HASH = re.compile(r"(?P<sum>[0-9a-f]{128}) sha512 (?P<name>.+?)(?: \[[a-z]+\])?\Z")


class HsiTape:
    """HPSS. Transfers may take `seconds`, all else at most `LOOK_SECONDS`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def trouble(self) -> str | None:
        """By `hpss_avail archive`, the command that such sites have."""
        try:
            done = run(["hpss_avail", "archive"], min(self.seconds, 60.0))
        except TapeError as problem:
            return problem.why
        return None if done.code == 0 else f"hpss_avail says that the archive is not available ({said(done)})"

    def check_name(self, path: str) -> None:
        """Control characters, quotes and what hsi takes for its own can't be quoted for it."""
        _word(path)

    def size(self, path: str) -> int | None:
        """By `ls -l`."""
        return listed(self._hsi(f"ls -l {_word(path)}"), path)

    def checksum(self, path: str) -> str | None:
        """By `hashlist`."""
        return summed(self._hsi(f"hashlist {_word(path)}"), path)

    def reread(self, path: str) -> bool:
        """By `hashverify`, which reads the tape."""
        return verified(self._hsi(f"hashverify {_word(path)}", self.seconds), path)

    def put(self, local: Path, path: str) -> None:
        """With a checksum that HPSS keeps."""
        self._do(f"mkdir -p {_word(posixpath.dirname(path))}")
        self._do(f"put -c on -H sha512 {_word(str(local))} : {_word(path)}", self.seconds)

    def get(self, path: str, local: Path) -> None:
        """HPSS compares with its checksum while it reads."""
        self._do(f"get -c on {_word(str(local))} : {_word(path)}", self.seconds)

    def rename(self, path: str, to: str) -> None:
        """By `mv`."""
        self._do(f"mv {_word(path)} {_word(to)}")

    def remove(self, path: str) -> None:
        """Gone already is gone."""
        done = self._hsi(f"rm {_word(path)}")
        if done.code != 0 and not _is_absent(done):
            raise TapeError("tape", f"hsi rm failed ({said(done)})")

    def _hsi(self, line: str, seconds: float = LOOK_SECONDS) -> Finished:
        return run(["hsi", "-q", "-P", line], min(seconds, self.seconds))

    def _do(self, line: str, seconds: float = LOOK_SECONDS) -> None:
        done = self._hsi(line, seconds)
        if done.code != 0:
            raise TapeError("tape", f"hsi {line.partition(' ')[0]} failed ({said(done)})")


def listed(done: Finished, path: str) -> int | None:
    """The size that `ls -l` names; None: there is no such file. Raises TapeError."""
    if _is_absent(done):
        return None
    lines = _lines(done, "ls -l")
    entries = [entry for line in lines if (entry := _ENTRY.match(line))]
    others = [line for line in lines if not _ENTRY.match(line) and line != posixpath.dirname(path) + ":"]
    if len(entries) != 1 or others or entries[0]["name"] not in (path, posixpath.basename(path)):
        raise TapeError("unclear", f"what hsi ls -l says of it is not understood: {(others or lines or ['nothing'])[0][:200]}")
    if entries[0]["kind"] != "-":
        raise TapeError("tape", "what lies there on tape is no file")
    return int(entries[0]["size"])


def summed(done: Finished, path: str) -> str | None:
    """The sha512 that `hashlist` names; None: the tape has none. Raises TapeError."""
    found = [match["sum"] for line in _lines(done, "hashlist") if (match := _HASH.match(line)) and match["name"] == path]
    return found[0] if len(found) == 1 else None


def verified(done: Finished, path: str) -> bool:
    """Whether `hashverify` found the file right; False: it says that it is not. Raises TapeError."""
    for line in done.out.decode("utf-8", "surrogateescape").splitlines():
        if line.strip() == f"{path}: (sha512) OK" and done.code == 0:
            return True
        if line.startswith(f"{path}: (sha512) ") and not line.strip().endswith(" OK"):
            return False
    raise TapeError("unclear", f"what hsi hashverify says of it is not understood ({said(done)})")


def _word(path: str) -> str:
    """A path as a word of hsi's line. Raises TapeError `name`."""
    if _PLAIN.match(path):
        return path
    bad = sorted({char for char in path if char in _NEVER or not char.isprintable()})
    if bad:
        raise TapeError("name", f"hsi can't be told a name that holds {', '.join(map(repr, bad))}: give the bundle another name")
    return f'"{path}"'


def _is_absent(done: Finished) -> bool:
    return done.code == ABSENT and b"HPSS_ENOENT" in done.out + done.err


def _lines(done: Finished, what: str) -> list[str]:
    if done.code != 0:
        raise TapeError("tape", f"hsi {what} failed ({said(done)})")
    text = done.out.decode("utf-8", "surrogateescape")
    return [line.strip() for line in text.splitlines() if line.strip()]
