"""Tape systems behind one protocol: a directory, hsi, or commands of the site's own.

A tape system is believed when it says what was asked in words that are understood: a size, a checksum, "there is no such file".
All else is a TapeError of the class `unclear`: unknown, never done and never absent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from dmtools import names
from dmtools.lta.remote.settings import Remote
from dmtools.storage import deadline


class TapeError(Exception):
    """It did not work. `cls`: timeout, tape (it said no), unclear (its answer can't be read), name (it can't be named there)."""

    def __init__(self, cls: str, why: str) -> None:
        super().__init__(why)
        self.cls, self.why = cls, why


class Tape(Protocol):
    """A tape system. Paths are those of the tape; every call but `trouble` raises TapeError."""

    def trouble(self) -> str | None:
        """Why nothing can be done with it now; None: it is available."""

    def check_name(self, path: str) -> None:
        """Raises TapeError `name` when the tape system can't be told this path."""

    def size(self, path: str) -> int | None:
        """Bytes of the file; None: it is certain that there is none."""

    def checksum(self, path: str) -> str | None:
        """The sha512 that the tape system has of the file, in hex; None: it has none."""

    def reread(self, path: str) -> bool:
        """Has the tape system read the file again: are the bytes those of its checksum?"""

    def put(self, local: Path, path: str) -> None:
        """Writes a file, over what an earlier try has left under that name; directories above it are made."""

    def get(self, path: str, local: Path) -> None:
        """Reads a file into a new local one."""

    def rename(self, path: str, to: str) -> None:
        """Gives a file its name in the same directory; the caller has seen that there is none of that name."""

    def remove(self, path: str) -> None:
        """Removes a file."""


def tape_of(settings: Remote) -> Tape:
    """The tape system that [lta] tape names."""
    if settings.tape == "hsi":
        from dmtools.lta.remote.tape_hsi import HsiTape

        return HsiTape(settings.tape_seconds)
    if settings.tape == "commands":
        from dmtools.lta.remote.tape_commands import CommandTape

        return CommandTape(settings.tape_commands, settings.tape_seconds)
    from dmtools.lta.remote.tape_directory import DirectoryTape

    return DirectoryTape(Path(settings.tape_root))


def path_on_tape(root: str, ideal: str) -> str:
    """Where a bundle of this ideal name (percent-encoded, begins with /) lies on tape. Raises names.NameRefused."""
    raw = names.decode(ideal)
    names.check_path(raw, ideal)
    return root.rstrip("/") + os.fsdecode(raw)


def run(argv: Sequence[str], seconds: float) -> deadline.Finished:
    """A command of a tape system, without a shell. Raises TapeError when it can't be started or takes longer: then it is ended
    with all that it started.
    """
    try:
        done = deadline.run(argv, seconds, {**os.environ, "LC_ALL": "C"})
    except (OSError, ValueError) as problem:
        raise TapeError("tape", f"{argv[0]} can't be run here: {getattr(problem, 'strerror', None) or problem}") from None
    if done.timed_out:
        raise TapeError("timeout", f"{argv[0]} did not end within {seconds:.0f} s; it was ended with all that it started")
    return done


def said(done: deadline.Finished) -> str:
    """The last line that a command said, for people; it is never looked into."""
    lines = [line.strip() for line in (done.err or done.out).decode("utf-8", "replace").splitlines() if line.strip()]
    return f"exit code {done.code}" + (f": {lines[-1][:300]}" if lines else "")


def available(call: Callable[[], object]) -> str | None:
    """The trouble that a call meets."""
    try:
        call()
    except TapeError as problem:
        return problem.why
    return None
