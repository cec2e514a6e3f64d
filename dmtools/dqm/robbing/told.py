"""What a grabber tells its keeper, and a keeper the command: a line of JSON each, over a pipe."""

from __future__ import annotations

import os
from typing import TypeVar

import msgspec


class Wish(msgspec.Struct, frozen=True, tag="wish"):
    """A keeper wants a page; `skip`: old runs that are left alone for now, because they failed."""

    skip: tuple[int, ...] = ()


class Stage(msgspec.Struct, frozen=True, tag="stage"):
    """A step begins: the grabber asks for so many seconds for it. Of old runs: which one, and whether others wait."""

    name: str
    seconds: float
    run: int | None = None
    more: bool = False


class Told(msgspec.Struct, frozen=True, kw_only=True, tag="told"):
    """How one round went. `trouble` is a word of `record`, empty when the page was got; `why` is for the log alone."""

    trouble: str = ""
    why: str = ""
    generation: str = ""  # the name of the one that is in force now
    new: bool = False  # it was made in this round
    run: int | None = None
    lacking: tuple[str, ...] = ()  # what the page did not show in its time
    notes: tuple[str, ...] = ()  # what else is worth a line in the log
    more: bool = False  # of old runs: others wait
    idle: bool = False  # of old runs: nothing was to do


class Says(msgspec.Struct, frozen=True, kw_only=True, tag="says"):
    """A keeper's account of a round. `busy`: another process has the site; `gone`: the keeper itself is in trouble."""

    name: str
    told: Told
    busy: bool = False
    gone: bool = False
    wait: float = 0.0  # seconds until the next try after a failure


Message = Wish | Stage | Told | Says
Kind = TypeVar("Kind", bound=Message)


def write(handle: int, message: Message) -> None:
    """Raises BrokenPipeError when nobody listens any more."""
    data = msgspec.json.encode(message) + b"\n"
    while data:
        data = data[os.write(handle, data) :]


class Ear:
    """Reads messages from a pipe, whole ones alone."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self._rest = b""

    def hear(self) -> list[Message] | None:
        """What came; None at the end. Blocks unless the pipe is ready to be read."""
        data = os.read(self.handle, 1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [msgspec.json.decode(line, type=Message) for line in lines]
