"""Every pair of states of a bundle: only legal changes pass, each with its entry in the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from dmtools.ledger import tables
from dmtools.lta.api import Conflict, Problem, Wrong, answer
from dmtools.lta.api.bundles import Advance, Bundle, BundleHistory, BundleMove, Bundles, History, Quarantine, Reset, Set
from dmtools.lta.books import Who
from dmtools.lta.direct import Direct
from dmtools.lta.states import ABORT, QUARANTINED, RETRY, STATES
from tests.lta.bookkeeping import add, again, direct, force, move, new, post, take

NAMES = STATES.names()


def test_every_pair_of_states_is_tried_and_only_legal_ones_pass_each_with_its_journal_entry(home: Path) -> None:
    books = direct(home)
    bundles = add(books, *(new(f"/{before}/{after}") for before in NAMES for after in NAMES))
    post(books, 10**9)
    pairs = [(before, after) for before in NAMES for after in NAMES]
    passed = {pair for bundle, pair in zip(bundles, pairs, strict=True) if _passes(books, bundle, *pair)}
    assert passed == {(state.name, after) for state in STATES.states for after in state.next}
    entries = _journal(books)
    for bundle, pair in zip(bundles, pairs, strict=True):
        assert entries[bundle.id] == ([pair] if pair in passed else []), pair


def _passes(books: Direct, bundle: Bundle, before: str, after: str) -> bool:
    """By the one way that leads there; all other ways are tried, too, and must be closed."""
    held = force(books, bundle, before, origin=after if before == QUARANTINED else None)
    moving = Advance(moves=(BundleMove(id=held.id, fence=held.fence, before=before, to=after, **_proof(held)),))
    ways: dict[str, Any] = {"move": moving, "set": Set(id=held.id, to=after, why="test")}
    ways |= {"quarantine": Quarantine(id=held.id, why="test"), "reset": Reset(id=held.id, why="test")}
    right = (
        "set"
        if after in (ABORT, RETRY)
        else "reset"
        if before == QUARANTINED
        else "quarantine"
        if after == QUARANTINED
        else "move"
    )
    for name in ("move", "set"):
        if name != right and not (name == "move" and right == "quarantine"):
            with pytest.raises(Problem):
                books.do(ways[name])
    try:
        books.do(ways[right])
    except Conflict:
        assert again(books, held) == held
        return False
    assert again(books, held).state == after
    return True


def _proof(bundle: Bundle) -> dict[str, Any]:
    return {"size": bundle.size, "sha512": bundle.sha512, "adler32": bundle.adler32, "why": "test"}


def _journal(books: Direct) -> dict[int, list[tuple[str, str]]]:
    entry = tables.journal.c
    found: dict[int, list[tuple[str, str]]] = {}
    with books.ledger.read() as connection:
        query = select(entry.item, entry.from_state, entry.to_state, entry.by, entry.why).where(entry.kind == STATES.kind)
        for row in connection.execute(query.order_by(entry.id)):
            changes = found.setdefault(row.item, [])
            if row.from_state is not None:
                assert (row.by, row.why) == ("anna", "test")
                changes.append((row.from_state, row.to_state))
    return found


def test_a_state_that_does_not_exist_is_wrong(home: Path) -> None:
    books = direct(home)
    add(books)
    held = take(books, "Untouched")[0]
    for wrong in (
        BundleMove(id=held.id, fence=held.fence, before="Untouched", to="Jsonmade"),
        BundleMove(id=held.id, fence=held.fence, before="untouched", to="JsonMade"),
    ):
        with pytest.raises(Wrong, match="there is no state"):
            books.do(Advance(moves=(wrong,)))
    with pytest.raises(Wrong, match="there is no state 'Aborted'"):
        books.do(Set(id=held.id, to="Aborted", why="x"))
    assert again(books, held) == held


def test_what_a_person_does_is_no_workers_and_the_remote_site_writes_its_own_changes_alone(home: Path) -> None:
    books = direct(home)
    workers = {site: direct(home, books.ledger, Who(site, "worker", site)) for site in ("local", "nersc", "desy")}
    add(books)
    held = take(workers["local"], "Untouched")[0]
    assert held.state == "Untouched"
    for site in ("nersc", "desy"):
        with pytest.raises(Problem) as refused:
            move(workers[site], held, "JsonMade")
        assert refused.value.status == 403
    held = move(workers["local"], held, "JsonMade", keep=True)
    held = move(workers["local"], held, "PushDone")
    with pytest.raises(Problem) as refused:
        take(workers["local"], "PushDone")
    assert refused.value.status == 403
    with pytest.raises(Problem) as refused:
        take(workers["desy"], "PushDone")
    assert refused.value.status == 403
    held = take(workers["nersc"], "PushDone")[0]
    for site in ("local", "desy"):
        with pytest.raises(Problem) as refused:
            move(workers[site], held, "NERSCRunning")
        assert refused.value.status == 403
    assert move(workers["nersc"], held, "NERSCRunning").state == "NERSCRunning"
    with pytest.raises(Problem) as refused:
        workers["nersc"].do(Set(id=held.id, to="Abort", why="x"))
    assert refused.value.status == 403


def test_all_changes_of_an_ask_or_none(home: Path) -> None:
    books = direct(home)
    add(books, new("/a"), new("/b"))
    one, other = take(books, "Untouched", most=2)
    moves = tuple(
        BundleMove(id=held.id, fence=fence, before="Untouched", to="JsonMade")
        for held, fence in ((one, one.fence), (other, other.fence + 1))
    )
    with pytest.raises(Conflict):
        books.do(Advance(moves=moves))
    assert (again(books, one), again(books, other)) == (one, other)
    steps = answer(books, BundleHistory(id=one.id), History).steps
    assert [(step.before, step.to) for step in steps] == [(None, "Untouched")]


def test_a_bundle_that_is_named_twice_in_an_ask_is_wrong(home: Path) -> None:
    books = direct(home)
    add(books)
    held = take(books, "Untouched")[0]
    one = BundleMove(id=held.id, fence=held.fence, before="Untouched", to="JsonMade")
    with pytest.raises(Wrong, match="twice"):
        answer(books, Advance(moves=(one, one)), Bundles)
