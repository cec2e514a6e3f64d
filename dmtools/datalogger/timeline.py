"""datalogger-timeline: each supercycle that is played is booked with its events, once, in one transaction; gaps are told."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace
from sqlalchemy import Connection, insert, select

from dmtools import clock
from dmtools.command import Unavailable
from dmtools.control.passes import Pass
from dmtools.datalogger import asking, tlg
from dmtools.datalogger.asking import CUT, Away
from dmtools.datalogger.reading import Trouble
from dmtools.datalogger.tlg import Entry
from dmtools.ledger import tables
from dmtools.ledger.engine import LedgerUnavailable, Stale
from dmtools.ledger.leases import Lease
from dmtools.ledger.types import AnyRow
from dmtools.spool import folders

S, T = tables.datalogger_supercycle.c, tables.datalogger_timeline.c
PATIENCE = 30.0  # seconds at most for one question: a supercycle is over soon
NAP = 0.5
AGAIN = 5.0  # seconds after a trouble, or a quarter of a supercycle


@dataclass(frozen=True)
class Supercycle:
    """One that is played: its start by this machine's clock, its length in seconds, its events."""

    start: datetime
    seconds: float
    entries: tuple[Entry, ...]


def resource(home: str) -> str:
    """What the one recorder of a HOME holds."""
    return f"datalogger-timeline/{home}"


class Recorder:
    """Looks once a supercycle, a little after its start, and books what it sees."""

    def __init__(self, this: Pass) -> None:
        found = this.settings.datalogger
        self._this = this
        self._home = folders.id_for(this.home, dry_run=this.dry_run)
        self._limits = replace(
            found, silence_seconds=min(PATIENCE, found.silence_seconds), answer_seconds=min(PATIENCE, found.answer_seconds)
        )
        self._lease: Lease | None = None
        self._known = ""
        self._length = 0.0
        self._next = 0.0

    def claim(self) -> bool:
        """Is it ours to record? One process does."""
        self._lease = self._this.leases.claim([resource(self._home)]).get(resource(self._home))
        if self._lease is None:
            self._this.log("another datalogger-timeline records; this one has nothing to do")
        return self._lease is not None

    def tend(self) -> bool:
        """One short step: a nap, or a look; False when it is not ours any more."""
        rest = self._next - time.monotonic()
        if rest > 0:
            time.sleep(min(rest, NAP))
            return True
        try:
            self.once()
        except Unavailable as problem:
            self._pause()
            self._this.problem(
                problem.what, problem.subject, why=str(problem), left=problem.left, next=problem.next_step, failed=False
            )
        except LedgerUnavailable as problem:
            self._pause()
            self._this.log(f"the tables can't be reached, it is tried again: {problem}")
        except Stale as problem:
            self._this.log(f"{problem}: this one ends")
            return False
        return True

    def once(self) -> Supercycle:
        """Looks and books. Raises Unavailable when the logger is away or says no timeline, Stale, LedgerUnavailable."""
        left, step = "nothing was booked of it", "it is looked at again; what is missed is told as a gap"
        where = self._this.settings.datalogger.url
        try:
            seen = self._look(asking.Logger(asking.address(self._this.settings), self._limits))
        except Away as problem:
            raise Unavailable("the logger is away", where, str(problem), step, left) from None
        except Trouble as problem:
            raise Unavailable("no timeline", where, f"the logger gave no timeline: {problem}", step, left) from None
        if self._this.dry_run:
            self._this.plan(
                f"would book the supercycle of {clock.iso(seen.start)}: {seen.seconds:g} s, {len(seen.entries)} events"
            )
            return seen
        at = clock.now()
        gap = self._this.ledger.transact(lambda c: self._book(c, seen, at))
        if gap:
            why, left = f"before it nobody watched for {gap:.1f} s", "what was played then is not known"
            step = "nothing can bring it back"
            self._this.problem("gap", str(clock.iso(seen.start)), why=why, left=left, next=step, failed=False)
        self._known, self._length = tlg.digest(seen.entries), seen.seconds
        rest = seen.seconds - (clock.now() - seen.start).total_seconds()
        self._next = time.monotonic() + max(0.0, rest) + min(1.0, seen.seconds / 10)
        return seen

    def _pause(self) -> None:
        self._next = time.monotonic() + min(AGAIN, self._length / 4 or AGAIN)

    def _look(self, logger: asking.Logger) -> Supercycle:
        """What is played now; all of it must be of one supercycle. Raises Trouble, Away."""
        seconds = tlg.length(logger)
        asked = time.monotonic()
        over = tlg.over(logger)
        took = time.monotonic() - asked
        now = clock.now()
        if over > seconds + 1 or took > seconds / 4:
            raise Trouble(CUT, f"{over:g} s of a supercycle of {seconds:g} s are over, said after {took:.1f} s")
        start = now - timedelta(seconds=over + took / 2)
        entries = tlg.played(logger)
        if tlg.digest(entries) != self._known and tlg.played(logger) != entries:
            raise Trouble(CUT, "two answers about it differ")  # a new timeline is believed when it is told twice
        if (clock.now() - start).total_seconds() >= seconds:
            raise Trouble(CUT, "it was over before all was told")
        return Supercycle(start, seconds, entries)

    def _book(self, connection: Connection, seen: Supercycle, at: datetime) -> float:
        """One transaction: the supercycle and, when it is new, its timeline; gives the gap before it. Raises Stale."""
        if self._lease is None:
            raise Stale("the timeline was not claimed")
        self._this.leases.check(connection, self._lease)
        mine = select(tables.datalogger_supercycle).where(S.home == self._home)
        last: AnyRow = connection.execute(mine.order_by(S.start.desc()).limit(1)).first()
        between = (seen.start - last.start).total_seconds() if last is not None else None
        if between is not None and between < min(seen.seconds, last.seconds) / 2:
            return 0.0  # it is that one, or a clock was set back: what is booked stays
        gap = None if between is None else between - last.seconds
        if gap is not None and gap < seen.seconds / 4:
            gap = 0.0  # start and length are told to a few hundredths
        row = {"home": self._home, "start": seen.start, "seconds": seen.seconds, "gap": gap, "booked": at}
        connection.execute(insert(tables.datalogger_supercycle).values({**row, "timeline_id": self._timeline(connection, seen)}))
        return gap or 0.0

    def _timeline(self, connection: Connection, seen: Supercycle) -> int:
        """The id of these entries, booked now when they are new."""
        name = tlg.digest(seen.entries)
        there = connection.execute(select(T.id).where(T.home == self._home, T.digest == name)).scalar()
        if there is not None:
            return int(there)
        row = {"home": self._home, "digest": name, "entries": len(seen.entries), "since": seen.start}
        done = connection.execute(insert(tables.datalogger_timeline).values(row))
        number = int((done.inserted_primary_key or (0,))[0])
        rows = [
            {"timeline_id": number, "entry": one.number, "event": one.event, "state": one.state, "offset": one.offset}
            | {"machine": one.machine}
            for one in seen.entries
        ]
        connection.execute(insert(tables.datalogger_timeline_event), rows)
        return number
