"""Batch jobs: local processes, HTCondor, Slurm. One protocol, three rooms; no tables: the caller keeps the books."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

# queued, running: wait. held: it won't run by itself, `reason` says why. done: exit code 0. failed: ended otherwise, with its
# exit code or signal. gone: the system answers and knows no such job. unknown: the system can't be asked now.
How = Literal["queued", "running", "held", "done", "failed", "gone", "unknown"]


@dataclass(frozen=True, slots=True)
class Job:
    """One job. `key` is its name in the batch system: the same key never runs twice at once, however often it is submitted.

    `argv` is run in `directory`, which holds the job's files (`inputs`, names in it); it leaves `outputs` there. Memory in
    MiB, time in seconds. `options` go to the batch system as they are.
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
        """Submits those whose key the system doesn't know yet; gives how each stands. A job that is refused alone is `held`.

        Raises BatchAway; then some may have been submitted: the same call again is safe.
        """

    def statuses(self, keys: Sequence[str]) -> dict[str, Status]:
        """How these jobs stand, all in a few requests. Raises BatchAway."""

    def cancel(self, keys: Sequence[str]) -> None:
        """Ends these jobs; those that ended already are no fault. Raises BatchAway."""

    def forget(self, keys: Sequence[str]) -> None:
        """These have ended and were booked: what the room kept of them may go."""
