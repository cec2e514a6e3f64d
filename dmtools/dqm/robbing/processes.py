"""Processes as the kernel knows them: who is whose child, who bears a mark, and how they all end."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

_PDEATHSIG, _NAME, _SUBREAPER = 1, 15, 36  # of prctl
_PAGE = os.sysconf("SC_PAGE_SIZE")
_END_SECONDS = 10.0


@functools.cache
def _prctl() -> Any:
    return ctypes.CDLL(None, use_errno=True).prctl


def adopt_orphans() -> None:
    """From now on this process becomes the parent of its descendants whose own parent dies."""
    _prctl()(_SUBREAPER, 1, 0, 0, 0)


def die_with(parent: int, how: signal.Signals) -> None:
    """This process gets the signal when its parent dies; also when that has happened already."""
    _prctl()(_PDEATHSIG, int(how), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), how)


def call(name: str) -> None:
    """What ps -o comm shows; 15 letters at most."""
    _prctl()(_NAME, name.encode()[:15], 0, 0, 0)


def parents() -> dict[int, int]:
    """Every process and its parent; zombies too."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError, ValueError, IndexError):  # gone meanwhile
                found[int(name)] = int(Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()[1])
    return found


def descendants(roots: Iterable[int], known: dict[int, int] | None = None) -> list[int]:
    """All that these processes started, and what those started; without themselves."""
    children: dict[int, list[int]] = {}
    for pid, parent in (parents() if known is None else known).items():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    left = list(roots)
    while left:
        for child in children.get(left.pop(), ()):
            found.append(child)
            left.append(child)
    return found


def marked(word: str) -> list[int]:
    """The processes that were started with `NAME=value` in their environment, and all below them; never this one."""
    wanted = word.encode()
    roots = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with suppress(OSError):  # gone meanwhile, or another user's
                if wanted in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    roots.append(int(name))
    return sorted({*roots, *descendants(roots)} - {os.getpid()}) if roots else []


def kill(pids: Iterable[int]) -> None:
    """SIGKILL to each that is there."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def end_children(but: Collection[int] = (), seconds: float = _END_SECONDS) -> bool:
    """Kills every child of this process and all below it, those apart and what is theirs, and takes leave of the dead.

    An orphan that comes to this process meanwhile (`adopt_orphans`) is one of them. Gives whether none is left.
    """
    deadline = time.monotonic() + seconds
    while True:
        _bury(but)
        known = parents()
        mine = [pid for pid, parent in known.items() if parent == os.getpid() and pid not in but]
        if not mine:
            return True
        kill([*mine, *descendants(mine, known)])
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)


def _bury(but: Collection[int]) -> None:
    """Takes the exit codes of dead children, but of those that somebody else waits for."""
    for pid, parent in parents().items():
        if parent == os.getpid() and pid not in but:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def end_marked(word: str, seconds: float = _END_SECONDS) -> bool:
    """Kills every process that bears the word, until none is left. Gives whether none is left."""
    deadline = time.monotonic() + seconds
    while pids := [pid for pid in marked(word) if not _is_dead(pid)]:
        kill(pids)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _is_dead(pid: int) -> bool:
    """A zombie, or gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return True


def memory(root: int) -> int:
    """Bytes that a process and all below it have in memory; what they share is counted once a process."""
    total = 0
    for pid in (root, *descendants([root])):
        with suppress(OSError, ValueError, IndexError):
            total += int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    return total
