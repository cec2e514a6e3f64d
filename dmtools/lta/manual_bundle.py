"""lta-manual-bundle: which zips may go, told or done."""

from __future__ import annotations

from collections.abc import Sequence

from dmtools import names
from dmtools.command import Refused
from dmtools.control.display import size
from dmtools.control.passes import Pass
from dmtools.lta.api.bundles import Bundle
from dmtools.lta.freeing import Freeing
from dmtools.lta.home import Home
from dmtools.lta.office import books_of
from dmtools.lta.persons import meant
from dmtools.lta.refusals import refusals
from dmtools.lta.states import NERSC_CLEAN
from dmtools.lta.work import Work


def delete(this: Pass, wanted: Sequence[str], *, yes: bool, gone: bool) -> None:
    """Deletes what may go of this HOME, or of it what is named; without `yes` it is only told."""
    with refusals():
        _delete(this, wanted, yes=yes, gone=gone)


def _delete(this: Pass, wanted: Sequence[str], *, yes: bool, gone: bool) -> None:
    work = Work(this, books_of(this), Home.of(this))
    freeing = Freeing(work, gone=gone)
    found = _named(work, wanted) if wanted else list(work.bundles(NERSC_CLEAN))
    may_go = []
    for one in found:
        why = freeing.lacks(one)
        if not why:
            may_go.append(one)
        elif wanted:
            _left(this, one, why)
        else:
            this.plan(f"{names.shown(one.ideal)} stays: {why}")
    if yes:
        done = freeing.run(may_go)
        this.context.say(f"{done} of {len(may_go)} zips were deleted")
        return
    for one in may_go:
        this.context.say(f"would delete {names.shown(one.ideal)} ({size(one.size)}), proved on tape at {one.destination}")
    total = size(sum(one.size for one in may_go))
    this.context.say(f"{len(may_go)} zips, {total}: nothing was deleted" + ("; --yes deletes them" if may_go else ""))


def _named(work: Work, wanted: Sequence[str]) -> list[Bundle]:
    """Those of the named ones that can go at all; the others are told. Raises Refused for a name that means none."""
    found = [one for text in wanted for one in meant(work.this, work.books, text) if one.destination == work.destination]
    if not found:
        raise Refused(f"none of these goes to {work.destination}")
    for one in found:
        if one.home != work.home.id:
            _left(work.this, one, "it belongs to another HOME")
        elif one.state != NERSC_CLEAN:
            _left(work.this, one, f"it is {one.state}; zips of bundles that are {NERSC_CLEAN} may go")
    return [one for one in found if one.home == work.home.id and one.state == NERSC_CLEAN]


def _left(this: Pass, one: Bundle, why: str) -> None:
    this.problem("not deleted", names.shown(one.ideal), why=why, left="its zip stays", next=f"dm-trace {one.ideal} says more")
