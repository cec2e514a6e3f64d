"""Which files go into which bundle."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dmtools.lta.glue.layout import File


def pack(files: Sequence[File], ideal: int) -> list[list[File]]:
    """The files in the order of their names, cut into bundles of about `ideal` bytes and of about the same size.

    No bundle is larger than its share of all bytes and the largest file together; a file is in exactly one, whatever its size.
    """
    ordered = sorted(files, key=lambda file: file.name)
    total = sum(file.size for file in ordered)
    number = max(round(total / ideal), math.ceil(total / (1.2 * ideal)), 1)
    made: dict[int, list[File]] = {}
    before = 0
    for file in ordered:
        middle = 2 * before + file.size
        made.setdefault(min(number - 1, middle * number // (2 * total)) if total else 0, []).append(file)
        before += file.size
    return [made[place] for place in sorted(made)]
