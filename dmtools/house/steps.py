"""Runs the programs that set-up needs, one line a step, and tells what failed in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from dmtools.house.trouble import Trouble, explain

# What a person's own settings would do to a private environment.
_UNSET = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_REQUIRE_VIRTUALENV",
    "VIRTUAL_ENV",
    "UV_PYTHON",
)


@dataclass
class Talk:
    """Says on stderr what is done, one line a step; `did` keeps the steps for --json."""

    name: str = "dm-setup"
    quiet: bool = False
    verbose: bool = False
    did: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """One line for the person who waits."""
        if not self.quiet:
            print(f"{self.name}: {text}", file=sys.stderr, flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """One step: its line is begun before and ended with its time after."""
        begun = time.monotonic()
        self.did.append(text)
        if not self.quiet:
            end = "\n" if self.verbose else " "
            print(f"{self.name}: {text} ...", end=end, file=sys.stderr, flush=True)
        try:
            yield
        except BaseException:
            if not self.quiet:
                print("failed", file=sys.stderr, flush=True)
            raise
        if not self.quiet:
            print(f"{time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what would lead pip and Python elsewhere."""
    kept = {name: value for name, value in os.environ.items() if name not in _UNSET}
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_RETRIES": "2", **(extra or {})}


def run(talk: Talk, step: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Runs a program to its end and gives what it said. Raises Trouble with the sentence for its failure."""
    try:
        done = subprocess.run(
            argv, env=environment(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    except OSError as problem:
        raise Trouble(f"{step} failed: {argv[0]} does not run: {problem.strerror}") from None
    said = done.stdout.decode("utf-8", "replace")
    if talk.verbose:
        sys.stderr.write(said)
    if done.returncode != 0:
        raise explain(step, said)
    return said
