"""Error texts of FTS and of storages -> classes. The one table that says what a text means and what follows."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorClass:
    """What a class means. `limit`: Bad after so many failed attempts, else when all classes together reach the settings' number.

    `attempt=False`: not the file's fault (a full destination, a server, credentials): its list waits, nothing is counted.
    """

    name: str
    meaning: str
    limit: int | None = None
    attempt: bool = True
    advice: str = "ask at the storages and their network why"


CLASSES = {
    c.name: c
    for c in (
        ErrorClass("missing", "the source is not there", limit=1, advice="find the file or take it off the list"),
        ErrorClass("name", "the storage can't take this name", limit=1, advice="rename the file or map it by another rule"),
        ErrorClass(
            "occupied", "another file is at the destination", limit=1, advice="look at both; move the one at the destination away"
        ),
        ErrorClass("invalid", "the line is no file that can be moved", limit=1, advice="mend the line or the rules"),
        ErrorClass("permission", "the storage forbids it", advice="ask for the right at the storage"),
        ErrorClass("checksum", "the copy differs from its source", advice="if it comes back, look at the source's disk"),
        ErrorClass("stalled", "the transfer stood still"),
        ErrorClass("network", "the connection failed"),
        ErrorClass("source", "the source storage could not give the file"),
        ErrorClass("data", "the storage says the data are bad", advice="check the source file"),
        ErrorClass("canceled", "somebody else canceled it"),
        ErrorClass("withdrawn", "we canceled it", limit=1, advice="requeue it with migrate-triage --class withdrawn"),
        ErrorClass(
            "lost", "the copy was proved, and is gone", limit=1, advice="ask its storage; migrate-triage --class lost --requeue"
        ),
        ErrorClass("full", "the destination has no room", attempt=False, advice="make room at the destination"),
        ErrorClass("credentials", "proxy or token is not accepted", attempt=False, advice="renew the proxy or token"),
        ErrorClass("server", "the FTS server could not work", attempt=False, advice="wait, or ask its operators"),
        ErrorClass("other", "a text that no line of the table knows", advice="read the reason; tell us the text"),
    )
}

_ABSENT = r"No such file|SRM_INVALID_PATH|does not exist|file not found|\b404\b"
_NAME = re.compile(r"""(?:\b[a-z][a-z0-9+.-]*://|(?<![\w.])/)[^\s'"]*""", re.IGNORECASE)  # a path may hold any of the words below

# First match wins. The texts are those of FTS 3 (scope, number, message) and of the storages seen in production.
_TABLE: tuple[tuple[str, str], ...] = (
    (
        r"proxy.*expired|credential.*(expired|missing)|certificate (has )?expired|token.*expired|NeedDelegation|No delegation",
        "credentials",
    ),
    (r"Storage banned|User banned|forced-canceled because host|queue for too long|max-time-in-queue", "server"),
    (r"No space left|ENOSPC|\[28\]|Disk quota|quota exceeded|\[122\]|insufficient space|SRM_NO_FREE_SPACE", "full"),
    (r"DESTINATION \[17\]|File exists|file exists and|already exists|overwrite is not enabled|SRM_DUPLICATION_ERROR", "occupied"),
    (r"checksum.*(mismatch|do(es)? not match|differ)|CHECKSUM MISMATCH|size mismatch|DESTINATION \[22\]", "checksum"),
    (rf"DESTINATION\b.*({_ABSENT}|\[2\])", "other"),
    (rf"{_ABSENT}|SOURCE \[2\]", "missing"),
    (r"Protocol not supported|EPROTONOSUPPORT|\[93\]", "invalid"),
    (r"File name too long|\[36\]|Invalid argument.*name|illegal character", "name"),
    (r"canceled by the user|Transfer canceled$|TRANSFER \[125\]|Job canceled", "canceled"),
    (r"performance marker timeout|stalled|timed? ?out|ETIMEDOUT|\[110\]|operation timeout|beyond its archive timeout", "stalled"),
    (
        r"Permission denied|EACCES|EPERM|\[13\]|\[1\] |commands denied|not authori[sz]ed|Forbidden|\b403\b|Read-only file system",
        "permission",
    ),
    (r"bad data was encountered|Input/output error|\bEIO\b", "data"),
    (r"SRM_GET_TURL|error on the turl|SRM_FILE_UNAVAILABLE|SRM_FAILURE", "source"),
    (r"Communication error|Connection|globus_ftp_control_local_pasv|end of file|globus_xio|Network|TLS|SSL", "network"),
)
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), name) for pattern, name in _TABLE)


def advice(error_class: str) -> str:
    """What helps against a class, as people read it."""
    return CLASSES[error_class if error_class in CLASSES else "other"].advice


def classify(reason: str | None) -> ErrorClass:
    """The class of an error text; `other` when no line of the table knows it."""
    text = _NAME.sub(" ", reason or "").strip()
    for pattern, name in _COMPILED:
        if pattern.search(text):
            return CLASSES[name]
    return CLASSES["other"]
