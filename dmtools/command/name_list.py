"""A file of names, as people give it to `--list`."""

from __future__ import annotations

import os
from pathlib import Path

from dmtools.command.run import Refused


def read_names(path: Path) -> list[str]:
    """The names of a list, one a line, raw bytes; `#` begins a comment. Raises Refused."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as problem:
        raise Refused(f"the list {path} could not be read: {problem.strerror}") from None
    return [os.fsdecode(line) for line in lines if line.strip() and not line.startswith(b"#")]
