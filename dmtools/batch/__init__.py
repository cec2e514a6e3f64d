"""Batch jobs: local processes, HTCondor, Slurm. One protocol, three rooms; no tables: the caller keeps the books.

The rooms keep what they must below HOME/run/batch, a directory a key; `forget` removes it. A job's output goes to `job.out`
and `job.err` in its directory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from dmtools.settings import Settings

# queued, running: wait. held: it won't run by itself, `reason` says why. done: exit code 0. failed: ended otherwise, with its
# exit code or signal. gone: the system answers and knows no such job, or lost it with its machine: nothing of it runs, and
# nobody knows how it ended. unknown: what the system says of it can't be read.
How = Literal["queued", "running", "held", "done", "failed", "gone", "unknown"]
ROOMS = ("local", "htcondor", "slurm")
_KEY = re.compile(r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\Z")


@dataclass(frozen=True, slots=True)
class Job:
    """One job. `key` is its name in the batch system: the same key never runs twice at once, however often it is submitted.

    `argv` is run in `directory`, which holds the job's files (`inputs`, names in it); it leaves `outputs` there. Memory in
    MiB, time in seconds. `environment` comes on top of what the batch system gives. `options` go to the batch system as they
    are. A key is a file name of letters, digits, `.`, `_` and `-`: else ValueError.
    """

    key: str
    argv: tuple[str, ...]
    directory: Path
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    memory_mb: int = 2000
    seconds: int = 86400
    environment: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _KEY.match(self.key):
            raise ValueError(f"a job's key can't be {self.key!r}: letters, digits, '.', '_' and '-', at most 100, no dot first")


@dataclass(frozen=True, slots=True)
class Status:
    """How a job stands. `id` is the batch system's own; `reason` is for people; `exit_code` None: not ended, or by a signal."""

    key: str
    how: How
    id: str = ""
    exit_code: int | None = None
    reason: str = ""


class BatchAway(Exception):
    """The batch system can't be asked or takes nothing now: nothing is known, nothing was done. The text says why."""


class Room(Protocol):
    """A batch system."""

    name: str

    def submit(self, jobs: Sequence[Job]) -> dict[str, Status]:
        """Submits those whose key the system doesn't know yet; gives how each stands.

        A job that is refused alone is `held`, without an id: the system has nothing of it, and may take it another time.

        Raises BatchAway; then some may have been submitted: the same call again is safe.
        """

    def statuses(self, keys: Sequence[str]) -> dict[str, Status]:
        """How these jobs stand, all in a few requests. Raises BatchAway."""

    def cancel(self, keys: Sequence[str]) -> None:
        """Has these jobs ended; a batch system may take its time: `statuses` tells. Ended ones are no fault. Raises BatchAway."""

    def forget(self, keys: Sequence[str]) -> None:
        """These have ended and were booked: what the room kept of them goes. Open ones are left alone. Raises BatchAway."""


def room_for(settings: Settings, name: str = "") -> Room:
    """The batch system that [daq] batch names, or the one of this name ("local", "htcondor", "slurm")."""
    name = name or settings.daq.batch
    place = settings.home / "run/batch" / name
    if name == "local":
        from dmtools.batch.local import LocalRoom

        return LocalRoom(place)
    if name == "slurm":
        from dmtools.batch.slurm import SlurmRoom

        return SlurmRoom(place)
    if name == "htcondor":
        from dmtools.batch.htcondor import HTCondorRoom

        return HTCondorRoom(place)
    raise ValueError(f"there is no batch system {name!r}; there are: {', '.join(ROOMS)}")
