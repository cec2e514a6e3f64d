"""lta-glue: each full directory, claimed alone -> its plan -> its bundles -> the tables -> LTArequest."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dmtools import names
from dmtools.command import Unavailable
from dmtools.control.passes import Pass
from dmtools.ledger.engine import LedgerUnavailable
from dmtools.lta import holder, outbound, pages, warehouse
from dmtools.lta.api import Books, Done, Problem, answer
from dmtools.lta.api.bundles import Bundles, Held, ListBundles
from dmtools.lta.api.directories import (
    AdvanceDirectories,
    ClaimDirectories,
    Directories,
    Directory,
    DirectoryMove,
    ExtendDirectories,
    Full,
    ListDirectories,
    Seen,
    Verdicts,
)
from dmtools.lta.gate import Gate
from dmtools.lta.glue import making
from dmtools.lta.glue.building import Mismatch
from dmtools.lta.glue.plans import Plan, Shelf
from dmtools.lta.home import id_of
from dmtools.lta.office import books_of
from dmtools.lta.states import LTA_REQUEST, PROBLEM, PROCESSING, UNCLAIMED
from dmtools.storage.answers import StorageError


class Lost(Exception):
    """The claim of the directory is another's by now, or was handed back: what is begun is left to that one."""


class Stopping(Exception):
    """A halt came: the directory is handed back, what was made of it stays."""


@dataclass
class Glue:
    """One pass."""

    this: Pass
    books: Books
    home: str
    gate: Gate
    trouble: str = ""  # of outbound: no directory can go on
    made: int = 0

    def run(self) -> None:
        """Directories one after the other, until none is left."""
        while not self.trouble and self.gate.goes():
            ask = ClaimDirectories(
                states=(PROCESSING, UNCLAIMED), home=self.home, holder=holder.name(self.this.by), seconds=self._seconds
            )
            found = answer(self.books, ask, Directories).directories
            if not found:
                return
            self._take(Claimed(self, found[0]))

    @property
    def _seconds(self) -> int:
        return self.this.settings.lta.lease_seconds

    def _take(self, one: Claimed) -> None:
        """One directory; its trouble is its own."""
        try:
            one.bundle()
            return
        except Mismatch as problem:
            one.set_aside(str(problem))
        except Lost:
            self.this.log(f"{one.shown}: its claim was lost or handed back; it is left to who has it now")
        except Stopping:
            one.hand_back("handed back: a halt or drain came")
        except StorageError as problem:
            one.failed(problem)
        except Problem as problem:
            one.hand_back(f"handed back: {problem}")
            self._tell(one, "refused", str(problem), "its bundles stay as they are", "the next pass tries it again")
        except (LedgerUnavailable, Unavailable):
            raise  # the claim runs out; what was made is kept
        except BaseException:  # a signal, too
            one.hand_back("handed back: the pass was stopped")
            raise

    def _tell(self, one: Claimed, what: str, why: str, left: str, next_step: str) -> None:
        self.this.problem(what, one.shown, why=why, left=left, next=next_step)


@dataclass
class Claimed:
    """A directory whose claim is ours."""

    glue: Glue
    directory: Directory
    extended: float = field(default_factory=time.monotonic)

    @property
    def shown(self) -> str:
        """Its name for people."""
        return names.shown(self.directory.ideal)

    @property
    def path(self) -> bytes:
        """Where it is."""
        return names.decode(self.directory.path)

    def bundle(self) -> None:
        """Its plan, its bundles one after the other, and the end. Raises Mismatch, StorageError, Lost, Stopping, Problem."""
        this, shelf = self.glue.this, Shelf(self.glue.this.home, self.directory.id)
        plan = self._plan(shelf)
        if self.directory.state == UNCLAIMED or self.directory.request != plan.sum:
            self.move(PROCESSING, keep=True, request=plan.sum, why=f"{plan.bundles} bundles of {len(plan.lines)} files")
        for number in range(plan.bundles):
            self.beat()
            if not self.glue.gate.goes(new=False):
                raise Stopping
            maker = making.Maker(this, self.glue.books, self.glue.home, self.directory, shelf, self.beat)
            self.glue.made += maker.make(plan, number)
        self.move(LTA_REQUEST, why=f"{plan.bundles} bundles")
        shelf.drop()
        this.plan(f"{self.shown}: {plan.bundles} bundles of {len(plan.lines)} files")

    def _plan(self, shelf: Shelf) -> Plan:
        """The plan that is kept, when it is of what the directory holds now; else a new one, while nothing was made yet."""
        this = self.glue.this
        content = _content(self.path, this.settings.lta.disk_seconds)
        for path, what in content.others:
            subject, left = f"{self.shown}/{names.shown(names.encode(path))}", "it is in no bundle"
            this.problem("not bundled", subject, why=f"it is {what}", left=left, next="move it away", failed=False)
        kept = shelf.plan(self.directory.ideal)
        if kept is not None and kept.holds(content):
            return kept
        self._refuse_not_full(content)
        plan = Plan.of(self.directory.ideal, content, this.settings.lta.ideal_bytes)
        if plan.sum != self.directory.request and (there := self._bundles()):
            raise Mismatch(f"its files changed after {there} of its bundles were made")
        shelf.keep(plan)
        return plan

    def _refuse_not_full(self, content: warehouse.Content) -> None:
        """It holds what is expected, neither less nor more."""
        seen = Seen(ideal=self.directory.ideal, path=self.directory.path, files=len(content.files), bytes=content.bytes)
        expected = answer(self.glue.books, Full(home=self.glue.home, seen=(seen,)), Verdicts).verdicts[0].expected
        if expected is None:
            raise Mismatch("nobody knows how many files it must have: lta-glue --expect tells")
        if expected != len(content.files):
            raise Mismatch(f"it holds {len(content.files)} files now, {expected} are expected")

    def _bundles(self) -> int:
        ask = ListBundles(directory_id=self.directory.id, limit=1000)
        return sum(bundle.state != "Abort" for bundle in answer(self.glue.books, ask, Bundles).bundles)

    # ---- its claim and its state

    def beat(self) -> None:
        """Keeps the claim, when it is time. Raises Lost. A server that is away now may be there before the claim runs out."""
        seconds = self.glue.this.settings.lta.lease_seconds
        if time.monotonic() - self.extended < seconds / 4:
            return
        ask = ExtendDirectories(held=(Held(id=self.directory.id, fence=self.directory.fence),), seconds=seconds)
        try:
            kept = answer(self.glue.books, ask, Done).done
        except (LedgerUnavailable, Unavailable):
            if time.monotonic() - self.extended > seconds:
                raise
            return
        if not kept:
            raise Lost
        self.extended = time.monotonic()

    def move(self, to: str, *, why: str, keep: bool = False, request: str | None = None, failed: bool = False) -> None:
        """A change of its state. Raises Problem."""
        before = self.directory.state
        if before == to and (request is None or request == self.directory.request):
            return
        if before == to:  # another plan: back, and on
            self.move(UNCLAIMED, why="its files are planned anew", keep=True)
            before = self.directory.state
        move = DirectoryMove(
            id=self.directory.id, fence=self.directory.fence, before=before, to=to, why=why[:2000], keep=keep, failed=failed,
            request=request,
        )  # fmt: skip
        self.directory = answer(self.glue.books, AdvanceDirectories(moves=(move,)), Directories).directories[0]
        self.glue.this.moved(before, self.directory.state)

    def hand_back(self, why: str) -> None:
        """Another pass may have it at once; what was made stays."""
        self._quietly(lambda: self._to(UNCLAIMED, why))

    def _to(self, to: str, why: str, *, failed: bool = False) -> None:
        if self.directory.state == UNCLAIMED:  # nothing was begun: the way back leads through the intent
            self.move(PROCESSING, why="looked at", keep=True)
        self.move(to, why=why, failed=failed)

    def set_aside(self, why: str) -> None:
        """It needs a person."""
        self._quietly(lambda: self.move(PROBLEM, why=why))
        self.glue._tell(
            self, "directory has a problem", why, "its files stay as they are; what was bundled of it stays, too",
            f"mend it, then: lta-glue --take-up {self.shown}",
        )  # fmt: skip

    def failed(self, problem: StorageError) -> None:
        """A disk failed with it: it is tried again. Trouble of outbound is no attempt, and ends the pass."""
        if problem.wide and not problem.reading:
            self.glue.trouble = problem.reason
            self.hand_back(f"handed back: {problem.reason}")
            where = names.shown(names.encode(outbound.root(self.glue.this.settings)))
            left = "all directories wait; what was made of them stays"
            self.glue.this.problem("outbound in trouble", where, why=problem.reason, left=left, next="make room, or mend it")
            return
        self._quietly(lambda: self._to(UNCLAIMED, problem.reason, failed=True))
        state = self.directory.state
        then = f"mend it, then: lta-glue --take-up {self.shown}" if state == PROBLEM else "it is tried again by itself"
        self.glue._tell(self, "not bundled", problem.reason, f"it is {state}; its files stay as they are", then)

    def _quietly(self, act: Callable[[], None]) -> None:
        """What can't be booked now is booked by nobody: the claim runs out."""
        try:
            act()
        except (Problem, LedgerUnavailable, Unavailable) as problem:
            self.glue.this.log(f"{self.shown}: could not be handed back: {problem}")


def _content(path: bytes, stall: float) -> warehouse.Content:
    try:
        return warehouse.content(path, stall)
    except StorageError as problem:
        problem.reading = True  # it says nothing about outbound
        raise


def glue(this: Pass) -> None:
    """One pass over the full directories of this HOME. Raises Unavailable."""
    warehouse.root(this.settings)
    if why := outbound.trouble(this.settings):
        raise Unavailable("no outbound", "lta-glue", why, "mount it, or mend [lta] outbound")
    books = books_of(this)
    Glue(this, books, id_of(this), Gate(this, books)).run()


def plan(this: Pass) -> None:
    """What a pass would do."""
    home = id_of(this)
    for one in pages.directories(books_of(this), ListDirectories(states=(UNCLAIMED, PROCESSING))):
        if one.home != home:
            continue
        try:
            content = warehouse.content(names.decode(one.path), this.settings.lta.disk_seconds)
        except StorageError as problem:
            this.plan(f"{names.shown(one.ideal)}: {problem.reason}")
            continue
        found = Plan.of(one.ideal, content, this.settings.lta.ideal_bytes)
        this.plan(f"would bundle {names.shown(one.ideal)}: {found.bundles} bundles of {len(content.files)} files")
