"""A grabber as its keeper has it: a process forked from it, asked for one round at a time, ended with all that it started."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from dmtools.dqm.robbing import processes, rooms, told
from dmtools.dqm.robbing.rooms import Room
from dmtools.settings import Settings
from dmtools.settings.dqm import Site


@dataclass(frozen=True)
class Errand:
    """What a keeper is there for: one site's live page, or its old runs; `once`: each page is got once."""

    site: Site
    settings: Settings
    old: bool
    once: bool

    @property
    def home(self) -> Path:
        """HOME."""
        return self.settings.home

    @property
    def name(self) -> str:
        """The name of its room."""
        return f"{self.site.name}{rooms.OLD}" if self.old else self.site.name


@dataclass
class Grabber:
    """`answers` gives its messages, `driver` what the browser's driver says; `pid` is a child of the keeper."""

    pid: int
    _asks: int
    answers: told.Ear
    driver: int | None
    rounds: int = 0

    @classmethod
    def start(cls, errand: Errand, room: Room, close: list[int]) -> Grabber:
        """Furnishes the room and forks; the handles in `close` are the keeper's own. Raises OSError."""
        room.furnish()
        asks, answers, driver = os.pipe(), os.pipe(), os.pipe()
        me = os.getpid()
        pid = os.fork()
        if not pid:
            _become(lambda: _grab(errand, room, (asks[0], answers[1], driver[1]), [*close, asks[1], answers[0], driver[0]], me))
        for handle in (asks[0], answers[1], driver[1]):
            os.close(handle)
        return cls(pid, asks[1], told.Ear(answers[0]), driver[0])

    def ask(self, skip: tuple[int, ...]) -> None:
        """Has it begin a round, without these old runs."""
        self.rounds += 1
        with suppress(BrokenPipeError):  # it is dead: its answers have ended, too
            told.write(self._asks, told.Wish(skip))

    def close(self) -> None:
        """Gives the pipes back; the process is ended by the keeper, with all others."""
        for handle in (self._asks, self.answers.handle, self.driver):
            if handle is not None:
                os.close(handle)
        self.driver = None


def _become(act: Callable[[], None]) -> NoReturn:
    """In the fork: does it and ends, without anything of what the process was before."""
    code = 1
    try:
        act()
        code = 0
    finally:
        os._exit(code)


def _grab(errand: Errand, room: Room, pipes: tuple[int, int, int], close: list[int], keeper: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    processes.die_with(keeper, signal.SIGKILL)
    processes.call("dqm-grabber")
    for handle in close:
        os.close(handle)
    room.unlock()
    from dmtools.dqm.robbing import grabbing, live, oldruns

    ears, mouth, driver = pipes
    source = grabbing.Source(errand.site, errand.settings, room.path, driver, lambda stage: told.write(mouth, stage))
    work: grabbing.Work = oldruns.OldRuns(source, errand.home) if errand.old else live.Live(source, errand.home, once=errand.once)
    grabbing.serve(work, told.Ear(ears), mouth)
