"""The HTCondor room: condor_submit, condor_q, condor_rm, and condor_history for what an operator took away.

A key is the attribute DmtoolsKey of its job; it is looked up in the queue before it is submitted. A job that ended stays in the
queue until `forget`, at most some days: so one condor_q tells all. All that a job needs is in its script: no argument and no
environment passes through the quoting of a submit file, and `$$` in it is the shell's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from dmtools.batch import BatchAway, Job, Status, htcondor_answers, kept, script
from dmtools.batch.asking import answer, ask
from dmtools.batch.htcondor_answers import ATTRIBUTES, KEY

_KEPT_SECONDS = 10 * 86400
_SUBMIT = """\
universe = vanilla
executable = {script}
initialdir = {directory}
output = job.out
error = job.err
should_transfer_files = IF_NEEDED
when_to_transfer_output = ON_EXIT
transfer_input_files = {inputs}
transfer_output_files = {out}/
request_memory = {memory}
batch_name = {key}
My.{attribute} = "{key}"
periodic_remove = JobStatus == 2 && time() - JobCurrentStartDate > {seconds}
leave_in_queue = (JobStatus == 3 || JobStatus == 4) && time() - EnteredCurrentStatus < {kept}
notification = never
{options}
queue
"""


class HTCondorRoom:
    """Batch jobs in HTCondor. Each of its commands is given `seconds`."""

    name = "htcondor"

    def __init__(self, place: Path, seconds: float = 60.0) -> None:
        self.place = place
        self.seconds = seconds

    def submit(self, jobs: Sequence[Job]) -> dict[str, Status]:
        """Submits those whose key is not known. Raises BatchAway."""
        return kept.submit_new(self.place, self.seconds, jobs, self.statuses, self._submit)

    def statuses(self, keys: Sequence[str]) -> dict[str, Status]:
        """How these stand: one condor_q for 500, and one condor_history for those that left the queue. Raises BatchAway."""
        found = self._queue(keys)
        found |= {key: status for key in keys if key not in found and (status := script.own_word(self.place, key))}
        lacking = [key for key in keys if key not in found and (self.place / key / "job.sh").exists()]
        for some in kept.portions(lacking):
            found |= self._history(some)
        return {key: found.get(key) or script.gone(self.place, key, "HTCondor") for key in keys}

    def cancel(self, keys: Sequence[str]) -> None:
        """Has these ended. Raises BatchAway."""
        said = self._remove(_open(self._queue(keys)))
        if said and _open(self._queue(keys)):
            raise BatchAway(f"condor_rm failed: {said}")

    def forget(self, keys: Sequence[str]) -> None:
        """Takes those that ended from the queue and removes what is kept of them. Raises BatchAway."""
        stand = self._queue(keys)
        over = {key: status for key, status in stand.items() if status.how in ("done", "failed")}
        self._remove(over.values())
        said = self._remove(over.values(), "-forcex")  # they stay as removed ones else
        if said and self._queue(list(over)):
            raise BatchAway(f"condor_rm failed: {said}")
        for key in keys:
            if key not in stand or key in over:
                shutil.rmtree(self.place / key, ignore_errors=True)

    def _submit(self, job: Job, lock: int) -> Status:
        try:
            text = _submit_text(job, script.write(self.place, job, enter=False))
        except ValueError as problem:
            return Status(job.key, "held", reason=str(problem))
        done = ask(["condor_submit", "-terse", "-"], self.seconds, feed=text, hold=lock)
        number = done.out.partition(" ")[0].strip()
        if done.code == 0 and number.replace(".", "", 1).isdigit():
            return Status(job.key, "queued", number)
        # Refused, or the answer was lost: what is true the queue tells, and BatchAway when it can't be asked, either.
        known = self._queue([job.key])
        return known.get(job.key) or Status(job.key, "held", reason=f"condor_submit refuses it: {done.said}")

    def _queue(self, keys: Sequence[str]) -> dict[str, Status]:
        found: dict[str, Status] = {}
        for some in kept.portions(keys):
            found |= htcondor_answers.jobs(answer(["condor_q", *_asked(some)], self.seconds), some)
        return found

    def _history(self, keys: Sequence[str]) -> dict[str, Status]:
        # Newest first: what left the queue before the first of these was submitted is none of them.
        first = min((self.place / key / "job.sh").stat().st_mtime for key in keys)
        done = ask(["condor_history", *_asked(keys), "-since", f"EnteredCurrentStatus < {int(first) - 60}"], self.seconds)
        if done.code == 0:
            return htcondor_answers.jobs(done.out, keys)
        why = f"it left the queue and condor_history can't be asked: {done.said}"
        return {key: Status(key, "unknown", reason=why) for key in keys}

    def _remove(self, found: Iterable[Status], *how: str) -> str:
        """What condor_rm complains of: perhaps only that a job is gone already."""
        said = ""
        for some in kept.portions([status.id for status in found]):
            done = ask(["condor_rm", *how, *some], self.seconds)
            said = said if done.code == 0 else done.said
        return said


def _open(found: dict[str, Status]) -> list[Status]:
    return [status for status in found.values() if status.how in ("queued", "running", "held")]


def _asked(keys: Sequence[str]) -> list[str]:
    return ["-json", "-attributes", ",".join(ATTRIBUTES), "-constraint", f'stringListMember({KEY}, "{",".join(keys)}")']


def _submit_text(job: Job, file: Path) -> str:
    return _SUBMIT.format(
        script=_value(str(file)),
        directory=_value(str(job.directory)),
        inputs=", ".join(_value(name, ",") for name in job.inputs),
        out=script.OUT,
        memory=job.memory_mb,
        key=job.key,
        attribute=KEY,
        seconds=job.seconds,
        kept=_KEPT_SECONDS,
        options="\n".join(job.options),
    )


def _value(text: str, forbidden: str = "") -> str:
    """A path as a submit file has it. Raises ValueError when it has no words for it."""
    if text != text.strip() or not text.isprintable() or text.endswith("\\") or any(part in text for part in ("$$", *forbidden)):
        raise ValueError(f"HTCondor's submit files can't name {text!r}")
    return text.replace("$", "$(DOLLAR)")
