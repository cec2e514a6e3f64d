"""Pieces of a long sequence, each small enough for one IN (...) or one statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def chunks(items: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
    """The sequence in pieces of `size`, in order; the last one may be shorter."""
    return (items[i : i + size] for i in range(0, len(items), size))
