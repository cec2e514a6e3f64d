"""The frame of every pass: settings, ledger, gate, heartbeat, leases; then the work; then how it went."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from pathlib import Path

import click
from sqlalchemy import Connection

from dmtools import clock
from dmtools.command.named import named
from dmtools.command.run import Context, tell, tool
from dmtools.control import automatic, heartbeats, holds
from dmtools.control.holds import Hold
from dmtools.ledger.engine import LedgerUnavailable
from dmtools.ledger.leases import Leases
from dmtools.settings import Settings


class Pass:
    """One run of one component. The work asks `goes()` before each unit and claims what it touches from `leases`."""

    def __init__(self, context: Context, buffers: str = "") -> None:
        self.context = context
        self._buffers = buffers
        self.settings = context.settings
        self.ledger = context.ledger
        self.report = context.report
        self.home = context.home
        self.dry_run = context.dry_run
        self.by = f"{self.report.pipeline}-{self.report.component}"
        self.leases = Leases(self.ledger)
        self.drained = False

    def goes(self, *, new: bool = True) -> bool:
        """May the next unit of work begin? `new`: it takes something new, which a drain forbids."""
        word = holds.in_force(self._holds(), self.report.pipeline, self.report.component)
        if word == "halt":
            self.report.state = "halted"
            return False
        self.drained = word == "drain"
        self.report.state = "draining" if self.drained else ""
        return not (new and self.drained)

    def _holds(self) -> list[Hold]:
        """The holds that bind it now; what it sees of the disks is written down when it has changed."""
        at, scope = clock.now(), f"{self.report.pipeline}/{self.report.component}"
        with self.ledger.read() as connection:
            found = holds.open_holds(connection, self.settings, at)
        full = automatic.of_disks(self.settings, self._places, found, at)
        if not self.dry_run and not automatic.is_kept(full, found, self._places):
            self.ledger.transact(lambda c: automatic.keep(c, list(self._places), full, self.by, at))
            for hold in full:
                self.log(hold.sentence())
        return [hold for hold in found if automatic.binds(hold, scope)] + full

    @functools.cached_property
    def _places(self) -> dict[str, list[Path]]:
        """Whose disks are looked at, by the scope that a full one drains."""
        places = {"all": [self.home]}
        if self._buffers:
            places[f"{self.report.pipeline}/{self.report.component}"] = named(self._buffers)(self.settings)
        return places

    def moved(self, before: str, after: str, n: int = 1) -> None:
        """Counts n items that went from one state to another."""
        self.report.moved(before, after, n)

    def problem(self, what: str, subject: str, *, why: str, left: str, next: str, failed: bool = True) -> None:
        """Keeps a problem for the report and the log; `failed=False`: told, but no item of this pass failed."""
        self.context.problem(what, subject, why=why, left=left, next=next, failed=failed)

    def plan(self, text: str) -> None:
        """A step of the plan: printed by a dry run, logged by a real one."""
        self.context.plan(text)

    def log(self, text: str) -> None:
        """A line in the log."""
        self.context.log(text)


def _without_acts(settings: Settings) -> Settings:
    """The settings of a dry run: what they have a pass do outside, far below, is not in them."""
    from msgspec.structs import replace

    return replace(settings, credentials=replace(settings.credentials, renew=()))


def one(
    pipeline: str, component: str, *, example: str, cron: str = "", by_hand: bool = False, buffers: str = ""
) -> Callable[[Callable[..., None]], click.Command]:
    """Makes a command of `function(this: Pass, **own options)`: one pass of one component.

    `by_hand`: a person's own act, like canceling; no halt stops it, for a halt is when it is needed. `buffers`:
    `module:function`, of the settings, that gives the directories which it fills: while one is full it takes nothing new.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def with_pass(context: Context, **options: object) -> None:
            if context.dry_run:
                context.settings = _without_acts(context.settings)
            this = Pass(context, buffers)
            gc.set_threshold(50_000, 20, 50)  # rows by the thousand make no cycles: looking for them costs a tenth
            if not this.dry_run:
                this.ledger.transact(lambda c: _begin(c, this))
                context.closers.append(this.leases.close)
            try:
                if by_hand or this.goes(new=False):
                    function(this, **options)
            except (SystemExit, click.ClickException, click.exceptions.Exit):
                this.report.state = "failed"
                raise
            except BaseException as problem:  # noqa: BLE001 - told here already, so that the heartbeat knows why
                raise SystemExit(tell(context, problem)) from None
            finally:
                this.report.settle()
                if not this.dry_run:
                    _end(this, by_hand)

        make = tool(f"{pipeline}-{component}", pipeline=pipeline, component=component, example=example, cron=cron)
        return make(with_pass)

    return decorate


def _begin(connection: Connection, this: Pass) -> None:
    this.leases.bury(connection)
    heartbeats.begin(connection, this.report, clock.now())


def _end(this: Pass, by_hand: bool) -> None:
    def book(connection: Connection) -> None:
        heartbeats.end(connection, this.report, clock.now())
        if not by_hand:
            automatic.after_pass(connection, this.settings, this.report, clock.now())

    try:
        this.ledger.transact(book)
    except LedgerUnavailable as problem:
        this.log(f"the end of the pass could not be booked: {problem}")
