"""datalogger-declare: each finished file to each catalogue, step by step: booked, looked up, done, looked up again, booked.

Each catalogue is asked by a thread of its own, so that a slow one holds up no other; the pass alone books.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

from dmtools import clock
from dmtools.command import Unavailable
from dmtools.control.passes import Pass
from dmtools.datalogger import declarations
from dmtools.datalogger.catalogues import entry as told
from dmtools.datalogger.catalogues.entry import Away, Catalogue, Entry, Failed, Seen
from dmtools.datalogger.declarations import D, Declaration
from dmtools.datalogger.states import BEGUN, DECLARED, DIFFERS, HALF, UNDECLARED

LONGEST = timedelta(hours=6)  # between two attempts
IN_A_ROW = 3  # so many files that a server fails with, and it is left alone
Calls = Generator[Callable[[], Any], Any, None]  # what a thread is to do; its answer, or its error, comes back


class _Stop(Exception):
    """Nothing more is begun at this catalogue."""


class _Lost(Exception):
    """Another pass has the declaration."""


@dataclass
class Line:
    """The work at one catalogue in this pass. `away`: why it can't be reached."""

    this: Pass
    catalogue: Catalogue
    due: Sequence[Declaration]
    entries: dict[int, Entry]
    away: str = ""
    _failures: int = field(default=0)  # in a row

    def calls(self) -> Calls:
        """All of it."""
        try:
            yield self.catalogue.open
            for one in self.due:
                if not self.this.goes():
                    return
                if self.this.dry_run:
                    yield from self._planned(one)
                elif self._is_ours(one):
                    yield from self._declared(one)
        except _Stop:
            return
        except Away as problem:
            self.away = str(problem)
        except Failed as problem:
            name = f"{self.catalogue.name} ({self.catalogue.shown})"
            self._tell("can't be used", name, problem, "all files stay as they are")

    def _planned(self, one: Declaration) -> Calls:
        """Looks, and says what would be done."""
        entry = self.entries[one.file_id]
        seen: Seen = yield partial(self.catalogue.look, entry)
        lacks = self._lacks(entry, seen)
        if seen.differs:
            self._tell("differs", one.shown, Failed(told.DIFFERS, seen.differs, "look at both"), "nothing was changed")
        elif lacks:
            self.this.plan(f"would declare {one.shown}: {', '.join(lacks)}")
        elif one.state != DECLARED:
            self.this.plan(f"would book {one.shown} as declared: all of it is there")

    def _is_ours(self, one: Declaration) -> bool:
        """Claimed, and as it was when it was read."""
        if not self.this.leases.claim([one.resource]):
            return False
        with self.this.ledger.read() as connection:
            found = declarations.read(connection, D.id == one.id)
        if found and (found[0].state, found[0].since) == (one.state, one.since):
            return True
        self.this.leases.release([one.resource])
        return False

    def _declared(self, one: Declaration) -> Calls:
        """One file, and how it went. Raises Away, _Stop."""
        now = _Stand(self.this, one)
        try:
            yield from self._brought(now, self.entries[one.file_id])
            self._failures = 0
        except _Lost:
            return
        except Away as problem:
            why = f"{self.catalogue.name} is away: {problem}"
            now.book(now.rests, why, reason=why)
            raise
        except Failed as problem:
            self._put_off(now, problem)
        finally:
            self.this.leases.release([one.resource])

    def _brought(self, now: _Stand, entry: Entry) -> Calls:
        """Looks, does what lacks, looks again. Raises Away, Failed, _Lost."""
        seen: Seen = yield partial(self.catalogue.look, entry)
        if not seen.differs and (lacks := self._lacks(entry, seen)):
            if now.one.state == DECLARED:
                self.this.context.say(f"{now.one.shown}: declared, but {', '.join(lacks)} lacked there; that is mended")
            found = [step for step in self.catalogue.steps(entry) if step in seen.steps]
            now.book(BEGUN, f"lacks {' '.join(lacks)}", steps=" ".join(found))
            for step in lacks:
                yield partial(self.catalogue.act, step, entry)
                now.book(BEGUN, None, steps=f"{now.one.steps} {step}".strip())
            seen = yield partial(self.catalogue.look, entry)
        if seen.differs:
            now.book(DIFFERS, seen.differs, error_class=told.DIFFERS, reason=seen.differs, asked=clock.now())
            step = "look which of the two is right; then: datalogger-declare --reconcile"
            self._tell("differs", now.one.shown, Failed(told.DIFFERS, seen.differs, step), "neither was touched")
        elif lacks := self._lacks(entry, seen):
            raise Failed(told.SERVER, f"it said that all is done, and does not have it: {', '.join(lacks)}")
        else:
            steps = " ".join(self.catalogue.steps(entry))
            now.book(DECLARED, None, steps=steps, failures=0, error_class=None, reason=None, asked=clock.now())

    def _lacks(self, entry: Entry, seen: Seen) -> list[str]:
        return [step for step in self.catalogue.steps(entry) if step not in seen.steps]

    def _put_off(self, now: _Stand, problem: Failed) -> None:
        """It is tried again later, and later each time; what no other file would fare better with ends the line."""
        failures = now.one.failures + 1
        pause = min(LONGEST, timedelta(minutes=self.this.settings.datalogger.retry_minutes) * 2 ** min(failures - 1, 20))
        values = {"failures": failures, "ready": clock.now() + pause, "error_class": problem.kind, "reason": str(problem)}
        now.book(now.rests, str(problem), **values)
        self._tell("not declared", now.one.shown, problem, f"known to be there: {now.one.steps.replace(' ', ', ') or 'nothing'}")
        self._failures += 1
        if problem.of_all or (problem.kind == told.SERVER and self._failures >= IN_A_ROW):
            raise _Stop

    def _tell(self, what: str, subject: str, problem: Failed, left: str) -> None:
        self.this.problem(what, subject, why=str(problem), left=left, next=problem.step)


@dataclass
class _Stand:
    """A declaration of ours as it is booked now."""

    this: Pass
    one: Declaration

    @property
    def rests(self) -> str:
        """Where it stands when an attempt ends in between."""
        return self.one.state if self.one.state != BEGUN else HALF if self.one.steps else UNDECLARED

    def book(self, after: str, why: str | None, **values: Any) -> None:
        """Raises _Lost when somebody else has it."""
        at = clock.now()
        if not declarations.advance(self.this, self.one, after, why, values, at):
            raise _Lost
        kept = {key: value for key, value in values.items() if key in Declaration.__dataclass_fields__}
        self.one = replace(self.one, state=after, since=at if after != self.one.state else self.one.since, **kept)


def run(lines: Sequence[Line]) -> None:
    """All lines at once; ends when each has come to its end."""
    crews = [ThreadPoolExecutor(1, line.catalogue.name) for line in lines]
    open_: dict[Future[Any], tuple[Calls, ThreadPoolExecutor]] = {}

    def go_on(calls: Calls, crew: ThreadPoolExecutor, answer: Callable[[], Callable[[], Any]]) -> None:
        try:
            open_[crew.submit(answer())] = (calls, crew)
        except StopIteration:
            return

    try:
        for line, crew in zip(lines, crews, strict=True):
            calls = line.calls()
            go_on(calls, crew, partial(next, calls))
        while open_:
            for future in wait(open_, return_when=FIRST_COMPLETED).done:
                calls, crew = open_.pop(future)
                problem = future.exception()
                go_on(calls, crew, partial(calls.throw, problem) if problem else partial(calls.send, future.result()))
    finally:
        for crew in crews:
            crew.shutdown(wait=False, cancel_futures=True)


def tell_away(lines: Sequence[Line]) -> None:
    """Catalogues that are away are told; when all are, nothing could be done. Raises Unavailable."""
    away = [line for line in lines if line.away]
    left, step = "what is to be declared there stays so", "the next pass goes on"
    if away and len(away) == len(lines):
        names = ", ".join(f"{line.catalogue.name} ({line.catalogue.shown})" for line in away)
        raise Unavailable("no catalogue can be reached", names, "; ".join(line.away for line in away), step, left)
    for line in away:
        name = f"{line.catalogue.name} ({line.catalogue.shown})"
        line.this.problem("a catalogue is away", name, why=line.away, left=left, next=step, failed=False)
