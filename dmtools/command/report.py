"""What a command tells: one record for the console, for JSON and for the log."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from dmtools import clock

EXAMPLES = 20  # of one kind of trouble; a storage that is away gives thousands


@dataclass(frozen=True)
class Problem:
    """What happened, to which thing, why, what was left as it was, what to do. `failed`: an item of the pass failed."""

    what: str
    subject: str
    why: str
    left: str
    next: str
    failed: bool = True

    def sentence(self, command: str = "") -> str:
        """All of it in one line for people; a subject that is the command itself is not said twice."""
        subject = f" {self.subject}:" if self.subject not in ("", command) else ""
        return one_line(f"{self.what}:{subject} {self.why}; {self.left}; {self.next}")

    def record(self) -> dict[str, str]:
        """The five words of the JSON contract."""
        found = asdict(self)
        del found["failed"]
        return found


@dataclass
class Report:
    """The account of one pass."""

    pipeline: str
    component: str
    pass_id: str
    started: datetime = field(default_factory=clock.now)
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[Problem] = field(default_factory=list)
    state: str = ""
    stopped: bool = False  # by a signal: neither a success nor an error
    _told: set[Problem] = field(default_factory=set)

    def moved(self, before: str, after: str, n: int = 1) -> None:
        """Counts n items that went from one state to another."""
        if n:
            self.counts[f"{before}>{after}"] += n

    def problem(self, what: str, subject: str, *, why: str, left: str, next: str, failed: bool = True) -> Problem:
        """Keeps a problem; the same one twice is told once."""
        found = Problem(what, subject, why, left, next, failed)
        if found not in self._told:
            self._told.add(found)
            self.errors.append(found)
        return found

    def begin_anew(self) -> None:
        """Forgets what was told: a pass that goes on begins the next stretch of its account."""
        self.counts.clear()
        self.errors.clear()
        self._told.clear()
        self.state = ""

    def settle(self) -> None:
        """Decides the state when the pass has not set one: partial, done or idle."""
        if not self.state:
            self.state = "partial" if self.some_failed() else "done" if self.counts else "idle"

    def some_failed(self) -> bool:
        """Did items of it fail?"""
        return any(error.failed for error in self.errors)

    def lines(self, command: str, examples: int = EXAMPLES) -> Iterator[str]:
        """The problems for a console or a cron mail: of each kind so many, then how many more there are."""
        seen: Counter[str] = Counter()
        for error in self.errors:
            seen[error.what] += 1
            if seen[error.what] <= examples:
                yield f"{command}: {error.sentence(command)}"
        for what, n in seen.items():
            if n > examples:
                yield f"{command}: {what}: {n - examples} more, each in HOME/log and in the answer of --json"

    def record(self) -> dict[str, Any]:
        """The JSON object of contract section 2."""
        return {
            "schema": 1,
            "pipeline": self.pipeline,
            "component": self.component,
            "pass": self.pass_id,
            "started": clock.iso(self.started),
            "seconds": round((clock.now() - self.started).total_seconds(), 3),
            "state": self.state,
            "counts": dict(self.counts),
            "errors": [error.record() for error in self.errors],
        }

    def summary(self) -> str:
        """One line for a person at a terminal."""
        counts = ", ".join(f"{n} {move.replace('>', ' -> ')}" for move, n in sorted(self.counts.items()))
        words = {"idle": "nothing to do", "halted": "halted, nothing done", "unavailable": "could not run"}
        return f"{self.pipeline}-{self.component}: {words.get(self.state, self.state)}{': ' + counts if counts else ''}"


def one_line(text: str) -> str:
    """Control characters made visible, so that a name can't break or colour the line it is told in."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode("ascii") for c in text)


def print_json(record: dict[str, Any]) -> None:
    """One JSON object on stdout and nothing else there."""
    sys.stdout.write(json.dumps(record, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace").decode() + "\n")
