"""One place of generations, looked at again and again: what it last had whole stays until there is another."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from dmtools.dqm import generations
from dmtools.dqm.generations import Generation, Torn

_AGAIN_SECONDS = 1.0  # a place whose own time has not changed is listed, and a bad generation tried again, after so long


class _Kept(Protocol):
    @property
    def generation(self) -> Generation: ...


T = TypeVar("T", bound=_Kept)


class Corner(Generic[T]):
    """`make` reads a generation, and raises Torn when it is not what its manifest says: then the one before stays."""

    def __init__(self, place: Path, make: Callable[[Generation], T], log: Callable[[str], None]) -> None:
        self.place = place
        self.kept: T | None = None
        self._make, self._log = make, log
        self._time: tuple[int, int] | None = None
        self._listed = float("-inf")
        self._bad: dict[str, float] = {}  # marks, and when they were tried
        self._told: set[str] = set()
        self._settled = False  # the highest number is the one that is kept

    def look(self) -> T | None:
        """The newest whole generation."""
        changed, now = self._stamp(), time.monotonic()
        if changed == self._time and self._settled and now - self._listed < _AGAIN_SECONDS:
            return self.kept
        self._time, self._listed, self._settled = changed, now, True
        self._bad = {mark: at for mark, at in self._bad.items() if now - at < _AGAIN_SECONDS}
        top = generations.top(self.place)
        if self.kept is not None and self.kept.generation.number == top and self._still_there():
            return self.kept
        for generation in generations.every(self.place):
            if self.kept is not None and generation.mark == self.kept.generation.mark:
                self._settled = generation.number == top
                break
            if generation.mark not in self._bad and self._take(generation):
                self._settled = generation.number == top
                break
        else:
            self._settled = False
        return self.kept

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.place)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _still_there(self) -> bool:
        """Is it the same generation, or another of its number, in a place that was emptied?"""
        kept = self.kept
        return (
            kept is not None
            and (found := generations.read(kept.generation.path)) is not None
            and found.mark == kept.generation.mark
        )

    def _take(self, generation: Generation) -> bool:
        try:
            self.kept = self._make(generation)
        except Torn as problem:
            self._bad[generation.mark] = time.monotonic()
            if generation.mark not in self._told:
                self._told = {generation.mark, *list(self._told)[:99]}
                self._log(f"left out, the one before is shown: {problem}")
            return False
        return True
