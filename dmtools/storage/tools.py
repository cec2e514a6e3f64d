"""The outside commands: where they are, the environment they run in, and their failures as StorageError."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dmtools.names import shown
from dmtools.storage.answers import Absent, ErrorClass, StorageError, Unknown
from dmtools.storage.deadline import Finished, run
from dmtools.storage.texts import classify, first_line

if TYPE_CHECKING:
    from dmtools.settings import Settings

CALL_SECONDS = 60.0
SYSTEM_PYTHON = "/usr/bin/python3"


def environment(settings: Settings, seconds: float) -> dict[str, str]:
    """The tools' environment: credentials by the settings, plain English, UTC, and the clients' own time-outs."""
    made = dict(os.environ)
    given = settings.credentials
    if given.proxy:
        made["X509_USER_PROXY"] = str(settings.path(given.proxy))
    if given.token_file:
        made["BEARER_TOKEN_FILE"] = str(settings.path(given.token_file))
        made.pop("BEARER_TOKEN", None)
    whole = str(max(1, int(seconds)))
    window = str(max(1, min(15, int(seconds / 3))))
    made.update(LC_ALL="C.UTF-8", TZ="UTC", GFAL_PYTHONBIN=made.get("GFAL_PYTHONBIN", SYSTEM_PYTHON))
    made.update(XRD_REQUESTTIMEOUT=whole, XRD_CONNECTIONWINDOW=window, XRD_CONNECTIONRETRY="1", XRD_STREAMERRORWINDOW="0")
    made.update(XRD_TIMEOUTRESOLUTION="1")
    for chatty in ("XRD_LOGLEVEL", "XRD_LOGFILE", "XRD_LOGMASK"):
        made.pop(chatty, None)
    return made


def missing_tools(names: Sequence[str]) -> list[str]:
    """Those of the commands that PATH doesn't have."""
    return [name for name in names if shutil.which(name) is None]


def call(
    argv: Sequence[str | bytes], settings: Settings, seconds: float = CALL_SECONDS, pass_fds: Sequence[int] = ()
) -> Finished:
    """Runs a tool to its end or to its deadline. A tool that can't be started is StorageError, class `unsupported`."""
    try:
        return run(argv, seconds, environment(settings, seconds), pass_fds=pass_fds)
    except OSError as problem:
        tool = os.fsdecode(argv[0])
        raise StorageError("unsupported", f"{tool} could not be started: {os.strerror(problem.errno or 0)}", wide=True) from None


def verdict(done: Finished, names: Iterable[str], seconds: float) -> tuple[ErrorClass, str, bool]:
    """(class, what the tool said, wide) of a call that failed."""
    if done.timed_out:
        return "timeout", f"no answer within {seconds:.0f} s", True
    text = (done.err or done.out).decode("utf-8", "surrogateescape")
    said = first_line(text).encode("utf-8", "backslashreplace").decode("utf-8")
    if done.code in (126, 127):
        return "unsupported", said, True
    cls, wide = classify(text, names)
    return cls, said, wide


def look_of(done: Finished, url: str, names: Iterable[str], seconds: float) -> Absent | Unknown:
    """What a failed question about a file says of it."""
    cls, said, wide = verdict(done, names, seconds)
    return Absent() if cls == "missing" else Unknown(f"{shown(url)}: {said}", wide)


def error_of(done: Finished, url: str, act: str, names: Iterable[str], seconds: float) -> StorageError:
    """A failed act of a tool as StorageError."""
    cls, said, wide = verdict(done, names, seconds)
    return StorageError(cls, f"{shown(url)} could not be {act}: {said}", wide=wide)
