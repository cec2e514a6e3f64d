"""The commands of a batch system: argument lists without a shell, a deadline, and an answer or BatchAway."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from dmtools.batch import BatchAway

# What a person may have set to see other columns or fewer jobs.
_UNSET = ("SQUEUE_", "SACCT_", "SLURM_TIME_FORMAT")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """The last line of what it said, for people."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.code}"


def ask(argv: Sequence[str], seconds: float, *, feed: str = "", hold: int = -1) -> Answer:
    """Runs a command to its end. Raises BatchAway when it isn't there or takes longer; then it is killed with its children.

    `hold` is a handle that it inherits: a lock on it lasts until it ends, even when its caller is killed.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith(_UNSET)}
    # Files, not pipes: nobody waits for a child's child that keeps a pipe open.
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(feed.encode())
        given.seek(0)
        try:
            child = subprocess.Popen(
                argv,
                stdin=given,
                stdout=out,
                stderr=err,
                env={**env, "LC_ALL": "C"},
                start_new_session=True,
                pass_fds=(hold,) if hold >= 0 else (),
            )
        except OSError as problem:
            raise BatchAway(f"{argv[0]} can't be run here: {problem.strerror}") from None
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BatchAway(f"{argv[0]} gave no answer within {seconds:.0f} s") from None
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        out.seek(0)
        err.seek(0)
        said, complained = (file.read().decode("utf-8", "replace") for file in (out, err))
    return Answer(code, said, complained)


def answer(argv: Sequence[str], seconds: float) -> str:
    """What a command says that must succeed. Raises BatchAway."""
    done = ask(argv, seconds)
    if done.code != 0:
        raise BatchAway(f"{argv[0]} failed: {done.said}")
    return done.out
