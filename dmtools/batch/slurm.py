"""The Slurm room: sbatch, squeue, scancel, and sacct where there is accounting.

A key is the job's name; it is looked up among the user's own jobs before it is submitted. How a job ended is asked of squeue,
which forgets it after minutes (MinJobAge); then the job's own word counts, which its script left in the room's directory of
the key; then sacct.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from dmtools.batch import BatchAway, Job, Status, kept, script, slurm_answers
from dmtools.batch.asking import answer, ask

_HISTORY = "now-60days"
_LATE_SECONDS = 300  # a record of sacct comes up to a minute after squeue's


class SlurmRoom:
    """Batch jobs in Slurm. Each of its commands is given `seconds`."""

    name = "slurm"

    def __init__(self, place: Path, seconds: float = 60.0) -> None:
        self.place = place
        self.seconds = seconds

    def submit(self, jobs: Sequence[Job]) -> dict[str, Status]:
        """Submits those whose key is not known. Raises BatchAway."""
        return kept.submit_new(self.place, self.seconds, jobs, self.statuses, self._submit)

    def statuses(self, keys: Sequence[str]) -> dict[str, Status]:
        """How these stand: one squeue for 500, and one sacct for those that it forgot. Raises BatchAway."""
        found = self._queue(keys)
        found |= {key: status for key in keys if key not in found and (status := script.own_word(self.place, key))}
        lacking = [key for key in keys if key not in found and (self.place / key).exists()]
        if lacking and self._has_accounting():
            found |= self._history(lacking)
            found |= {key: status for key in lacking if key not in found and (status := self._late(key))}
        return {key: found.get(key) or script.gone(self.place, key, "Slurm") for key in keys}

    def cancel(self, keys: Sequence[str]) -> None:
        """Has these ended. Raises BatchAway."""
        ids = [status.id for status in self._queue(keys).values() if status.how in ("queued", "running", "held")]
        if ids and (done := ask(["scancel", *ids], self.seconds)).code != 0:
            self._queue(keys)  # when it answers, they ended meanwhile, or an operator forbids it
            raise BatchAway(f"scancel failed: {done.said}")

    def forget(self, keys: Sequence[str]) -> None:
        """Removes what is kept of those that ended. Raises BatchAway."""
        stand = self._queue(keys)
        for key in keys:
            if key not in stand or stand[key].how in ("done", "failed", "gone"):
                shutil.rmtree(self.place / key, ignore_errors=True)

    def _submit(self, job: Job, lock: int) -> Status:
        file = script.write(self.place, job, enter=True)
        minutes, seconds = divmod(job.seconds, 60)
        argv = ["sbatch", "--parsable", f"--job-name={job.key}", f"--chdir={job.directory}", f"--time={minutes}:{seconds:02}"]
        argv += [f"--mem={job.memory_mb}M", "--output=job.out", "--error=job.err", "--open-mode=append"]
        done = ask([*argv, *job.options, str(file)], self.seconds, hold=lock)
        number = done.out.partition(";")[0].strip()
        if done.code == 0 and number.isdigit():
            return Status(job.key, "queued", number)
        # Refused, or the answer was lost: what is true the queue tells, and BatchAway when it can't be asked, either.
        known = self._queue([job.key])
        return known.get(job.key) or Status(job.key, "held", reason=f"sbatch refuses it: {done.said}")

    def _queue(self, keys: Sequence[str]) -> dict[str, Status]:
        found: dict[str, Status] = {}
        for some in kept.portions(keys):
            argv = ["squeue", "--noheader", "--states=all", f"--user={os.geteuid()}", f"--name={','.join(some)}"]
            said = answer([*argv, f"--Format={slurm_answers.SQUEUE_FORMAT}"], self.seconds)
            found |= slurm_answers.squeue(said, some)
        return found

    def _has_accounting(self) -> bool:
        config = answer(["scontrol", "show", "config"], self.seconds)
        kind = next(
            (line.partition("=")[2].strip() for line in config.splitlines() if line.startswith("AccountingStorageType")), ""
        )
        return kind.endswith("slurmdbd")

    def _history(self, keys: Sequence[str]) -> dict[str, Status]:
        found: dict[str, Status] = {}
        for some in kept.portions(keys):
            argv = ["sacct", "-X", "-P", "-n", f"--user={os.geteuid()}", f"--starttime={_HISTORY}", f"--name={','.join(some)}"]
            done = ask([*argv, f"--format={slurm_answers.SACCT_FORMAT}"], self.seconds)
            if done.code == 0:
                found |= slurm_answers.sacct(done.out, some)
            else:
                why = f"squeue has forgotten it and sacct can't be asked: {done.said}"
                found |= {key: Status(key, "unknown", reason=why) for key in some}
        return found

    def _late(self, key: str) -> Status | None:
        """Unknown, of a job that began and of which sacct says nothing yet; None when that has been so for long."""
        mine = self.place / key
        if not (mine / "started").exists():
            return None
        if not (mine / "missed").exists():
            (mine / "missed").touch()
        if abs(time.time() - (mine / "missed").stat().st_mtime) > _LATE_SECONDS:
            return None
        return Status(key, "unknown", reason="squeue has forgotten it, and sacct has no record of it yet")
