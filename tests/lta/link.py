"""A link between two sites that can be cut, slowed, and lose answers: a little TCP proxy in the test's own process."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Link:
    """Forwards to a port of 127.0.0.1. `cut`: how many of the connections die in their middle; `slow`: seconds at most, a piece.

    `lose`: a request that holds one of these words is carried out and its answer is lost, each word once.
    """

    to: int
    dice: random.Random
    cut: float = 0.0
    slow: float = 0.0
    lose: list[bytes] = field(default_factory=list)
    taken: int = 0  # connections
    cuts: int = 0
    lost: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """No new connection."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.taken += 1
            try:
                far = socket.create_connection(("127.0.0.1", self.to), timeout=10)
            except OSError:
                near.close()
                continue
            life = self.dice.randint(0, 12000) if self.dice.random() < self.cut else None
            pair = _Pair(self, near, far, life)
            for source, target, up in ((near, far, True), (far, near, False)):
                threading.Thread(target=pair.pump, args=(source, target, up), daemon=True).start()


@dataclass
class _Pair:
    link: Link
    near: socket.socket
    far: socket.socket
    life: int | None
    losing: bool = False

    def pump(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(4096):
                if self.link.slow:
                    time.sleep(self.link.dice.random() * self.link.slow)
                if up and (word := next((one for one in self.link.lose if one in block), None)):
                    self.link.lose.remove(word)
                    self.losing = True
                if not up and self.losing:
                    self.link.lost += 1
                    break
                if self.life is not None:
                    self.life -= len(block)
                    if self.life < 0:
                        self.link.cuts += 1
                        break
                target.sendall(block)
        for end in (self.near, self.far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def link(url: str, seed: int, **how: object) -> Iterator[Link]:
    """A link to the server at this URL."""
    made = Link(int(url.rpartition(":")[2]), random.Random(seed), **how)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.close()
