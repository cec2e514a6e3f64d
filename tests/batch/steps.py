"""What the tests of the three rooms share."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from dmtools.batch import Job, Room, Status
from tests.support import wait_until

PACE = threading.Event()  # each look starts programs


def jobs_in(root: Path) -> Callable[..., Job]:
    """`make("key", "sh", "-c", "...", seconds=5)` gives a job with a directory of its own below `root`."""

    def make(key: str, *argv: str, **more: object) -> Job:
        directory = root / key
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o777)  # HTCondor's jobs have a user of their own
        return Job(key, argv, directory, **{"memory_mb": 100, **more})  # type: ignore[arg-type]

    return make


def until(room: Room, how: str, *keys: str, seconds: float = 60) -> dict[str, Status]:
    """How these stand once all stand so."""
    last: dict[str, Status] = {}

    def all_so() -> bool:
        PACE.wait(0.1)
        last.update(room.statuses(keys))
        return {status.how for status in last.values()} == {how}

    wait_until(all_so, seconds, last)
    return last


def ended(room: Room, *keys: str, seconds: float = 60) -> dict[str, Status]:
    """How these stand once none of them runs or waits."""
    last: dict[str, Status] = {}

    def all_ended() -> bool:
        PACE.wait(0.1)
        last.update(room.statuses(keys))
        return not {status.how for status in last.values()} & {"queued", "running"}

    wait_until(all_ended, seconds, last)
    return last


def before(place: Path, name: str, what: str) -> Path:
    """A directory for $PATH with a program that does this and then is the real one."""
    program = place / "bin" / name
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n{what}\nexec {shutil.which(name)} "$@"\n')
    program.chmod(0o755)
    return program.parent
