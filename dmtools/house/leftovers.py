"""Processes that a test started and left running: known by a mark in their environment, which children inherit."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path


def marked(name: str, value: str) -> dict[int, str]:
    """The live processes started with this variable, as pid -> command line; never this process itself."""
    wanted = f"{name}={value}".encode()
    found = {}
    for place in Path("/proc").iterdir():
        if not place.name.isdigit() or int(place.name) == os.getpid():
            continue
        with suppress(OSError):  # gone meanwhile, or another user's
            if wanted in (place / "environ").read_bytes().split(b"\0"):
                line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
                if line:  # a zombie has none
                    found[int(place.name)] = line
    return found


def end_all(name: str, value: str, grace: float = 2.0) -> list[str]:
    """Waits `grace` seconds for the marked processes to end by themselves, then kills them. Gives those that did not."""
    deadline = time.monotonic() + grace
    while marked(name, value):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    left = marked(name, value)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return [f"pid {pid}: {line}" for pid, line in left.items()]
