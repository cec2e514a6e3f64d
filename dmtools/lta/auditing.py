"""lta-audit: what the remote site is to read again from its tape, and what it has found.

The site reads, and books what is right or Quarantines what differs by itself; here it is asked, and here it is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.lta import pages
from dmtools.lta.api import Books, answer
from dmtools.lta.api.bundles import Bundle, ListBundles
from dmtools.lta.api.errands import AddErrands, Due, DueForAudit, Errand, Errands, ListErrands
from dmtools.lta.gate import Gate
from dmtools.lta.states import FIXITY_PROBLEM, FIXITY_REQUEST, FIXITY_RUNNING, PROVED, QUARANTINED
from dmtools.settings import Lta

PROVED_ONCE = "on tape"  # the left side of the report's counts
LATE_DAYS = 7  # an errand that is not done by then is told


@dataclass(frozen=True)
class Share:
    """How much: per cent of what is proved on tape, and nothing that was read in so many days."""

    percent: float
    days: int

    @classmethod
    def of(cls, lta: Lta, percent: float | None, days: int | None) -> Share:
        """As a person says, else as [lta] has it."""
        return cls(lta.audit_percent if percent is None else percent, lta.audit_days if days is None else days)


def audit(this: Pass, asked: Sequence[str], share: Share) -> None:
    """Tells what was found, then asks for what is due, or for these; being the pass of the night it empties the trash, too."""
    from dmtools.lta.deleting.emptying import empty_trash
    from dmtools.lta.deleting.guards import Guards
    from dmtools.lta.office import books_of

    books = books_of(this)
    _tell_problems(this, books)
    _tell_late(this, books)
    chosen = _named(this, books, asked) if asked else _due(this, books, share)
    gate = Gate(this, books)
    for some in chosen:
        if not gate.goes():
            break
        _ask(this, books, some)
    empty_trash(this, Guards.of(this.settings.lta), really=not this.dry_run)


# ---- what was found


def _tell_problems(this: Pass, books: Books) -> None:
    """What differs, and what could not be read: until a person has seen to it."""
    for errand in pages.errands(books, ListErrands(kind="fixity", states=(FIXITY_PROBLEM,))):
        bundle, shown = errand.bundle, names.shown(errand.bundle.ideal)
        if bundle.audited is not None and bundle.audited > errand.since:
            continue  # it was read since, and is right
        why = errand.reason or "no reason was given"
        if bundle.state == QUARANTINED:
            left = f"it is {QUARANTINED}: nothing of it is deleted anywhere"
            step = f"save what is left of it ({_elsewhere(books, bundle)}); then take it out of quarantine, or Abort it"
            this.problem("TAPE COPY DIFFERS", f"{shown} at {errand.destination}", why=why, left=left, next=step)
        else:
            left, step = f"it stays {bundle.state}", f"look at the tape there; then: lta-audit {shown}"
            this.problem("not read again", f"{shown} at {errand.destination}", why=why, left=left, next=step)


def _elsewhere(books: Books, bundle: Bundle) -> str:
    found = (one for one in pages.bundles(books, ListBundles(name=bundle.ideal)) if one.sha512 == bundle.sha512)
    others = [one.destination for one in found if one.id != bundle.id and one.state in PROVED]
    return f"{', '.join(others)} has another copy" if others else "its zip or its files may still be here"


def _tell_late(this: Pass, books: Books) -> None:
    """Errands that the site has not done for long."""
    before = clock.now() - timedelta(days=LATE_DAYS)
    ask = ListErrands(kind="fixity", states=(FIXITY_REQUEST, FIXITY_RUNNING))
    late: list[Errand] = [one for one in pages.errands(books, ask) if one.since < before]
    if late:
        why = f"{len(late)} bundles were to be read more than {LATE_DAYS} days ago and were not"
        step = "look whether lta-nersc-client runs there, and at its log"
        first = late[0].destination
        this.problem("audit is late", first, why=why, left="they stay asked for", next=step, failed=False)


# ---- what is asked for


def _due(this: Pass, books: Books, share: Share) -> Iterator[list[Bundle]]:
    """The share, those that were proved or read longest ago first, without what is asked for already."""
    before = clock.now() - timedelta(days=share.days)
    left: int | None = None
    seen: set[int] = set()
    while left is None or left > 0:
        due = _page(books, before, min(left or pages.MOST, pages.MOST))
        if left is None:
            left = math.ceil(due.proved * share.percent / 100) - due.asked
        some = [one for one in due.bundles if one.id not in seen][: max(0, left)]
        if not some:
            return
        seen.update(one.id for one in some)
        left -= len(some)
        yield some


def _page(books: Books, before: datetime, limit: int) -> Due:
    return answer(books, DueForAudit(before=before, limit=limit), Due)


def _named(this: Pass, books: Books, asked: Sequence[str]) -> Iterator[list[Bundle]]:
    from dmtools.lta.restoring.wanted import by_books

    for wanted in by_books(this, books, asked, None):
        found = [one for one in (wanted.bundle, *wanted.others) if one.state in PROVED]
        if found:
            yield found
            continue
        why = f"it is {wanted.bundle.state}: no copy on tape is proved"
        this.problem("not asked for", wanted.shown, why=why, left="nothing was changed", next="dm-trace says more of it")


def _ask(this: Pass, books: Books, some: Sequence[Bundle]) -> None:
    for one in some:
        this.plan(f"would have {names.shown(one.ideal)} read again at {one.destination} ({one.size} bytes)" if this.dry_run
                  else f"{names.shown(one.ideal)} is to be read again at {one.destination} ({one.size} bytes)")  # fmt: skip
    if not this.dry_run:
        answer(books, AddErrands(kind="fixity", bundles=tuple(one.id for one in some)), Errands)
        this.moved(PROVED_ONCE, FIXITY_REQUEST, len(some))
