"""A thread that reads something again and again while somebody asks for it, so that no request waits for the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dmtools import clock

T = TypeVar("T")


@dataclass(frozen=True)
class Reading(Generic[T]):
    """What was read last. `read` is when (monotonic seconds), `problem` why the newest try failed; the value is older then."""

    value: T | None = None
    read: float = 0.0
    problem: str = ""
    number: int = 0  # of the try


class Reader(Generic[T]):
    """Calls `read` every `seconds` as long as `ask` is called; `explain` makes a sentence of what it raises."""

    def __init__(self, read: Callable[[], T], seconds: float, explain: Callable[[Exception], str]) -> None:
        self.seconds = seconds
        self._read, self._explain = read, explain
        self._changed = threading.Condition()
        self._last = Reading[T]()
        self._begun = 0  # the number of the newest try
        self._begun_at = self._asked_at = float("-inf")
        self._wanted = 0  # a try with this number or a later one is wanted at once
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._thread.start()

    def ask(self, patience: float = 2.0) -> Reading[T]:
        """The last reading; after a time without questions it waits for a new one, at most `patience` seconds of its work."""
        now = time.monotonic()
        idle = now - self._asked_at > self._linger() or self._last.number == 0
        self._asked_at = now
        if not idle:
            return self._last
        with self._changed:
            if self._begun == self._last.number:
                self._wanted = self._begun + 1
                self._changed.notify_all()
                return self._wait(self._wanted, patience)
            under_way, so_long = self._begun, now - self._begun_at
        return self._wait(under_way, patience - so_long)

    def fresh(self, patience: float = 5.0) -> Reading[T]:
        """A reading that began after this call, if it comes in time: for those who have just changed something."""
        self._asked_at = time.monotonic()
        with self._changed:
            wanted = self._wanted = self._begun + 1
            self._changed.notify_all()
        return self._wait(wanted, patience)

    def trouble(self) -> str:
        """Why the last reading is old; empty when it is not."""
        last, silent = self._last, time.monotonic() - self._begun_at
        if self._begun > last.number and silent > max(5.0, 2 * self.seconds):
            return f"no answer for {clock.age(silent)}"
        return last.problem

    def stop(self) -> None:
        """Ends the thread once it has nothing under way."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _linger(self) -> float:
        """Seconds after the last question for which it goes on reading."""
        return 3 * self.seconds + 1

    def _wait(self, wanted: int, patience: float) -> Reading[T]:
        with self._changed:  # an RLock: the caller may have it
            self._changed.wait_for(lambda: self._last.number >= wanted or self._stopped, patience)
            return self._last

    def _pause(self) -> float | None:
        """Seconds until the next try is due; None: when somebody asks."""
        if self._wanted > self._begun:
            return 0.0
        now = time.monotonic()
        if now - self._asked_at > self._linger():
            return None
        return max(0.0, self._begun_at + self.seconds - now)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and (pause := self._pause()) != 0.0:
                    self._changed.wait(pause)
                if self._stopped:
                    return
                self._begun += 1
                self._begun_at = time.monotonic()
            reading = self._try(self._begun)
            with self._changed:
                self._last = reading
                self._changed.notify_all()

    def _try(self, number: int) -> Reading[T]:
        begun = time.monotonic()
        try:
            return Reading(self._read(), begun, "", number)
        except Exception as problem:  # noqa: BLE001 - the page stays up and says why its data are old
            return Reading(self._last.value, self._last.read, self._explain(problem), number)
