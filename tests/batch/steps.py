"""What the tests of the three rooms share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dmtools.batch import Job, Room, Status
from tests.support import ROOT, wait_until

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


@contextmanager
def killed_in_its_submit(room: Any, job: Job, program: str, place: Path) -> Iterator[None]:
    """A pass that submits the job is killed while its submit command lives on; that goes on when the block is left."""
    began, wait = place / "began", place / "wait"
    slow = before(place, program, f"touch {began}; while [ -e {wait} ]; do sleep 0.05; done")
    wait.touch()
    kind = type(room)
    text = (
        f"from pathlib import Path; from dmtools.batch import Job; from {kind.__module__} import {kind.__name__}\n"
        f"{kind.__name__}(Path({str(room.place)!r})).submit([Job({job.key!r}, {job.argv!r}, Path({str(job.directory)!r}))])"
    )
    path = {"PATH": f"{slow}:{os.environ['PATH']}"}
    killed = subprocess.Popen([sys.executable, "-c", text], cwd=ROOT, env={**os.environ, **path})
    wait_until(began.exists, 20, f"its {program} runs")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    try:
        yield
    finally:
        wait.unlink()


def path_without(place: Path, program: str, *others: str) -> Path:
    """A directory for $PATH that has these programs, and this one not."""
    found = place / "bin"
    found.mkdir()
    for name in {*others} - {program}:
        (found / name).symlink_to(str(shutil.which(name)))
    return found


def hangs(program: Path) -> None:
    """Makes a program that never ends by itself."""
    program.write_text("#!/bin/sh\n/bin/sleep 600 & wait\n")
    program.chmod(0o755)


def before(place: Path, name: str, what: str) -> Path:
    """A directory for $PATH with a program that does this and then is the real one."""
    program = place / "bin" / name
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n{what}\nexec {shutil.which(name)} "$@"\n')
    program.chmod(0o755)
    return program.parent
