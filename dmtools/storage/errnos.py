"""Error numbers of the operating system -> what they say about the file, or about the whole storage."""

from __future__ import annotations

import errno
import os

from dmtools.storage.answers import Absent, ErrorClass, Look, StorageError, Unknown

_CLASSES: dict[int, ErrorClass] = {
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.EEXIST: "occupied",
    errno.EISDIR: "invalid",
    errno.ELOOP: "invalid",
    errno.ENAMETOOLONG: "invalid",
    errno.EINVAL: "invalid",
    errno.ENXIO: "invalid",
    errno.EILSEQ: "invalid",
    errno.EFBIG: "invalid",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.ETXTBSY: "permission",
    errno.EBUSY: "permission",
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "unreachable",
    errno.ESTALE: "unreachable",
    errno.ENOTCONN: "unreachable",
    errno.ENODEV: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ECONNREFUSED: "unreachable",
    errno.ECONNRESET: "unreachable",
    errno.ESHUTDOWN: "unreachable",
    errno.ETIMEDOUT: "timeout",
    errno.EKEYEXPIRED: "credentials",
    errno.EKEYREJECTED: "credentials",
    errno.ENOKEY: "credentials",
}
ABSENT = Absent()


def class_of(number: int | None) -> ErrorClass:
    """The error class of an errno; what is not in the table is trouble of the storage: `io`."""
    return _CLASSES.get(number or 0, "io")


def look_of(problem: OSError, subject: str) -> Look:
    """What a failed stat, open or read of a file says: absent (proved), or unknown and how far the trouble goes."""
    cls = class_of(problem.errno)
    if cls == "missing":
        return ABSENT
    error = StorageError(cls, "")
    return Unknown(f"{subject}: {os.strerror(problem.errno or 0)}", error.wide)


def error_of(problem: OSError, subject: str, act: str) -> StorageError:
    """A failed act on a file as StorageError: the class by errno, the sentence with the file's name."""
    return StorageError(class_of(problem.errno), f"{subject} could not be {act}: {os.strerror(problem.errno or 0)}")
