"""Threads that work beside each other; one that hangs is given up and replaced, and holds up neither the others nor the pass."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from dmtools.storage.deadline import Pulse

T = TypeVar("T")
END_SECONDS = 5.0
Job = Callable[[Pulse], T]


class Crew(Generic[T]):
    """`begin` jobs, take what `ended`. A job beats its pulse at each step; one that is `silent` for long may be given up."""

    def __init__(self, size: int) -> None:
        self._jobs: queue.SimpleQueue[tuple[int, Job[T]] | None] = queue.SimpleQueue()
        self._ends: queue.SimpleQueue[tuple[int, T | BaseException]] = queue.SimpleQueue()
        self._busy: dict[int, Pulse] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.open = 0  # begun and not yet ended
        for _ in range(size):
            self._hire()

    def begin(self, number: int, job: Job[T]) -> None:
        """A job under a number of its own; it waits until a thread is free."""
        self.open += 1
        self._jobs.put((number, job))

    def ended(self, seconds: float) -> tuple[int, T | BaseException] | None:
        """A job that ended, with what it gave or raised; None: none within so many seconds."""
        try:
            found = self._ends.get(timeout=seconds)
        except queue.Empty:
            return None
        self.open -= 1
        return found

    def silent(self, seconds: float) -> list[tuple[int, float, bool]]:
        """The jobs that gave no sign of life for so long, for how many seconds, and whether they wait for their source."""
        now = time.monotonic()
        with self._lock:
            ages = [(number, now - pulse.last, pulse.reads) for number, pulse in self._busy.items()]
        return [one for one in ages if one[1] > seconds]

    def give_up(self, number: int) -> bool:
        """Leaves a silent job to itself; another thread takes its place. False: it has just ended."""
        with self._lock:
            pulse = self._busy.pop(number, None)
            if pulse is None:
                return False
            pulse.given_up = True
        self.open -= 1
        self._hire()
        return True

    def close(self, discard: Callable[[T], None]) -> None:
        """Ends all: what runs is given up at its next step, what it gave and nobody took goes to `discard`."""
        with self._lock:
            for pulse in self._busy.values():
                pulse.given_up = True
        while not self._jobs.empty():
            self._jobs.get()
        for _ in self._threads:
            self._jobs.put(None)
        end = time.monotonic() + END_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        while not self._ends.empty():
            result = self._ends.get()[1]
            if not isinstance(result, BaseException):
                discard(result)

    def _hire(self) -> None:
        thread = threading.Thread(target=self._work, daemon=True, name="copy")
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (taken := self._jobs.get()) is not None:
            number, job = taken
            pulse = Pulse()
            with self._lock:
                self._busy[number] = pulse
            result: T | BaseException
            try:
                result = job(pulse)
            except BaseException as problem:  # noqa: BLE001 - given to who waits for it
                result = problem
            with self._lock:
                if self._busy.pop(number, None) is None:
                    return  # it was given up and replaced
            self._ends.put((number, result))
