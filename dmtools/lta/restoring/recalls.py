"""Errands: the remote site is asked for bundles, FTS carries them here, each is proved, and the site may clean up.

Each step is written down before it is made and may be repeated: a recall that was left anywhere goes on with the next run,
whoever starts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, select

from dmtools import clock, names
from dmtools.command import Unavailable
from dmtools.control.passes import Pass
from dmtools.ledger import journal, tables
from dmtools.ledger.leases import HOST
from dmtools.ledger.types import AnyRow
from dmtools.lta import pages
from dmtools.lta.api import Books, answer
from dmtools.lta.api.bundles import Bundle
from dmtools.lta.api.errands import AddErrands, AdvanceErrands, ClaimErrands, Errand, ErrandMove, Errands, ListErrands
from dmtools.lta.restoring import landing
from dmtools.lta.states import (
    DOWNLOAD_DONE,
    DOWNLOADING,
    EXPORT_READY,
    REMOTE_CLEANED,
    RETRIEVE_PENDING,
    RETRIEVE_PROBLEM,
    RETRIEVE_REQUEST,
)
from dmtools.spool.listfile import Pair

if TYPE_CHECKING:
    from dmtools.transfers.road import Road

T = tables.transfer.c
SECONDS = 120  # a claim of an errand: the acts that it guards take moments
OVER = (DOWNLOAD_DONE, REMOTE_CLEANED)
WAITS = {
    RETRIEVE_REQUEST: "the remote site is asked for it and has not begun",
    RETRIEVE_PENDING: "the remote site reads it from tape",
    EXPORT_READY: "it lies in the remote site's export directory and is to be carried here",
    DOWNLOADING: "FTS carries it here",
}


def landed(this: Pass, books: Books, bundle: Bundle) -> Path | None:
    """Where a bundle that was carried here lies still."""
    for errand in pages.errands(books, ListErrands(kind="recall", states=OVER, bundle_id=bundle.id)):
        path = landing.place_of(this.settings.lta, errand.id)
        if path.is_file():
            return path
    return None


def ask(books: Books, bundles: Sequence[Bundle], *, again: bool) -> dict[int, Errand]:
    """The errand of each bundle, by the bundle's id, open or failed; a failed one is begun anew only with `again`."""
    there = {one.bundle.id: one for one in pages.errands(books, ListErrands(kind="recall", states=(*WAITS, RETRIEVE_PROBLEM)))}
    stay = {number for number, one in there.items() if one.state != RETRIEVE_PROBLEM or not again}
    if wanted := tuple(one.id for one in bundles if one.id not in stay):
        found = answer(books, AddErrands(kind="recall", bundles=wanted), Errands).errands
        there |= {one.bundle.id: one for one in found}
    return {one.id: there[one.id] for one in bundles}


def look(books: Books, errands: dict[int, Errand]) -> dict[int, Errand]:
    """The same errands as they stand now; one that came to its end meanwhile as it was."""
    now = {one.bundle.id: one for one in pages.errands(books, ListErrands(kind="recall", states=(*WAITS, RETRIEVE_PROBLEM)))}
    return {number: now.get(number, one) for number, one in errands.items()}


def carry(this: Pass, books: Books, road: Road, errands: Sequence[Errand]) -> None:
    """Puts what is ready on the road, and books what has come. Raises Unavailable when no FTS server answers."""
    from dmtools.transfers import carry as engine

    for one in _claimed(books, [one for one in errands if one.state == EXPORT_READY and one.place], (EXPORT_READY,)):
        this.moved(EXPORT_READY, DOWNLOADING)
        _put(this, road, _move(books, one, DOWNLOADING))
    for one in errands:
        if one.state == DOWNLOADING and one.place and _copy_of(this, one) is None:
            _put(this, road, one)  # killed between the two
    if any(one.state in (EXPORT_READY, DOWNLOADING) for one in errands):
        engine.mend(this, road)
        try:
            engine.submit(this, road)
            engine.watch(this, road)
        except Unavailable as problem:
            this.problem(problem.what, problem.subject, why=problem.why, left=problem.left, next=problem.next_step, failed=False)


def arrived(this: Pass, books: Books, errand: Errand) -> tuple[Path | None, str]:
    """(where it lies, "") once it is proved here; (None, why) when it came wrong, or the copy failed; (None, "") before.

    Another run may be quicker: then it has booked the errand, and taken what came away.
    """
    copy = _copy_of(this, errand) if errand.state == DOWNLOADING else None
    if copy is None or copy.state in ("TODO", "DOING"):
        return None, ""
    path = landing.place_of(this.settings.lta, errand.id)
    if copy.state != "Okay" or not path.is_file():
        why = copy.reason or f"its copy ended {copy.state} and nothing is there"
        return None, _failed(this, books, errand, EXPORT_READY, why)
    if why := landing.trouble(bytes(path), errand.bundle):
        return None, _failed(this, books, errand, RETRIEVE_PROBLEM, f"what came from the tape is not the bundle: {why}")
    for mine in _claimed(books, [errand], (DOWNLOADING,)):  # none: another run books it
        _move(books, mine, DOWNLOAD_DONE, sha512=errand.bundle.sha512)
        this.moved(DOWNLOADING, DOWNLOAD_DONE)
    return path, ""


def _failed(this: Pass, books: Books, errand: Errand, after: str, why: str) -> str:
    """Books a failed step, and takes away what came; gives why, for people, or nothing when another run has booked it."""
    for mine in _claimed(books, [errand], (DOWNLOADING,)):
        _forget(this, mine)
        landing.remove(landing.place_of(this.settings.lta, mine.id))
        moved = _move(books, mine, after, why=why[:1900], failed=after == EXPORT_READY)
        return f"{moved.reason or why} (it is {moved.state})"
    return ""


def _claimed(books: Books, errands: Sequence[Errand], states: tuple[str, ...]) -> list[Errand]:
    """Those that nobody else is at work with."""
    found: list[Errand] = []
    for destination in dict.fromkeys(one.destination for one in errands):
        ids = tuple(one.id for one in errands if one.destination == destination)
        holder = f"lta-restore at {HOST}"
        ask = ClaimErrands(states=states, destination=destination, most=len(ids), holder=holder, seconds=SECONDS, ids=ids)
        found += answer(books, ask, Errands).errands
    return found


def _move(books: Books, errand: Errand, to: str, **more: Any) -> Errand:
    move = ErrandMove(id=errand.id, fence=errand.fence, before=errand.state, to=to, **more)
    return answer(books, AdvanceErrands(moves=(move,)), Errands).errands[0]


def _put(this: Pass, road: Road, errand: Errand) -> None:
    """On the road; a copy of an earlier attempt is none of this one."""
    from dmtools.transfers import carry as engine

    lta = this.settings.lta
    landing.remove(landing.place_of(lta, errand.id))
    pair = Pair(errand.place or "", landing.url_of(lta, errand.id))
    name = f"FTSList-{clock.stamp(clock.now())}-{HOST}-back{errand.id}.txt"
    facts = {pair: (errand.bundle.size, f"adler32:{errand.bundle.adler32}")}
    this.ledger.transact(lambda c: engine.put(c, road, [(name, [pair])], by=this.by, at=clock.now(), facts=facts))


def _copy_of(this: Pass, errand: Errand) -> AnyRow | None:
    key = names.key(landing.url_of(this.settings.lta, errand.id))
    with this.ledger.read() as connection:
        query = select(T.id, T.state, T.reason).where(T.pipeline == "lta", T.place_key == key)
        return connection.execute(query).one_or_none()


def _forget(this: Pass, errand: Errand) -> None:
    """The copy's row must not stand for the next attempt. Before the errand is moved: a kill between repeats the copy."""
    key = names.key(landing.url_of(this.settings.lta, errand.id))

    def gone(connection: Connection) -> None:
        row = connection.execute(select(T.id).where(T.pipeline == "lta", T.place_key == key)).one_or_none()
        if row is not None:
            connection.execute(delete(tables.transfer).where(T.id == row.id))
            why = f"errand {errand.id} begins anew"
            journal.note(connection, "lta", "lta-copy", row.id, by=this.by, at=clock.now(), why=why)

    this.ledger.transact(gone)
