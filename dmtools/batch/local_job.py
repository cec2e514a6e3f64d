"""Stands beside one local job: starts it, ends it when its time is up, writes how it ended, starts the next that waits.

Run as a script by dmtools.batch.local, and on its own from then on: in a session of its own, whoever ends. Standard library
only. It and its job hold the lock of the job's directory (`handle`): while it is held, something of the job runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL
MARK = "DM_BATCH_JOB"  # in the environment of all that belongs to a job


def boot_id() -> str:
    """Another one after each start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def clock() -> float:
    """Seconds since the machine's start: no clock that is set wrong disturbs it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes a small file, whole or not at all."""
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    with hidden.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    hidden.rename(path)


def main(directory: Path, handle: int, cores: int) -> None:
    """Tells its caller on stderr what went wrong before the job began; else goes into the background."""
    job = json.loads((directory / "job.json").read_bytes())
    ready, begun = os.pipe()
    if os.fork():
        os.close(begun)
        os._exit(0 if os.read(ready, 1) else 1)
    started = {"pid": os.getpid(), "host": os.uname().nodename, "boot": boot_id(), "clock": clock(), "seconds": job["seconds"]}
    write(directory / "started.json", started)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.write(begun, b"1")
    write(directory / "ended.json", run(job, handle))
    os.close(handle)
    _start_next(directory.parent, cores)


def run(job: dict[str, Any], handle: int) -> dict[str, Any]:
    """{"code": exit code, or minus the signal that ended it, "reason": for people}."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(wake)
    place = Path(job["directory"])
    try:
        with (place / "job.out").open("ab") as out, (place / "job.err").open("ab") as err:
            child = subprocess.Popen(
                job["argv"],
                cwd=place,
                env={**os.environ, **job["environment"]},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                pass_fds=(handle,),
            )
    except (OSError, ValueError) as problem:
        return {"code": 127, "reason": f"{job['argv'][0]} can't be started in {place}: {problem}"}
    ended = os.pidfd_open(child.pid)
    seen = select.select([ended, woken], [], [], job["seconds"])[0]
    reason = ""
    if ended not in seen:
        reason = "ended by SIGTERM to the process beside it" if seen else f"ended after its {job['seconds']} s"
        _signal(child, signal.SIGTERM)
        select.select([ended], [], [], GRACE_SECONDS)
    _signal(child, signal.SIGKILL)  # what the job itself left running, too
    return {"code": child.wait(), "reason": reason}


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _start_next(place: Path, cores: int) -> None:
    os.environ.pop(MARK, None)
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from dmtools.batch import BatchAway
    from dmtools.batch.local import LocalRoom

    with contextlib.suppress(BatchAway, OSError):  # the next pass starts it then
        LocalRoom(place, cores).start_waiting()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
