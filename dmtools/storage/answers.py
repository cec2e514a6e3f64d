"""What a storage may answer, and the one error of this room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

ErrorClass = Literal[
    "missing",  # the source is proved absent
    "occupied",  # something stands at the destination and overwrite is off
    "checksum",  # the bytes are not the expected ones
    "changed",  # the file changed while it was read, or since it was marked
    "invalid",  # the name or the kind of file can't be used here
    "permission",  # this file may not be read or written
    "full",  # no space or quota left
    "credentials",  # proxy or token absent, expired or not accepted
    "timeout",  # no end within the deadline, or no byte moved for long
    "unreachable",  # server, mount or disk away
    "io",  # the storage failed in another way
    "unsupported",  # this client can't do that
]
RESIDENCIES = frozenset({"ONLINE", "NEARLINE", "ONLINE_AND_NEARLINE", "LOST", "UNKNOWN"})
_WIDE: frozenset[str] = frozenset({"full", "credentials", "timeout", "unreachable", "io"})


@dataclass(frozen=True, slots=True)
class Present:
    """The file is there. `size` in bytes; `checksum` is `adler32:` and 8 hex digits, None when it was not asked."""

    size: int
    checksum: str | None


@dataclass(frozen=True, slots=True)
class Absent:
    """The file is proved absent: the storage itself said so."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """It can't be known now. `wide`: the storage as a whole is in trouble; otherwise this file only."""

    reason: str
    wide: bool


Look = Present | Absent | Unknown
Looks = list[Look]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a listing. `mtime` in seconds since 1970, UTC.

    `kind` is "file", "link" (a symbolic link, not followed), "other" (a socket, a device) or "temporary" (a hidden
    name of our own copies and deletes).
    """

    url: str
    size: int
    mtime: float
    kind: str = "file"


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy that is durable at its destination: the bytes that were read and their checksum."""

    size: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Mark:
    """What a file was when it was proved, so that a delete can tell whether it is still that file.

    `inode` is 0 where the storage has none; `mtime` in nanoseconds, or in seconds where the storage knows no more.
    """

    inode: int
    size: int
    mtime: int


class StorageError(Exception):
    """An act on a storage failed. `cls` is one of ErrorClass, `reason` a sentence that names the file.

    `wide`: the storage as a whole is in trouble (full, unreachable, credentials, ...): no attempt of this file.
    """

    def __init__(self, cls: ErrorClass, reason: str, *, wide: bool | None = None) -> None:
        self.cls = cls
        self.reason = reason
        self.wide = cls in _WIDE if wide is None else wide
        self.reading = False  # a copy's source could not be read; the destination is not in trouble
        super().__init__(reason)


class Store(Protocol):
    """A place that holds files. Every URL is percent-encoded ASCII (dmtools.names); every time is in seconds."""

    scheme: str

    def look_many(self, urls: Sequence[str], *, checksum: bool = True, deadline: float) -> Looks:
        """One answer for each URL, in order, within `deadline` seconds from now. Never raises for a file's fault."""

    def list(self, url: str) -> Iterator[Entry]:
        """Every file below a directory, as it is found. Raises StorageError at the end if a part could not be read."""

    def copy(
        self, source: str, destination: str, *, expect: str | None = None, overwrite: bool = False, fence: int | None = None
    ) -> Copied:
        """Copies durably under a hidden name, then renames. `expect` is the checksum that the bytes must have.

        Raises StorageError; then nothing new stands at the destination.
        """

    def mark(self, url: str) -> Mark | None:
        """What the file is now, for a later `delete`; None when it is absent. Raises StorageError."""

    def delete(self, url: str, *, mark: Mark | None = None) -> None:
        """Removes one file, never a directory; absent already is done. With `mark`, only if it is still that file."""

    def residency(self, url: str) -> str:
        """ONLINE, NEARLINE, ONLINE_AND_NEARLINE, LOST or UNKNOWN. Raises StorageError("missing") for an absent file."""

    def free(self, url: str) -> tuple[int, int] | None:
        """(free, total) bytes of the file system that holds `url`; None when the storage doesn't say."""

    def trouble(self, url: str) -> str | None:
        """Why the directory `url` can't be worked with now (unmounted, away, no directory); None when it is well."""
