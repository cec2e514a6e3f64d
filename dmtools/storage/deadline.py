"""Nothing here waits for ever: calls on mounts that may hang, and commands that are killed with all their children."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

LEFT_OVER_SECONDS = 0.5  # how long a child's child may hold the pipe after the child has ended
MOST_OUTPUT = 64 << 20
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ended or was ended. `code` is its exit code, minus the signal if a signal ended it."""

    code: int
    out: bytes
    err: bytes
    timed_out: bool


def run(
    argv: Sequence[str | bytes],
    seconds: float,
    env: Mapping[str, str] | None = None,
    *,
    feed: bytes = b"",
    pass_fds: Sequence[int] = (),
) -> Finished:
    """Runs a command without a shell, in its own process group; after `seconds` the whole group is killed.

    Raises FileNotFoundError or PermissionError when the command can't be started.
    """
    end = time.monotonic() + seconds
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env, start_new_session=True, bufsize=0, pass_fds=tuple(pass_fds)
    )
    try:
        out, err = _talk(child, end, feed)
        while not (ended := _has_ended(child)) and time.monotonic() < end:
            time.sleep(0.005)
    finally:
        _kill_group(child)
    return Finished(child.returncode if child.returncode is not None else -signal.SIGKILL, out, err, not ended)


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether the child ended; it is not reaped, so that its number can't be another's when the group is killed."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _talk(child: subprocess.Popen[bytes], end: float, feed: bytes) -> tuple[bytes, bytes]:
    """Feeds and reads until both pipes are closed, the time is up, or only a child's child still holds them."""
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    heaps: dict[int, bytearray] = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    to_write = memoryview(feed)
    with selectors.DefaultSelector() as pipes:
        for number in heaps:
            pipes.register(number, selectors.EVENT_READ)
        os.set_blocking(child.stdin.fileno(), False)
        pipes.register(child.stdin, selectors.EVENT_WRITE)
        open_pipes, ended = 2, False
        while open_pipes and (left := end - time.monotonic()) > 0:
            for key, _ in pipes.select(min(left, 0.1)):
                if key.fileobj is child.stdin:
                    to_write = _write_some(pipes, child, to_write)
                elif block := os.read(key.fd, 1 << 16):
                    heaps[key.fd] += block if len(heaps[key.fd]) < MOST_OUTPUT else b""
                else:
                    pipes.unregister(key.fd)
                    open_pipes -= 1
            if not ended and _has_ended(child):
                ended, end = True, min(end, time.monotonic() + LEFT_OVER_SECONDS)
    out, err = (bytes(heap) for heap in heaps.values())
    return out, err


def _write_some(pipes: selectors.BaseSelector, child: subprocess.Popen[bytes], rest: memoryview) -> memoryview:
    assert child.stdin is not None
    try:
        rest = rest[os.write(child.stdin.fileno(), rest[: 1 << 16]) :]
    except BlockingIOError:
        return rest
    except BrokenPipeError:
        rest = rest[:0]
    if not rest:
        pipes.unregister(child.stdin)
        child.stdin.close()
    return rest


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """Ends what is left of the group: also grandchildren that outlive the child. A process that the kernel holds is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(2)


@contextlib.contextmanager
def streamed(
    argv: Sequence[str | bytes], seconds: float, env: Mapping[str, str] | None = None
) -> Iterator[tuple[int, Callable[[], Finished]]]:
    """(handle of its stdout, a function that waits for its end): a command whose output is read as it comes.

    At its deadline, or when the block is left, the whole group is killed, so that a read of the handle always ends.
    """
    late = threading.Event()
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=env, start_new_session=True, bufsize=0
        )
        assert child.stdout is not None

        def expire() -> None:
            late.set()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)

        def finish() -> Finished:
            while not _has_ended(child) and not late.is_set():
                time.sleep(0.005)
            _kill_group(child)
            errors.seek(0)
            return Finished(child.returncode if child.returncode is not None else -9, b"", errors.read(), late.is_set())

        alarm = threading.Timer(seconds, expire)
        alarm.daemon = True
        alarm.start()
        try:
            yield child.stdout.fileno(), finish
        finally:
            alarm.cancel()
            if child.returncode is None:
                _kill_group(child)


class Hung(Exception):
    """A call did not come back, or showed no progress, in time."""


class Pulse:
    """The sign of life of a guarded call: it beats at each step, and stops when it was given up.

    `reads`: it is waiting for its source; a silence is the source's then, and not the destination's.
    """

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.given_up = self.reads = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Around what only the source can hold up."""
        self.reads = True
        try:
            yield
        finally:
            self.reads = False

    def beat(self) -> None:
        """One step forward. Raises Hung in the guarded call once its caller has given it up."""
        if self.given_up:
            raise Hung
        self.last = time.monotonic()


def guarded(call: Callable[[Pulse], T], *, deadline: float, stall: float) -> T:
    """Runs `call(pulse)` in a thread; raises Hung after `deadline` seconds, or `stall` seconds without a beat.

    A hung mount holds the thread only, never the caller or its exit; what the call raises is raised here.
    """
    pulse = Pulse()
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            result.append(call(pulse))
        except BaseException as problem:  # noqa: BLE001 (raised again in the caller's thread)
            failure.append(problem)

    worker = threading.Thread(target=body, daemon=True, name="storage")
    end = time.monotonic() + deadline
    worker.start()
    try:
        while True:
            now = time.monotonic()
            worker.join(max(0.0, min(end, pulse.last + stall) - now))
            if not worker.is_alive():
                break
            now = time.monotonic()
            if now >= end or now >= pulse.last + stall:
                raise Hung
    except BaseException:
        pulse.given_up = True
        raise
    if failure:
        raise failure[0]
    return result[0]
