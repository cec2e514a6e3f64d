"""Which trees of a disk are dumped: [lta] wanted, where YEAR stands for any four digits, by whole names of directories."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence

from dmtools.command import Refused

Pattern = tuple[re.Pattern[bytes], ...]


def patterns(wanted: Sequence[str]) -> list[Pattern]:
    """The trees as the settings name them. Raises Refused."""
    return [_pattern(text) for text in wanted]


def _pattern(text: str) -> Pattern:
    parts = [part for part in os.fsencode(text).split(b"/") if part]
    if not parts or any(part in (b".", b"..") for part in parts):
        raise Refused(f"[lta] wanted: {text!r} is no tree: write directories below the disk's own, without '.' and '..'")
    return tuple(re.compile(b"[0-9]{4}".join(map(re.escape, part.split(b"YEAR"))), re.DOTALL) for part in parts)


def trees(root: bytes, wanted: Sequence[Pattern]) -> list[bytes]:
    """The wanted trees that a disk has, as paths below its root, none inside another; links are not followed. Raises OSError."""
    if not wanted:
        return [b""]
    found = sorted({tree for pattern in wanted for tree in _matching(root, b"", pattern)})
    return [tree for tree in found if not any(tree.startswith(other + b"/") for other in found)]


def _matching(root: bytes, below: bytes, pattern: Pattern) -> list[bytes]:
    if not pattern:
        return [below]
    found: list[bytes] = []
    for name in os.listdir(os.path.join(root, below)):
        path = os.path.join(below, name)
        if pattern[0].fullmatch(name) and stat.S_ISDIR(os.lstat(os.path.join(root, path)).st_mode):
            found += _matching(root, path, pattern[1:])
    return found
