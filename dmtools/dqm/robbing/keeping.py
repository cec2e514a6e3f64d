"""The keeper of one site: asks a grabber for one page after the other, ends it when it hangs, and leaves nothing behind."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress

from msgspec.structs import replace

from dmtools.dqm import record
from dmtools.dqm.robbing import processes, storing, told
from dmtools.dqm.robbing.driver_log import DriverLog
from dmtools.dqm.robbing.grabber import Errand, Grabber
from dmtools.dqm.robbing.rooms import Room
from dmtools.dqm.robbing.standing import Standing
from dmtools.dqm.robbing.told import Says, Stage, Told

_BUSY_SECONDS = 2.0  # how long a room may be another's who only looks whether it must be swept
_IDLE_SECONDS = 10.0  # between two looks at old runs when nothing was to do
_MEMORY_SECONDS = 10.0
_MEGABYTE = 1 << 20


class Leave(Exception):
    """The command is gone, or wants us to end."""


def keep(errand: Errand, ears: int, mouth: int, command: int) -> None:
    """In a process of its own, to its end. `ears`: a pipe that ends with the command; `mouth`: what is told goes there."""
    os.setsid()
    processes.adopt_orphans()
    ends = _listen()
    processes.die_with(command, signal.SIGTERM)
    processes.call(f"dqm-{errand.name}")
    try:
        room = _take(errand)
        if room is None:
            told.write(mouth, Says(name=errand.name, told=Told(), busy=True))
            return
        try:
            Keeper(errand, room, (ears, ends), mouth).run()
        finally:
            processes.end_children()
            storing.sweep(errand.home, errand.site.name, live_page=not errand.old)
            room.leave()
    except (Leave, BrokenPipeError):
        return
    except Exception as problem:  # noqa: BLE001 - the command tells it, and starts another keeper
        why = f"{type(problem).__name__}: {problem}"
        with suppress(BrokenPipeError):
            told.write(mouth, Says(name=errand.name, told=Told(trouble=record.WRONG, why=why), gone=True))


def _listen() -> int:
    """A pipe that has something once SIGTERM came: a signal that raised something could do so in the middle of the cleaning."""
    hears, told_by = os.pipe()
    os.set_blocking(told_by, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    signal.set_wakeup_fd(told_by)
    return hears


def _take(errand: Errand) -> Room | None:
    deadline = time.monotonic() + _BUSY_SECONDS
    while (room := Room.take(errand.home, errand.name)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return room


class Keeper:
    """Rounds of one site. Raises Leave out of every wait when one of `ends` has something: the command has gone."""

    def __init__(self, errand: Errand, room: Room, ends: tuple[int, ...], mouth: int) -> None:
        self._errand, self._room, self._ends, self._mouth = errand, room, ends, mouth
        self._limits = errand.settings.dqm
        self._grabber: Grabber | None = None
        self._log = DriverLog(errand.home / "log", errand.name, self._limits.driver_log_bytes)
        self._standing = Standing(errand)
        self._weighed = time.monotonic()

    def run(self) -> None:
        """Until the command goes; `once`: until each page was got or could not be."""
        storing.sweep(self._errand.home, self._errand.site.name, live_page=not self._errand.old)
        while True:
            self._standing.begins()
            answer = self._round()
            wait = self._standing.ends(answer)
            answer = self._written(answer)
            told.write(self._mouth, Says(name=self._errand.name, told=answer, wait=wait))
            if self._errand.once and (not answer.more or self._standing.is_hopeless):
                return
            if not answer.trouble:
                wait = _IDLE_SECONDS if answer.idle else 0.0 if answer.more else self._limits.robber_seconds
            self._heard(None, time.monotonic() + wait)

    def _written(self, answer: Told) -> Told:
        try:
            self._standing.write()
        except OSError as problem:
            return replace(answer, notes=(*answer.notes, f"robber.json can't be written: {problem.strerror or problem}"))
        return answer

    def _round(self) -> Told:
        """One page, or why not. A grabber that is in trouble itself is no more afterwards, nor is its browser."""
        try:
            if self._grabber is None:
                self._grabber = Grabber.start(self._errand, self._room, [*self._ends, self._mouth])
            answer = self._asked(self._grabber)
        except OSError as problem:
            answer = Told(trouble=record.WRONG, why=f"{problem.filename or 'the grabber'}: {problem.strerror or problem}")
        if answer.trouble not in ("", record.AWAY, record.REFUSED):
            self._end(answer.why)
        elif self._grabber is not None and (why := self._is_worn(self._grabber)):
            self._end(why)
        return answer

    def _asked(self, grabber: Grabber) -> Told:
        grabber.ask(self._standing.skip())
        stage = Stage("beginning", self._limits.grab_seconds)
        deadline = time.monotonic() + stage.seconds
        while True:
            if not self._heard(grabber.answers, deadline):
                why = f"{stage.name} took longer than {stage.seconds:g} s"
                return Told(trouble=record.SLOW, why=why, run=stage.run, more=stage.more)
            messages = grabber.answers.hear()
            if messages is None:
                why = f"the grabber died while {stage.name}"
                return Told(trouble=record.WRONG, why=why, run=stage.run, more=stage.more)
            for message in messages:
                if isinstance(message, Told):
                    return replace(message, run=stage.run, more=stage.more) if message.trouble else message
                if isinstance(message, Stage):
                    stage, deadline = message, time.monotonic() + message.seconds

    def _heard(self, answers: told.Ear | None, deadline: float) -> bool:
        """Waits until an answer comes; False: not in time. Meanwhile the driver's words are kept. Raises Leave."""
        while True:
            words = self._grabber.driver if self._grabber else None
            watched = [*self._ends, *([answers.handle] if answers else []), *([words] if words is not None else [])]
            ready, _, _ = select.select(watched, (), (), max(0.0, deadline - time.monotonic()))
            if any(one in ready for one in self._ends):
                raise Leave
            if self._grabber and words in ready:
                self._keep_words(self._grabber)
            if answers and answers.handle in ready:
                return True
            if not ready and time.monotonic() >= deadline:
                return False

    def _keep_words(self, grabber: Grabber) -> None:
        if grabber.driver is None:
            return
        if data := os.read(grabber.driver, 1 << 16):
            self._log.take(data)
        else:  # the grabber, its driver and the browser are dead; the next round will see it
            os.close(grabber.driver)
            grabber.driver = None

    def _is_worn(self, grabber: Grabber) -> str:
        """Why its browser is to be started anew; empty: it is not."""
        if grabber.rounds >= self._limits.browser_grabs:
            return f"it made {grabber.rounds} rounds"
        if time.monotonic() - self._weighed > _MEMORY_SECONDS:
            self._weighed = time.monotonic()
            if (size := processes.memory(grabber.pid)) > self._limits.browser_megabytes * _MEGABYTE:
                return f"it took {size // _MEGABYTE} MB"
        return ""

    def _end(self, why: str) -> None:
        """Ends the grabber with its browser, and empties the room."""
        if self._grabber is not None:
            self._log.note(f"the grabber was ended: {why}")
            self._grabber.close()
            self._grabber = None
        processes.end_children()
        self._room.sweep()
        storing.sweep(self._errand.home, self._errand.site.name, live_page=not self._errand.old)
