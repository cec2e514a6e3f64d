"""What the xrootd and gfal tools print when they fail -> error classes: one table for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dmtools.storage.answers import ErrorClass, StorageError

# First match wins. `None`: as wide as the class is. A proof of absence ("missing") is taken only from the storage's own
# code at its own place in the message, never from words that a name or another part of the tool may hold.
_TABLE: tuple[tuple[str, ErrorClass, bool | None], ...] = (
    (r"\[3030\]|auth\w* failed|no protocols left to try|credentials? .{0,60}(expired|not found|missing)", "credentials", None),
    (r"proxy.{0,60}(expired|not found|no such file|could not|cannot)|certificate.{0,60}(expired|verif)", "credentials", None),
    (r"SSL.{0,60}(handshake|certificate|alert)|HTTP 401|globus_gsi|gss_init|token.{0,40}(expired|invalid)", "credentials", None),
    (r"\[SRM_(AUTHENTICATION|AUTHORIZATION)_FAILURE\]", "credentials", None),
    # a redirector that knows of no server for the file: the file is absent, or its server is away
    (r"no servers have (access to|read access to) the file", "unreachable", False),
    (r"no servers are available|\[3014\]|\[3024\]|\[FATAL\] (Connection|Socket|Invalid address|Redirect)", "unreachable", None),
    (r"\[FATAL\] (TLS|Auth)", "credentials", None),
    (r"error: (111|112|113|101|104|107|116) \(|connection (refused|reset)|no route to host|host is down", "unreachable", None),
    (
        r"domain name resolution failed|could not connect|communication error on send|name or service not known",
        "unreachable",
        None,
    ),
    (r"HTTP 50[0234]|service unavailable|\[SRM_(INTERNAL_ERROR|FILE_UNAVAILABLE)\]|socket (error|timeout)", "unreachable", None),
    (r"globus_ftp_control_local_pasv failed|stale file handle|end of file was reached|bad data was encountered", "io", None),
    (r"operation expired|timed? ?-?out|error: 110 \(|performance marker timeout|probably stalled|\[303[45]\]", "timeout", None),
    (r"no space left|\[3009\]|\[3021\]|quota exceeded|disk quota|SRM_NO_FREE_SPACE|HTTP 507|error: (28|122) \(", "full", None),
    (r"checksum error|checksum mismatch|checksums? do not match|\[3019\]", "checksum", None),
    (r"error: 17 \(|file exists|\[3018\]|\[3003\]|exists and overwrite is not", "occupied", None),
    (r"\[3012\] \S+ checksum not supported|protocol not supported|\[3013\]|error: (93|95|61) \(", "unsupported", True),
    (r"^\s*(Run: )?\[ERROR\] (Server responded with an error|Error response): \[3011\]", "missing", None),
    (r"^\s*(Run: )?\[ERROR\] Server responded with an error: \[3005\] Unable to \w+ NAME; not a directory", "missing", None),
    (r"^\s*gfal-\w+ error: (2|20) \(", "missing", None),
    (r"^\S+\tMISSING$", "missing", None),
    # the gfal tools' own fall over a name that isn't UTF-8
    (r"boost::python::error_already_set|UnicodeDecodeError|UnicodeEncodeError", "invalid", None),
    (r"\[301[56]\]|is a directory|error: 21 \(|\[3002\]|file name too long|error: 36 \(", "invalid", None),
    (r"\[3010\]|permission denied|error: (1|13) \(|HTTP 403|commands denied|\[3025\]|read-only file system", "permission", None),
    (r"\[3001\]|\[3000\]|\[ERROR\] Invalid arguments|not a valid HTTP or Webdav URL", "invalid", None),
)
_RULES = tuple((re.compile(pattern, re.IGNORECASE | re.MULTILINE), cls, wide) for pattern, cls, wide in _TABLE)


def classify(text: str, names: Iterable[str]) -> tuple[ErrorClass, bool]:
    """(class, wide) of a tool's message; `names` (paths, URLs) are blotted out first, so that no name is read as a verdict."""
    for name in sorted(filter(None, names), key=len, reverse=True):
        text = text.replace(name, "NAME")
    for rule, cls, wide in _RULES:
        if rule.search(text):
            return cls, StorageError(cls, "").wide if wide is None else wide
    return "io", True


def first_line(text: str) -> str:
    """The line of a tool's output that says what happened, without the end of a traceback or empty lines."""
    lines = [line.strip() for line in text.replace("\0", "").splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"error|fatal|denied|failed|missing", line, re.IGNORECASE)]
    return " ".join((telling or lines or ["it said nothing"])[0].split())[:500]
