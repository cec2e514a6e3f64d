"""A pass that goes on: rounds until the word or a signal ends it; every so often the books get what was done."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from sqlalchemy import Connection

from dmtools import clock
from dmtools.control import automatic, heartbeats
from dmtools.control.passes import Pass
from dmtools.ledger.engine import LedgerUnavailable

BOOK_SECONDS = 30.0
AGAIN_SECONDS = 3600.0  # a trouble that lasts is told again after so long


class Loop:
    """`for _ in Loop(this).rounds(): ...`; one round should not take longer than some seconds."""

    def __init__(self, this: Pass, book_seconds: float = BOOK_SECONDS) -> None:
        self._this, self._seconds = this, book_seconds
        self._booked = time.monotonic()
        self._told: dict[str, float] = {}

    def rounds(self) -> Iterator[int]:
        """Counts the rounds. They end when the word is halt or drain; tables that can't be reached are told, and no end."""
        number = 0
        while number == 0 or self._goes_on():
            number += 1
            yield number

    def _goes_on(self) -> bool:
        if time.monotonic() - self._booked < self._seconds:
            return True
        self._booked = time.monotonic()
        try:
            self._book()
            return self._this.goes()
        except LedgerUnavailable as problem:
            self._this.log(f"the books can't be reached, the loop goes on: {problem}")
            return True

    def _book(self) -> None:
        """What was done since the last time is a pass of its own; the account of the next one begins empty."""
        report = self._this.report
        report.settle()

        def work(connection: Connection) -> None:
            at = clock.now()
            heartbeats.end(connection, report, at)
            automatic.after_pass(connection, self._this.settings, report, at)
            self._this.leases.bury(connection)
            heartbeats.begin(connection, report, at)

        try:
            if not self._this.dry_run:
                self._this.ledger.transact(work)
        finally:
            self._tell()
            report.begin_anew()
            self._this.context.turn_log()

    def _tell(self) -> None:
        """Troubles go to stderr when they come, not at the end, which may be in a month; each once an hour."""
        now, name = time.monotonic(), self._this.by
        self._told = {line: at for line, at in self._told.items() if now - at < AGAIN_SECONDS}
        for line in self._this.report.lines(name):
            if line not in self._told:
                self._told[line] = now
                print(line, file=sys.stderr, flush=True)
