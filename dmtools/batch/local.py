"""The local room: processes of this machine, at most one a core, without a daemon.

Each key has a directory: `job.json` (it was submitted), `started.json`, `ended.json`, and `lock`, which the job and the process
beside it hold by flock: the kernel gives it back however they end. From these four follows how a job stands. What waits is
started by `submit` and `statuses`, and by each job that ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dmtools.batch import BatchAway, Job, Status, kept, local_job


class LocalRoom:
    """Batch jobs as processes of this machine, at most `cores` (0: this machine's) at once.

    Others hold the room's lock for moments, or while they end jobs: after `patience` seconds it is away.
    """

    name = "local"

    def __init__(self, place: Path, cores: int = 0, patience: float = 20.0) -> None:
        self.place = place
        self.cores = cores or len(os.sched_getaffinity(0))
        self.patience = patience

    def submit(self, jobs: Sequence[Job]) -> dict[str, Status]:
        """Puts new keys, and those that were lost, into the queue; starts what has room. Raises BatchAway."""
        with self._alone():
            for number, job in enumerate(jobs):
                how = self._look(job.key).how
                if how == "gone":
                    self._enqueue(job, time.time_ns() + number)
            self._start_waiting()
            return {job.key: self._look(job.key) for job in jobs}

    def statuses(self, keys: Sequence[str]) -> dict[str, Status]:
        """How these stand; what waits is started, what is over its time is ended. Raises BatchAway."""
        with self._alone():
            self._start_waiting()
            return {key: self._look(key) for key in keys}

    def cancel(self, keys: Sequence[str]) -> None:
        """Ends these: SIGTERM, some seconds later SIGKILL. Raises BatchAway."""
        with self._alone():
            stands = {key: self._look(key) for key in keys}
            running = [key for key, status in stands.items() if status.how == "running"]
            self._end(running)
            for key in running + [key for key, status in stands.items() if status.how == "queued"]:
                if self._look(key).how != "done":
                    local_job.write(self.place / key / "ended.json", {"code": -signal.SIGTERM, "reason": "cancelled"})

    def forget(self, keys: Sequence[str]) -> None:
        """Removes the directories of those that ended. Raises BatchAway."""
        with self._alone():
            for key in keys:
                if self._look(key).how in ("done", "failed", "gone"):
                    shutil.rmtree(self.place / key, ignore_errors=True)

    def start_waiting(self) -> None:
        """Starts what waits, as far as there is room. Raises BatchAway."""
        with self._alone():
            self._start_waiting()

    # ---- all below: only while the room's lock is held ----------------------------------------------------------------

    def _alone(self) -> AbstractContextManager[int]:
        return kept.alone(self.place, self.patience)

    def _look(self, key: str) -> Status:
        directory = self.place / key
        if not (directory / "job.json").exists():
            return Status(key, "gone", reason="no such job")
        try:
            if (ended := _read(directory / "ended.json")) is not None:
                return kept.ended(key, int(ended["code"]), str(ended["reason"]))
            started = _read(directory / "started.json")
            pid = "" if started is None else str(started["pid"])
        except (ValueError, TypeError, KeyError) as problem:
            return Status(key, "unknown", reason=f"what is kept in {directory} can't be read: {problem}")
        if self._is_running(key):
            return Status(key, "running", pid)
        if started is None:
            return Status(key, "queued")
        if (ended := _read(directory / "ended.json")) is not None:  # it ended between the two looks
            return self._look(key)
        return Status(key, "gone", pid, reason=_lost(started))

    def _is_running(self, key: str) -> bool:
        handle = os.open(self.place / key / "lock", os.O_RDWR | os.O_CREAT, 0o640)
        try:
            return not kept.flock(handle)
        finally:
            os.close(handle)

    def _enqueue(self, job: Job, turn: int) -> None:
        hidden = self.place / f".{job.key}.{os.getpid()}"
        shutil.rmtree(hidden, ignore_errors=True)
        shutil.rmtree(self.place / job.key, ignore_errors=True)  # of one that was lost
        hidden.mkdir(mode=0o750)
        content = {**asdict(job), "directory": str(job.directory), "turn": turn}
        (hidden / "job.json").write_text(json.dumps(content))
        hidden.rename(self.place / job.key)

    def _start_waiting(self) -> None:
        running, waiting = [], []
        with os.scandir(self.place) as entries:
            keys = [entry.name for entry in entries if not entry.name.startswith(".")]
        for key in keys:
            status = self._look(key)
            if status.how == "running":
                running.append(key)
            elif status.how == "queued":
                waiting.append((self._turn(key), key))
        self._end([key for key in running if self._is_late(key)])
        for _, key in sorted(waiting)[: max(0, self.cores - len(running))]:
            self._start(key)

    def _turn(self, key: str) -> int:
        try:
            return int((_read(self.place / key / "job.json") or {})["turn"])
        except (ValueError, TypeError, KeyError):
            return 0

    def _start(self, key: str) -> None:
        directory = self.place / key
        handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o640)
        try:
            if not kept.flock(handle):
                return
            argv = [sys.executable, "-I", *_beside(), str(directory), str(handle), str(self.cores)]
            done = subprocess.run(
                argv,
                cwd="/",
                env={**os.environ, local_job.MARK: str(directory)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                pass_fds=(handle,),
                start_new_session=True,
                timeout=60,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BatchAway(f"job {key} did not begin within 60 s; it stays queued") from None
        finally:
            os.close(handle)
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise BatchAway(f"job {key} can't be started, it stays queued: {said or f'exit code {done.returncode}'}")

    def _is_late(self, key: str) -> bool:
        """Whether it runs far beyond its time: the process beside it, which should have ended it, was killed."""
        with contextlib.suppress(ValueError, TypeError, KeyError):
            started = _read(self.place / key / "started.json")
            if started and started["boot"] == local_job.boot_id():
                return bool(local_job.clock() > started["clock"] + started["seconds"] + 4 * local_job.GRACE_SECONDS)
        return False

    def _end(self, keys: Sequence[str]) -> None:
        """Ends all processes of these jobs; raises BatchAway when some go on, on another machine or in the kernel."""
        left = list(keys)
        for number, seconds in ((signal.SIGTERM, 1.5 * local_job.GRACE_SECONDS), (signal.SIGKILL, local_job.GRACE_SECONDS)):
            if left:
                _signal_marked({str(self.place / key) for key in left}, number)
                kept.wait(lambda: not any(self._look(key).how == "running" for key in keys), seconds)
                left = [key for key in keys if self._look(key).how == "running"]
        if left:
            raise BatchAway(f"{len(left)} jobs go on, in the kernel or on another machine that shares {self.place}: {left[0]}")


def _beside() -> list[str]:
    """How the process beside a job is started: by its file, or out of the one file that all modules are packed in."""
    file = Path(local_job.__file__)
    if file.exists():
        return [str(file)]
    begin = (
        "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('dmtools.batch.local_job', None, '__main__')"
    )
    return ["-c", begin, str(file.parents[2])]


def _read(path: Path) -> dict[str, Any] | None:
    """The content of a small file, or None when it isn't there. Raises ValueError."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no object")
    return found


def _lost(started: dict[str, Any]) -> str:
    if started.get("boot") != local_job.boot_id() and started.get("host") == os.uname().nodename:
        return "lost: the machine was started anew while it ran"
    return "lost: it was killed together with the process beside it, so nobody knows how far it came"


def _signal_marked(directories: set[str], number: signal.Signals) -> None:
    """Sends the signal to every process that was started with the mark of one of these jobs."""
    wanted = {f"{local_job.MARK}={directory}".encode() for directory in directories}
    for place in Path("/proc").iterdir():
        if not place.name.isdigit() or int(place.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            if not wanted.isdisjoint((place / "environ").read_bytes().split(b"\0")):
                os.kill(int(place.name), number)
