"""lta-restore: takes what is here, asks for the rest, looks again while it may wait. Each round is the same, killed or not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmtools import names
from dmtools.control.passes import Pass
from dmtools.lta import pages
from dmtools.lta.api import Books, Problem
from dmtools.lta.api.errands import Errand
from dmtools.lta.api.files import ListFiles
from dmtools.lta.restoring import landing, recalls, unpack
from dmtools.lta.restoring.bundlezip import BadBundle
from dmtools.lta.restoring.unpack import Place
from dmtools.lta.restoring.wanted import Wanted, by_books
from dmtools.lta.states import PROVED, RETRIEVE_PROBLEM
from dmtools.storage import StorageError

if TYPE_CHECKING:
    from dmtools.transfers.road import Road

LOOK_AGAIN = 2.0  # seconds between two rounds of one run
AT_ONCE = 500  # bundles that are asked for together


@dataclass(frozen=True)
class How:
    """What a person wants: where to, as zips or as files, from inside which bundle, and for how many seconds it may wait."""

    to: Path
    whole: bool = False
    inside: str | None = None
    again: bool = False
    wait: float = 0.0


def restore(this: Pass, asked: Sequence[str], how: How) -> None:
    """Restores these names. What can't be had is told, the others go on. Raises Refused, Unavailable."""
    from dmtools.lta.home import Home, id_of
    from dmtools.lta.office import books_of
    from dmtools.lta.road import road

    books = books_of(this)
    place = Place(how.to, dry_run=this.dry_run)
    left = by_books(this, books, asked, how.inside)
    if this.dry_run:
        _plan(this, left, how, id_of(this))
        return
    home = Home.of(this)
    run = Run(this, books, road(this, home), home.id, place, how)
    landing.sweep(this.settings.lta)
    end = time.monotonic() + how.wait
    again = how.again
    left = [one for one in left if run.lacks(one)]
    while left := run.round(left, again=again):
        again = False
        if time.monotonic() + LOOK_AGAIN > end:
            break
        time.sleep(LOOK_AGAIN)
    run.tell_waiting(left)


def _plan(this: Pass, wanted: Sequence[Wanted], how: How, home: str) -> None:
    for one in wanted:
        here = landing.made_here(one.bundle, home)
        source = f"its zip here, {names.shown(names.encode(here))}" if here else f"the tape of {one.bundle.destination}"
        what = "the zip" if how.whole else "all of" if one.everything else f"{len(one.files)} files of"
        this.plan(f"would restore {what} {one.shown} ({one.bundle.size} bytes, {one.bundle.state}) to {how.to} from {source}")


@dataclass
class Run:
    """What one run works with; `why` says of each bundle that is waited for what it waits for."""

    this: Pass
    books: Books
    road: Road
    home: str
    place: Place
    how: How

    def __post_init__(self) -> None:
        self.why: dict[int, str] = {}
        self.told: set[int] = set()  # bundles whose zip here is wrong

    def round(self, wanted: Sequence[Wanted], *, again: bool) -> list[Wanted]:
        """One step of each; gives those that have yet to come."""
        left = [one for one in wanted if not self._from_here(one)]
        coming: list[Wanted] = []
        for part in (left[at : at + AT_ONCE] for at in range(0, len(left), AT_ONCE)):
            coming += self._recall(part, again=again)
        return coming

    def lacks(self, one: Wanted) -> bool:
        """Whether anything of it is not there yet. Of all files of a bundle each is looked for, where the tables have them."""
        if one.everything and one.bundle.files and not self.how.whole:
            found = {file.name: file for file in pages.files(self.books, ListFiles(id=one.bundle.id))}
            if len(found) == one.bundle.files:
                one.everything, one.files = False, {**found}
        if unpack.take_off(self.this, one, self.place, whole=self.how.whole):
            return True
        if (landed := recalls.landed(self.this, self.books, one.bundle)) is not None:
            landing.remove(landed)  # a run that was killed behind the last file has left it
        return False

    def tell_waiting(self, left: Sequence[Wanted]) -> None:
        """What the next run goes on with: exit 75, unless something failed."""
        for one in left:
            why, step = self.why.get(one.bundle.id, "it was asked for"), "the same command again later, or with --wait SECONDS"
            self.this.problem("waits", one.shown, why=why, left="nothing of it was published", next=step, failed=False)
        report = self.this.report
        if left and not report.some_failed():
            report.state = "unavailable"
        elif report.state in ("halted", "draining") and not left:
            report.state = ""

    # ---- from a zip that is here

    def _from_here(self, one: Wanted) -> bool:
        """Restored, or refused for good; False: there is no right zip here."""
        for bundle in (one.bundle, *one.others):
            here = landing.made_here(bundle, self.home)
            if here is not None and self._is_right(here, one):
                self._unpack(one, here)
                return True
        landed = recalls.landed(self.this, self.books, one.bundle)
        if landed is None:
            return False
        try:
            if self._is_right(bytes(landed), one):
                self._unpack_landed(one, landed)
                return True
        except StorageError as problem:
            if problem.cls != "missing":
                raise
        return False

    def _is_right(self, path: bytes, one: Wanted) -> bool:
        try:
            why = landing.trouble(path, one.bundle)
        except (StorageError, OSError) as problem:
            why = str(problem)
        if why and one.bundle.id not in self.told:
            self.told.add(one.bundle.id)
            shown, step = names.shown(names.encode(path)), "find out who changed it; the copy on tape is another one"
            left = "it was left as it is, and not used"
            self.this.problem("not the bundle", f"{one.shown} at {shown}", why=why, left=left, next=step, failed=False)
        return not why

    def _unpack_landed(self, one: Wanted, path: Path) -> None:
        """The zip goes when it gave all that it can; what the disk had no room for is in it still."""
        with landing.held(path):
            done = self._unpack(one, bytes(path))
        if done:
            landing.remove(path)

    def _unpack(self, one: Wanted, path: bytes) -> bool:
        """What can't be published is told. False: the disk is in trouble, the zip is still needed."""
        try:
            if self.how.whole and one.everything:
                unpack.copy_zip(self.this, one, path, self.place)
            else:
                unpack.unpack(self.this, one, path, self.place)
        except BadBundle as problem:
            step = "--zip brings the bundle as it is: its own sha512 is right"
            self._refuse(one, str(problem), step)
        except StorageError as problem:
            self._refuse(one, problem.reason, "mend that, then the same command again: what is there is not fetched again")
            return False
        return True

    def _refuse(self, one: Wanted, why: str, step: str) -> None:
        self.this.problem("not restored", one.shown, why=why, left="nothing more of it was published", next=step)

    # ---- from the remote site

    def _recall(self, wanted: Sequence[Wanted], *, again: bool) -> list[Wanted]:
        proved = [one for one in wanted if one.bundle.state in PROVED]
        for one in wanted:
            if one.bundle.state not in PROVED:
                why = f"it is {one.bundle.state}: no copy on tape is proved, and its zip is not here"
                self._refuse(one, why, "dm-trace says what became of it")
        errands = recalls.ask(self.books, [one.bundle for one in proved], again=again)
        recalls.carry(self.this, self.books, self.road, list(errands.values()))
        errands = recalls.look(self.books, errands)
        return [one for one in proved if not self._landed(one, errands[one.bundle.id])]

    def _landed(self, one: Wanted, errand: Errand) -> bool:
        if errand.state == RETRIEVE_PROBLEM:
            step = "look at the tape there; then the same with --again"
            self._refuse(one, f"{errand.destination} could not bring it: {errand.reason or 'no reason was given'}", step)
            return True
        try:
            path, why = recalls.arrived(self.this, self.books, errand)
            if path is not None:
                self._unpack_landed(one, path)
                return True
        except (Problem, StorageError, OSError) as problem:  # another run was quicker, or a disk is in trouble
            self.why[one.bundle.id] = f"not now: {problem}"
            return False
        if why:
            self._refuse(one, why, "the same command again; when it stays so, look at the copy on tape: lta-audit NAME")
            return True
        self.why[one.bundle.id] = f"{recalls.WAITS.get(errand.state, errand.state)} (errand {errand.id})"
        return False
