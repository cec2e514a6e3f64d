"""The two files of a tape job: job.json says what to do, result.json what became of it. All that a batch node gets to know."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dmtools import durable

JOB, RESULT = "job.json", "result.json"
PUT, GET, FIXITY = "put", "get", "fixity"
DONE, FAILED, AWAY = "done", "failed", "away"


@dataclass(frozen=True)
class TapeJob:
    """One job. `local` and `tape` are percent-encoded paths; `before`: the key of the attempt before this one, or empty."""

    key: str
    kind: str
    size: int
    sha512: str
    local: str
    tape: str
    before: str = ""
    system: dict[str, Any] = field(default_factory=dict)  # tape, tape_root, tape_commands, tape_seconds of the settings


@dataclass(frozen=True)
class Outcome:
    """What became of a job: done with what was read back, failed with a class, or away: nothing is known, try again.

    `differs`: the tape answers, and has other bytes or none.
    """

    key: str
    outcome: str
    cls: str = ""
    why: str = ""
    size: int | None = None
    sha512: str | None = None
    differs: bool = False


class BadFile(Exception):
    """It is no job or result file; the text says why."""


def write(path: Path, what: TapeJob | Outcome) -> None:
    """Writes it whole, or not at all. Raises OSError."""
    durable.write_file(path, json.dumps(asdict(what), indent=1).encode() + b"\n")


def read_job(path: Path) -> TapeJob:
    """Raises BadFile; OSError when it can't be read."""
    try:
        job = TapeJob(**json.loads(path.read_bytes()))
    except (ValueError, TypeError) as problem:
        raise BadFile(f"{path} is no job file: {problem}") from None
    kinds = {"size": int, "system": dict}
    if wrong := [name for name, value in vars(job).items() if not isinstance(value, kinds.get(name, str))]:
        raise BadFile(f"{path} is no job file: {wrong[0]} has a wrong type")
    return job


def read_outcome(path: Path, key: str) -> Outcome | None:
    """The result of the job with this key; None: there is none. Raises BadFile; OSError when it can't be read now."""
    try:
        found = Outcome(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as problem:
        raise BadFile(f"{path} is no result file: {problem}") from None
    if (
        found.key != key
        or found.outcome not in (DONE, FAILED, AWAY)
        or not all(isinstance(text, str) for text in (found.why, found.cls))
    ):
        raise BadFile(f"{path} is no result of the job {key}")
    if found.outcome == DONE and not (isinstance(found.size, int) and isinstance(found.sha512, str)):
        raise BadFile(f"{path} says done and names no size and sha512")
    return found
