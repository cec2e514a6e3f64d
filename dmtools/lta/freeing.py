"""Zips that are proved on tape leave the outbound directory: read once more, journalled, renamed aside, looked at, unlinked.

A zip that is not what was archived stays. One that is gone is done when our journal says that we were about to remove it;
else a person took it away, and that is told.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from sqlalchemy import select

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.ledger import journal, tables
from dmtools.lta import outbound, pages, sums
from dmtools.lta.api import Done, answer
from dmtools.lta.api.bundles import Bundle, BundleMove, Extend, Held, ListBundles
from dmtools.lta.states import LOCAL_DELETED, NERSC_CLEAN, PROVED
from dmtools.lta.sums import Sums
from dmtools.lta.work import Work
from dmtools.storage.answers import StorageError
from dmtools.storage.asides import aside_of
from dmtools.storage.local import LocalStore

KIND = "lta-zip"  # of the journal's entries about zips, by the bundle's id


class Freeing:
    """One pass over what may go. `gone`: a person says that zips that aren't there were deleted."""

    def __init__(self, work: Work, *, gone: bool = False) -> None:
        self.work, self.gone = work, gone

    @property
    def this(self) -> Pass:
        """The pass."""
        return self.work.this

    def run(self, bundles: Iterable[Bundle]) -> int:
        """Removes the zips of those that have copies enough; gives how many went."""
        done = 0
        for one in bundles:
            if not self.work.goes(new=False):
                break
            if not self.lacks(one):
                done += sum(map(self._free, self.work.claimed([one], NERSC_CLEAN)))
        return done

    def lacks(self, one: Bundle) -> str:
        """Why its zip must stay: too few proved copies; empty: it may go."""
        wanted = self.this.settings.lta.copies
        if wanted == 1:
            return ""
        same = pages.bundles(self.work.books, ListBundles(states=PROVED, name=one.ideal))
        there = {other.destination for other in same if other.sha512 == one.sha512}
        return "" if len(there) >= wanted else f"{len(there)} of {wanted} copies are proved on tape"

    # ---- one zip

    def _free(self, one: Bundle) -> bool:
        """A claimed bundle. True: its zip is gone and that is booked."""
        try:
            why = self._remove(one)
        except (StorageError, names.NameRefused) as problem:
            self.work.release(one)
            reason = problem.reason if isinstance(problem, StorageError) else str(problem)
            left, advice = "its zip was left as it is", "look at it; the bundle on tape is proved"
            self.this.problem("zip not deleted", names.shown(one.ideal), why=reason, left=left, next=advice)
            return False
        if not why:
            self.work.release(one)
            return False
        now = self.work.advance(BundleMove(id=one.id, fence=one.fence, before=NERSC_CLEAN, to=LOCAL_DELETED, why=why))
        return now is not None

    def _remove(self, one: Bundle) -> str:
        """Removes the zip; gives what is to be said of it, nothing when it was left. Raises StorageError."""
        path = outbound.zip_of(self.this.settings, one.ideal)
        there = path if os.path.lexists(path) else aside_of(path)
        if not os.path.lexists(there):
            return self._missing(one)
        found = sums.read(there)
        if (found.size, found.sha512) != (one.size, one.sha512):
            what = "its zip" if there == path else names.shown(names.encode(there))
            raise StorageError("changed", f"{what} is not what was archived: {found.size} bytes, sha512 {found.sha512[:16]}...")
        if not self._intend(one, found):
            return ""
        LocalStore().delete(names.file_url(path), mark=found.mark)
        return "its zip was read once more, as it is on tape, and removed"

    def _intend(self, one: Bundle, found: Sums) -> bool:
        """The claim is ours still, for long enough; then the journal says what will be done."""
        held = (Held(id=one.id, fence=one.fence),)
        if not answer(self.work.books, Extend(held=held, seconds=self.this.settings.lta.lease_seconds), Done).done:
            self.this.log(f"the claim of {names.shown(one.ideal)} ran out while its zip was read; the next pass does it")
            return False
        why = f"its zip is removed: {found.size} bytes, inode {found.mark.inode}, sha512 {found.sha512}"
        self.this.ledger.transact(lambda c: journal.note(c, "lta", KIND, one.id, by=self.this.by, at=clock.now(), why=why))
        return True

    def _missing(self, one: Bundle) -> str:
        """It isn't there."""
        error = outbound.trouble(self.this.settings)
        if error:
            raise StorageError("unreachable", error)
        if self._was_ours(one):
            return "its zip was removed by an earlier pass, which did not come to say so"
        if self.gone:
            return "its zip was taken away by hand, says a person"
        left, why = "the bundle stays NERSCClean", "its zip is not in outbound, and no pass of this HOME removed it"
        advice = f"if it was deleted on purpose: lta-manual-bundle --yes --gone {one.id}"
        self.this.problem("zip not there", names.shown(one.ideal), why=why, left=left, next=advice)
        return ""

    def _was_ours(self, one: Bundle) -> bool:
        """Does our journal say, since the bundle came to its state, that its zip will be removed?"""
        entry = tables.journal.c
        query = select(entry.id).where(entry.kind == KIND, entry.item == one.id)
        with self.this.ledger.read() as connection:
            return connection.execute(query.limit(1)).first() is not None
