"""One transfer, step by step, in the order and with the reasons of fts_url_copy."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

from dmtools.simulators.faults import COPY_OPS, Fault, FaultsFile
from dmtools.simulators.fts.model import Task
from dmtools.simulators.fts.places import Digest, Directory, Place, Writer
from dmtools.simulators.fts.xrootd import XRootD

_FINAL = {
    errno.EPERM,
    errno.EACCES,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.E2BIG,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EROFS,
    errno.ENOSPC,
    errno.EFBIG,
    errno.ECANCELED,
    errno.EPROTONOSUPPORT,
}
_FINAL_WORDS = ("No such file or directory", "File exists", "checksum do not match", "Permission denied", "proxy expired")
_EXISTS = "Destination file exists and overwrite is not enabled"


class TransferError(Exception):
    """A transfer that failed; `reason` is FTS3's text, `report` what is told of the file that stood in the way."""

    def __init__(self, scope: str, number: int, message: str, report: dict[str, Any] | None = None) -> None:
        self.reason = f"{scope} [{number}] {message}"
        self.report = report
        super().__init__(self.reason)


class Canceled(Exception):
    """The copy was canceled while it ran."""


class Stopping(Exception):
    """The server ends; the copy is handed back."""


def recoverable(reason: str) -> bool:
    """Whether the server tries again after this reason, as far as its job has retries."""
    found = re.match(r"(\w+) \[(\d+)\]", reason)
    number = int(found[2]) if found else 0
    gone = number == errno.ENOENT and reason.startswith("SOURCE")
    return not (gone or number in _FINAL or any(words in reason for words in _FINAL_WORDS))


class Control:
    """What a running copy listens to: cancels (which may come late, as the real ones do), its time limit, the server's end."""

    def __init__(self, timeout: float, stopping: threading.Event, cancel_delay: float) -> None:
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._stopping = stopping
        self._cancel_delay = cancel_delay
        self._canceled_at: float | None = None
        self._wake = threading.Event()

    def cancel(self) -> None:
        """Asks the copy to end; heard after the server's cancel delay."""
        self._canceled_at = time.monotonic()
        self._wake.set()

    def wake(self) -> None:
        """Ends a stall at once, to look at what changed."""
        self._wake.set()

    def check(self) -> None:
        """Raises Canceled, Stopping or TransferError when the copy must not go on."""
        if self._stopping.is_set():
            raise Stopping
        now = time.monotonic()
        if self._canceled_at is not None and now >= self._canceled_at + self._cancel_delay:
            raise Canceled
        if now >= self._deadline:
            raise TransferError("TRANSFER", errno.ETIMEDOUT, f"operation timeout, the transfer took over {self._timeout:g} s")

    def pause(self, seconds: float | None) -> None:
        """Does nothing for so long (None: for ever), but hears the same as `check`."""
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            self.check()
            limits = [self._deadline - time.monotonic(), *([] if end is None else [end - time.monotonic()])]
            if self._canceled_at is not None:
                limits.append(self._canceled_at + self._cancel_delay - time.monotonic())
            if self._wake.wait(max(0.0, min(limits))):
                self._wake.clear()
        self.check()


class Copier:
    """Copies files between the places that the server may touch."""

    def __init__(self, root: Path, faults: FaultsFile) -> None:
        self.directory = Directory(root)
        self._xrootd = XRootD()
        self._faults = faults

    def place(self, url: str, scope: str) -> Place:
        """The storage of a URL. Raises TransferError for a scheme that this server can't copy."""
        scheme = url.partition(":")[0].lower()
        if scheme == "file":
            return self.directory
        if scheme in ("root", "xroot", "roots", "xroots"):
            return self._xrootd
        raise TransferError(scope, errno.EPROTONOSUPPORT, "Protocol not supported or path/url invalid")

    def run(self, task: Task, control: Control, parked: Any, opened: Any) -> int:
        """The whole transfer; gives the bytes copied. `opened(identity)` is called once the destination is open.

        `parked` is a context manager that a stalled copy enters: it gives up its place among the running ones.
        Raises TransferError, Canceled or Stopping; the destination is then cleaned up, unless the job forbids it.
        """
        fault = self._faults.find([task.source, task.destination], COPY_OPS)
        if fault and fault.op == "slow":
            with parked():
                control.pause(fault.seconds if fault.seconds is not None else 1.0)
        if fault and fault.op == "fail":
            raise _given(fault.reason)
        source, destination = self.place(task.source, "SOURCE"), self.place(task.destination, "DESTINATION")
        if task.strict:
            return self._strict(task, source, destination, control, fault, parked, opened)
        size: int = _told("SOURCE", source.size, task.source)
        algorithm, _, expected = task.checksum.partition(":")
        value = self._check_source(task, source, algorithm, expected, control)
        self._clear_destination(task, destination)
        _told("DESTINATION", destination.make_parents, task.destination)
        digest = Digest(algorithm) if task.mode in ("t", "b") and not (value or expected) else None
        writer = _open(destination, task, replace=False)
        try:
            opened(writer.identity)
            self._stream(task, source, writer, control, fault, parked, digest)
            landed = _told("DESTINATION", destination.size, task.destination)
            if landed != size:
                raise TransferError("DESTINATION", errno.EINVAL, "Source and destination file size mismatch")
            self._check_destination(task, destination, (algorithm, expected, value or (digest.text() if digest else "")), control)
        except BaseException as problem:
            _clean_up(task, destination, writer, problem)
            raise
        return size

    def _strict(
        self, task: Task, source: Place, destination: Place, control: Control, fault: Fault | None, parked: Any, opened: Any
    ) -> int:
        writer = _open(destination, task, replace=True)
        try:
            opened(writer.identity)
            return self._stream(task, source, writer, control, fault, parked, None)
        except BaseException as problem:
            _clean_up(task, destination, writer, problem)
            raise

    def _check_source(self, task: Task, source: Place, algorithm: str, expected: str, control: Control) -> str:
        if task.mode not in ("s", "b"):
            return ""
        value = str(_told("SOURCE", source.checksum, task.source, algorithm, control.check))
        if expected and not equal(expected, value):
            words = f"Source and user-defined {algorithm.upper()} checksum do not match ({value} != {expected})"
            raise TransferError("SOURCE", errno.EIO, words)
        return value

    def _check_destination(self, task: Task, destination: Place, known: tuple[str, str, str], control: Control) -> None:
        if task.mode not in ("t", "b"):
            return
        algorithm, expected, value = known
        found = str(_told("DESTINATION", destination.checksum, task.destination, algorithm, control.check))
        whose = "User-defined" if expected else "Source"
        if not equal(expected or value, found):
            words = f"{whose} and destination {algorithm.upper()} checksum do not match ({expected or value} != {found})"
            raise TransferError("DESTINATION", errno.EIO, words)

    def _clear_destination(self, task: Task, destination: Place) -> None:
        try:
            size = destination.size(task.destination)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as problem:
            raise _transfer_error("DESTINATION", problem) from None
        if task.overwrite:
            _told("DESTINATION", destination.remove, task.destination)
            return
        report = None
        if task.report:
            value = destination.checksum(task.destination, "adler32", lambda: None)
            report = {"file_size": size, "checksum_type": "ADLER32", "checksum_value": value}
            report |= {"file_on_tape": False, "file_on_disk": True}
        raise TransferError("DESTINATION", errno.EEXIST, _EXISTS, report)

    def _stream(
        self, task: Task, source: Place, writer: Writer, control: Control, fault: Fault | None, parked: Any, digest: Digest | None
    ) -> int:
        total = 0
        op = fault.op if fault else ""
        try:
            for block in source.read(task.source):
                control.check()
                if digest:
                    digest.update(block)
                if op == "stall" and fault:
                    half = len(block) // 2
                    writer.write(block[:half])
                    with parked():
                        control.pause(fault.seconds)
                    writer.write(block[half:])
                else:
                    writer.write(_flipped(block) if op == "corrupt" else block)
                op = ""
                total += len(block)
            if op == "corrupt":
                writer.write(b"\xff")
            elif op == "stall" and fault:
                with parked():
                    control.pause(fault.seconds)
            writer.close()
        except OSError as problem:
            raise _transfer_error("TRANSFER", problem) from None
        return total


def equal(one: str, other: str) -> bool:
    """Whether two checksums are the same, whatever their case and leading zeros."""
    return one.strip().lower().lstrip("0") == other.strip().lower().lstrip("0")


def _flipped(block: memoryview) -> bytes:
    """The block with the bits of its middle byte turned over."""
    changed = bytearray(block)
    changed[len(changed) // 2] ^= 0xFF
    return bytes(changed)


def _open(destination: Place, task: Task, replace: bool) -> Writer:
    try:
        return destination.open_new(task.destination, replace)
    except FileExistsError:
        raise TransferError("DESTINATION", errno.EEXIST, _EXISTS) from None
    except OSError as problem:
        raise _transfer_error("DESTINATION", problem) from None


def _clean_up(task: Task, destination: Place, writer: Writer, problem: BaseException) -> None:
    """Removes what the failed copy left; a file that somebody else put there first stays."""
    writer.abandon()
    if task.cleanup and f"[{errno.EEXIST}]" not in str(problem):
        with contextlib.suppress(OSError):
            destination.remove(task.destination, writer.identity)


def _told(scope: str, act: Any, *arguments: Any) -> Any:
    """The act's value, or its OSError as FTS3 tells it."""
    try:
        return act(*arguments)
    except OSError as problem:
        raise _transfer_error(scope, problem) from None


def _transfer_error(scope: str, problem: OSError) -> TransferError:
    number = problem.errno or errno.EIO
    words = problem.strerror or os.strerror(number)
    return TransferError(scope, number, words)


def _given(reason: str) -> TransferError:
    """The error of a `fail` fault: its reason, word for word."""
    error = TransferError("TRANSFER", errno.EIO, os.strerror(errno.EIO))
    if reason:
        error.reason = reason
    return error
