"""Sign-ins that failed, by name and by address: after a few of them the next must wait, whether or not the name exists."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque

SPAN = 300.0  # seconds
OF_A_NAME, OF_AN_ADDRESS = 5, 30
_MOST_KEYS = 20000


class Guesses:
    """Counts in memory: a restart forgets them, and so must who guesses wait for one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def begin(self, name: str, address: str) -> float:
        """Counts a try before it is judged; seconds to wait instead when there were too many, then it is not counted."""
        keys = {("name", name[:64]): OF_A_NAME, ("address", address): OF_AN_ADDRESS}
        now = time.monotonic()
        with self._lock:
            found = {key: self._recent(key, now) for key in keys}
            waits = [found[key][0] + SPAN - now for key, most in keys.items() if len(found[key]) >= most]
            if not waits:
                for times in found.values():
                    times.append(now)
            return max(waits, default=0.0)

    def worked(self, name: str, address: str) -> None:
        """The password was right: the name's count begins anew, and the address has one try less."""
        with self._lock:
            self._times.pop(("name", name[:64]), None)
            if times := self._times.get(("address", address)):
                times.pop()

    def _recent(self, key: tuple[str, str], now: float) -> deque[float]:
        times = self._times.setdefault(key, deque())
        self._times.move_to_end(key)
        while times and times[0] <= now - SPAN:
            times.popleft()
        while len(self._times) > _MOST_KEYS:
            self._times.popitem(last=False)
        return times
