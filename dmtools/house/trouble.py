"""What can go wrong while `.venv` is made, and the one sentence that a person reads about it."""

from __future__ import annotations

import re

FAILED = 1
WRONG_USE = 2
TRY_LATER = 75

_NETWORK = (
    r"NewConnectionError|Failed to establish a new connection|Temporary failure (in name resolution|resolving)|Could not resolve"
    r"|error sending request|dns error|Connection refused|Network is unreachable|Could not connect|Connection timed out"
    r"|ConnectTimeoutError|ReadTimeoutError|operation timed out|ProxyError|Failed to fetch|No matching distribution found for uv"
)
_KNOWN = (
    (r"No space left on device|ENOSPC|os error 28|Errno 28", "the disk is full: make room (.venv takes about 300 MB)", TRY_LATER),
    (
        r"Disk quota exceeded|os error 122|Errno 122",
        "your disk quota is used up: make room (.venv takes about 300 MB)",
        TRY_LATER,
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|invalid peer certificate|UnknownIssuer|certificate verify failed",
        "the package index shows a certificate that this machine doesn't trust: apt-get install ca-certificates, or set PIP_CERT",
        TRY_LATER,
    ),
    (
        r"command '\S*(gcc|cc|clang)\S*' failed: No such file|unable to execute '\S*g?cc'|No such file or directory: '\S*g?cc'",
        "there is no C compiler, and M2Crypto (for the FTS client) is built here: apt-get install gcc libc6-dev",
        FAILED,
    ),
    (
        r"openssl/\w+\.h: No such file|openssl/opensslv|Unable to find 'openssl",
        "OpenSSL's headers are missing: apt-get install libssl-dev",
        FAILED,
    ),
    (r"Python\.h: No such file|Python\.h'? not found", "Python's headers are missing: apt-get install python3-dev", FAILED),
    (r"command '\S*swig\S*' failed|No such file or directory: '\S*swig'", "swig did not run: apt-get install swig", FAILED),
    (r"Read-only file system", "the checkout lies on a read-only file system: clone it elsewhere", FAILED),
    (r"dpkg was interrupted", "an earlier apt run was interrupted: dpkg --configure -a", FAILED),
    (
        r"Could not get lock|Unable to acquire the dpkg",
        "another apt is at work on this machine: try again when it is done",
        TRY_LATER,
    ),
    (r"Unable to locate package (\S+)", "apt doesn't know a package: look at /etc/apt/sources.list*", FAILED),
    (
        _NETWORK,
        "the package index can't be reached: look at the network, the proxy ($https_proxy) and pip's configuration",
        TRY_LATER,
    ),
    (r"Permission denied", "something here may not be written by this user: run it as the owner of the checkout", FAILED),
)


class Trouble(Exception):
    """A step could not be done; the text is the whole sentence for a person, `code` the exit code.

    `settled`: no other way to do the step would fare better.
    """

    def __init__(self, sentence: str, code: int = FAILED, *, settled: bool = False) -> None:
        self.code = code
        self.settled = settled
        super().__init__(sentence)


def explain(step: str, output: str) -> Trouble:
    """The trouble that a failed step's output tells of: a known sentence, or the last line that speaks of an error."""
    for pattern, sentence, code in _KNOWN:
        if re.search(pattern, output):
            return Trouble(f"{step} failed: {sentence}", code, settled=pattern is not _NETWORK)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"^(E|ERROR|error)\b|rror:", line)]
    said = (telling or lines or ["it said nothing"])[-1]
    return Trouble(f"{step} failed: {said[:300]} (dm-setup -v shows all)")
