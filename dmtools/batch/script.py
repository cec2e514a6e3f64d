"""The shell script that stands around a job on a batch node: the guard of its key, its environment, how it ended.

All that the job needs is written in it, quoted by one rule: so nothing that a batch system does to arguments or environments can
change it.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from dmtools.batch import Job

TWICE = 79  # the exit code of a second job of one key, which did nothing
NO_PLACE = 78  # the job's directory can't be entered on its node

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


def text(job: Job, mine: Path, *, enter: bool) -> str:
    """The script of a job. `mine`: the room's directory of the key; `enter`: it runs in the job's own directory."""
    lines = ["#!/bin/sh", f"# The job {job.key} of dmtools."]
    lines += [_GUARD.format(mine=shlex.quote(str(mine)), key=job.key, twice=TWICE, no_place=NO_PLACE)]
    if enter:
        lines += [f"cd {shlex.quote(str(job.directory))} || exit {NO_PLACE}"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(job.environment.items())]
    lines += [shlex.join(job.argv), "code=$?", _END]
    return "\n".join(lines)
