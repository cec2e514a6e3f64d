"""lta-dump-control: what is in the slots -> disks that are claimed and dumped, each by itself -> the directories they filled."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from dmtools import names
from dmtools.command import Unavailable
from dmtools.control.passes import Pass
from dmtools.ledger.engine import LedgerUnavailable
from dmtools.lta import holder, warehouse
from dmtools.lta.api import Books, Done, Problem, answer
from dmtools.lta.api.bundles import Held
from dmtools.lta.api.dump import (
    AdvanceDisks,
    ClaimDisks,
    Disk,
    DiskMove,
    Disks,
    ExtendDisks,
)  # fmt: skip
from dmtools.lta.dump import wanted
from dmtools.lta.dump.disk import DiskDump, DiskTrouble, WarehouseTrouble
from dmtools.lta.dump.inventory import take_inventory
from dmtools.lta.dump.record import DiskRecord, path_of
from dmtools.lta.gate import Gate
from dmtools.lta.glue.orders import tell_verdict
from dmtools.lta.home import id_of
from dmtools.lta.office import books_of
from dmtools.lta.states import DONE, DUMPING, ERROR, INVENTORIED
from dmtools.storage.answers import StorageError
from dmtools.storage.crew import Crew

INVENTORY_SECONDS, BOOK_SECONDS, LOOK_SECONDS = 60.0, 2.0, 0.2
GRACE_SECONDS = 30.0  # a thread tells of a silence by itself; after so much more it is given up
TOLD = 5


@dataclass
class Active:
    """A disk whose claim is ours, and its dump."""

    disk: Disk
    dump: DiskDump


@dataclass
class Control:
    """One pass."""

    this: Pass
    books: Books
    gate: Gate
    home: str
    root: bytes
    crew: Crew[None]
    patterns: Sequence[wanted.Pattern]
    active: dict[int, Active] = field(default_factory=dict)
    trouble: str = ""  # of the warehouse
    inventoried: float | None = None
    booked: float = field(default_factory=time.monotonic)
    extended: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """Until no disk is left to dump; slots are looked at again and again meanwhile."""
        try:
            while True:
                self._inventory()
                if not self.gate.goes(new=False):
                    self._stop("a halt came")
                    return
                if not self.trouble and self.gate.goes():
                    self._begin()
                if not self.active:
                    return
                self._wait()
        except BaseException:
            self._stop("the pass was stopped")
            raise
        finally:
            self.crew.close(lambda _: None)

    def _inventory(self) -> None:
        now = time.monotonic()
        if self.inventoried is None or now - self.inventoried > INVENTORY_SECONDS:
            take_inventory(self.this, self.books, self.home)
            self.inventoried = time.monotonic()

    def _begin(self) -> None:
        """Claims disks, while there is room for another, and begins their dumps."""
        lta = self.this.settings.lta
        mine = holder.name(self.this.by)
        ask = ClaimDisks(home=self.home, at_once=lta.dump_copies, holder=mine, seconds=lta.lease_seconds)
        if len(self.active) >= lta.dump_copies:
            return
        for disk in answer(self.books, ask, Disks).disks:
            assert disk.at is not None
            record = DiskRecord(path_of(self.this.home, disk.uuid))
            dump = DiskDump(
                root=names.decode(disk.at),
                warehouse=self.root,
                wanted=self.patterns,
                record=record,
                number=f"{disk.id}-{disk.fence}",
                attempts=lta.max_attempts,
                stall=float(lta.disk_seconds),
            )
            one = Active(disk, dump)
            self._move(one, DUMPING, why=f"to {names.shown(names.encode(self.root))}", keep=True)
            self.active[disk.id] = one
            self.crew.begin(disk.id, dump.run)

    def _wait(self) -> None:
        """A while: what ended, what hangs, what is to be booked."""
        ended = self.crew.ended(LOOK_SECONDS)
        if ended is not None and ended[0] in self.active:
            self._ended(self.active.pop(ended[0]), ended[1])
        for number, age, _reading in self.crew.silent(self.this.settings.lta.disk_seconds + GRACE_SECONDS):
            if number in self.active and self.crew.give_up(number):
                self._ended(self.active.pop(number), DiskTrouble(f"it hangs: no sign of life for {age:.0f} s"))
        self._book()

    # ---- how a dump ended

    def _ended(self, one: Active, problem: BaseException | None) -> None:
        try:
            self._settle(one, problem)
        except Problem as refused:
            self.this.log(f"{one.disk.uuid}: its claim is another's, or it was taken out: {refused}")

    def _settle(self, one: Active, problem: BaseException | None) -> None:
        dump = one.dump
        if isinstance(problem, WarehouseTrouble):
            self.trouble = str(problem)
            self._move(one, INVENTORIED, why=f"handed back: {problem}")
            where, left = names.shown(names.encode(self.root)), "the disks wait; what was dumped of them is kept"
            self.this.problem("warehouse in trouble", where, why=str(problem), left=left, next="make room there, or mend it")
            return
        if isinstance(problem, DiskTrouble | OSError):
            self._set_aside(one, str(problem))
            return
        if problem is not None:
            raise problem
        try:
            self._register(dump)
        except StorageError as trouble:
            self.this.problem(
                "can't be counted", one.disk.uuid, why=trouble.reason, left="it stays to be dumped; no file is copied again",
                next="mend the warehouse",
            )  # fmt: skip
            self._move(one, INVENTORIED, why=f"handed back: {trouble.reason}", failed=True)
            return
        self._tell_others(one)
        if dump.failed:
            (first, *_more) = dump.failed.values()
            self._set_aside(one, f"{len(dump.failed)} of {dump.files} files could not be dumped: {first}")
            return
        found = f", {dump.there} of them stood there already" if dump.there else ""
        nothing = "; it has none of the wanted trees" if not dump.files else ""
        self._move(one, DONE, why=f"{dump.files_done} files, {dump.bytes_done:,} bytes{found}{nothing}")
        self.this.plan(f"{one.disk.uuid}: {dump.files_done} files, {dump.bytes_done:,} bytes{found}{nothing}")

    def _register(self, dump: DiskDump) -> None:
        """Which of the directories that were filled are full now: the glue finds those. Raises StorageError."""
        ideals = ["/" + names.encode(path) for path in dump.filled if path]
        for verdict in warehouse.register(self.books, self.home, self.root, ideals, self.this.settings.lta.disk_seconds):
            tell_verdict(self.this, verdict)
            self._book()

    def _set_aside(self, one: Active, why: str) -> None:
        self._move(one, ERROR, why=why)
        for reason in list(one.dump.failed.values())[1:TOLD]:
            self.this.log(f"{one.disk.uuid}: {reason}")
        self.this.problem(
            "disk set aside", one.disk.uuid, why=why,
            left=f"{one.dump.files_done} of its files are proved in the warehouse; the other disks go on",
            next=f"look at it, then: lta-dump-control --again {one.disk.uuid}",
        )  # fmt: skip

    def _tell_others(self, one: Active) -> None:
        others = one.dump.others
        if others:
            more = f", and {len(others) - 1} more" if len(others) > 1 else ""
            self.this.problem(
                "not dumped", one.disk.uuid, why=f"{others[0]}{more}", left="only files are dumped; links are not followed",
                next="look whether it is wanted", failed=False,
            )  # fmt: skip

    # ---- the tables

    def _move(self, one: Active, to: str, *, why: str | None = None, keep: bool = False, failed: bool = False) -> None:
        before, dump = one.disk.state, one.dump
        move = DiskMove(
            id=one.disk.id, fence=one.disk.fence, before=before, to=to, why=why and why[:2000], keep=keep, failed=failed,
            target=names.encode(self.root), files=dump.files, bytes=dump.size, files_done=dump.files_done,
            bytes_done=dump.bytes_done,
        )  # fmt: skip
        one.disk = answer(self.books, AdvanceDisks(moves=(move,)), Disks).disks[0]
        if before != one.disk.state:
            self.this.moved(before, one.disk.state)

    def _book(self) -> None:
        """Progress now and then, and longer claims. A disk that was taken from us is given up; a table away is asked later."""
        now, lta = time.monotonic(), self.this.settings.lta
        if now - self.booked < BOOK_SECONDS or not self.active:
            return
        self.booked = now
        try:
            for number, one in list(self.active.items()):
                try:
                    self._move(one, DUMPING, keep=True)
                except Problem as refused:
                    self.this.log(f"{one.disk.uuid}: left: {refused}")
                    self.crew.give_up(number)
                    del self.active[number]
            if now - self.extended > lta.lease_seconds / 4 and self.active:
                held = tuple(Held(id=one.disk.id, fence=one.disk.fence) for one in self.active.values())
                answer(self.books, ExtendDisks(held=held, seconds=lta.lease_seconds), Done)
                self.extended = now
        except (LedgerUnavailable, Unavailable):
            if now - self.extended > lta.lease_seconds:
                raise

    def _stop(self, why: str) -> None:
        """Ends all dumps and hands their disks back; what was recorded stays."""
        self.crew.close(lambda _: None)
        for one in self.active.values():
            try:
                self._move(one, INVENTORIED, why=f"handed back: {why}")
            except (Problem, LedgerUnavailable, Unavailable) as problem:
                self.this.log(f"{one.disk.uuid}: could not be handed back: {problem}")
        self.active.clear()


def dump(this: Pass) -> None:
    """One pass: inventory, then dumps until no disk is left. Raises Refused, Unavailable."""
    patterns = wanted.patterns(this.settings.lta.wanted)
    root = warehouse.root(this.settings)
    books = books_of(this)
    crew: Crew[None] = Crew(this.settings.lta.dump_copies)
    Control(this, books, Gate(this, books), id_of(this), root, crew, patterns).run()
