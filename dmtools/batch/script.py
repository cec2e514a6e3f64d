"""The shell script that stands around a job on a batch node: the guard of its key, its environment, how it ended.

All that the job needs is written in it, quoted by one rule: so nothing that a batch system does to arguments or environments can
change it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path

from dmtools import durable
from dmtools.batch import Job, Status
from dmtools.batch.kept import ended

TWICE = 79  # the exit code of a second job of one key, which did nothing
NO_PLACE = 78  # the job's directory can't be entered on its node
OUT = ".dm-out"  # what comes back of a job that HTCondor runs in a scratch directory

_GUARD = """\
# On a file system that the node shares with the submitter: one job of this key at a time, and none after it has ended.
mine={mine}
if [ -d "$mine" ]; then
    exec 9>>"$mine/lock" || exit {no_place}
    if command -v flock >/dev/null && ! flock -n 9 || [ -e "$mine/ended" ]; then
        echo "dmtools: another job of the key {key} runs or has ended: nothing was done" >&2
        exit {twice}
    fi
    uname -n >"$mine/started"
fi
"""
_END = """\
if [ -d "$mine" ]; then
    echo "$code" >"$mine/.ended" && mv "$mine/.ended" "$mine/ended"
fi
# A shell knows a signal as 128 and more: pass it on as what it was.
[ "$code" -gt 128 ] && kill "-$((code - 128))" $$
exit "$code"
"""


_SCRATCH = """\
# Without a shared file system HTCondor runs it in a scratch directory, and holds it when something it shall bring isn't there.
[ "${{_CONDOR_SCRATCH_DIR:-/}}" -ef . ] && mkdir -p {out}
"""
_BRING = """\
for each in {outputs}; do
    [ -d {out} ] && [ -e "$each" ] && mv "$each" {out}/
done
"""


def write(place: Path, job: Job, *, enter: bool) -> Path:
    """Writes the job's script below the room's place and gives it. `enter`: it goes into the job's own directory. OSError."""
    mine = place / job.key
    mine.mkdir(exist_ok=True, mode=0o750)
    durable.write_file(mine / "job.sh", os.fsencode(_text(job, mine, enter=enter)), 0o750)
    return mine / "job.sh"


def own_word(place: Path, key: str) -> Status | None:
    """What the script wrote when the job ended; None: nothing, or not where this room could read it."""
    with contextlib.suppress(OSError, ValueError):
        code = int((place / key / "ended").read_bytes())
        return ended(key, 128 - code if code > 128 else code)
    return None


def gone(place: Path, key: str, system: str) -> Status:
    """Of a key that the batch system doesn't know: that it was lost, or never there."""
    with contextlib.suppress(OSError):
        node = (place / key / "started").read_text(errors="replace").strip()
        return Status(
            key, "gone", reason=f"lost: it began on node {node}, and neither {system} nor its own word says how it ended"
        )
    return Status(key, "gone", reason="no such job")


def _text(job: Job, mine: Path, *, enter: bool) -> str:
    lines = ["#!/bin/sh", f"# The job {job.key} of dmtools."]
    lines += [_GUARD.format(mine=shlex.quote(str(mine)), key=job.key, twice=TWICE, no_place=NO_PLACE)]
    lines += [f"cd {shlex.quote(str(job.directory))} || exit {NO_PLACE}"] if enter else [_SCRATCH.format(out=OUT)]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(job.environment.items())]
    lines += [shlex.join(job.argv), "code=$?"]
    if job.outputs and not enter:
        lines += [_BRING.format(outputs=shlex.join(job.outputs), out=OUT)]
    return "\n".join([*lines, _END])
