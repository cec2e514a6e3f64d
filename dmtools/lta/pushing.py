"""Pushes: bundles that are next, while the buffer has room -> the engine's lists -> the proof that the buffer has them.

JsonMade is the intent, written before the engine hears of it; its instant (`since`) is in the name of the list, so that each
push is told from the one before it. A bundle that is JsonMade and in no list of its own is put on the road: a kill left it so.
One scanner of a HOME at a time does this; the others go on to what is next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.ledger.journal import Move, advance
from dmtools.ledger.leases import Lease
from dmtools.ledger.types import AnyRow
from dmtools.lta.api import answer
from dmtools.lta.api.bundles import Bundle, BundleMove, Quarantine
from dmtools.lta.road import BAD, MISSING, OKAY
from dmtools.lta.states import JSON_MADE, PUSH_DONE, PUSH_PROBLEM, QUARANTINED, RETRY, UNTOUCHED
from dmtools.lta.work import Work
from dmtools.spool.listfile import Pair, check_url
from dmtools.transfers import carry
from dmtools.transfers.plan import FOREIGN
from dmtools.transfers.road import Road

L, T = tables.filelist.c, tables.transfer.c
ADLER = "adler32:"


@dataclass
class Pushes:
    """The pushes of one HOME, in one pass. `lease`: of `Work.alone`."""

    work: Work
    way: Road
    lease: Lease

    @property
    def this(self) -> Pass:
        """The pass."""
        return self.work.this

    # ---- what ended

    def follow(self) -> None:
        """Books what the engine knows of the pushes; those that no list has are put on the road."""
        going = list(self.work.bundles(JSON_MADE))
        copies = self._copies(going)
        self._put([one for one in going if not _is_its(one, copies.get(one.id))])
        ended = [one for one in going if _is_its(one, copies.get(one.id)) and copies[one.id].state in (OKAY, BAD, MISSING)]
        for one in self.work.claimed(ended, JSON_MADE):
            self._settle(one, copies[one.id])

    def _settle(self, one: Bundle, row: AnyRow) -> None:
        adler32 = (row.checksum or "").removeprefix(ADLER)
        move: dict[str, object] = {"id": one.id, "fence": one.fence, "before": JSON_MADE}
        if row.state == OKAY and (row.size, adler32) == (one.size, one.adler32):
            move |= {"to": PUSH_DONE, "size": row.size, "adler32": adler32, "buffer": one.buffer}
            move["why"] = f"{row.checksum} and {row.size} bytes in the buffer, proved by {row.verified_by or 'the storage'}"
        else:
            cls, why = row.error_class or "other", row.reason or "the engine gave it up"
            if row.state != BAD:
                cls, why = "changed", f"what came to the buffer is not the bundle: {row.size} bytes, {row.checksum}"
            move |= {"to": PUSH_PROBLEM, "failed": True, "error_class": cls, "why": why[:1900]}
        now = self.work.advance(BundleMove(**move))  # type: ignore[arg-type]
        if now is not None and now.state != PUSH_DONE:
            self._tell(now)

    def _tell(self, one: Bundle) -> None:
        why, left = one.reason or "no reason was kept", "its zip stays in outbound"
        if one.state == QUARANTINED:
            advice = f"put it right, then: lta-bundle-scanner --reset {one.id} --reason TEXT"
            self.this.problem(QUARANTINED, names.shown(one.ideal), why=why, left=left, next=advice)
            return
        advice = f"tried again after {clock.local(one.ready)}"
        self.this.problem("push failed", names.shown(one.ideal), why=why, left=left, next=advice, failed=False)

    # ---- what is next

    def begin(self) -> list[Bundle]:
        """Claims what is next, as far as room is reserved and max_pushes lets; gives what is on the road now."""
        self._again()
        room = self.this.settings.lta.max_pushes - sum(1 for _ in self.work.bundles(JSON_MADE))
        if room <= 0:
            return []
        claimed = self.work.claim((UNTOUCHED, PUSH_PROBLEM), most=room, reserve=True)
        going = [moved for one in claimed if (moved := self._intend(one)) is not None]
        self._put(going)
        return going

    def _intend(self, one: Bundle) -> Bundle | None:
        """JsonMade; a name that no job may carry goes into quarantine by itself."""
        buffer = self.this.settings.lta.buffer + one.ideal
        try:
            check_url(buffer, any_name=self.way.any_name)
        except names.NameRefused as problem:
            self._refuse(one, str(problem))
            return None
        return self.work.advance(BundleMove(id=one.id, fence=one.fence, before=one.state, to=JSON_MADE, buffer=buffer))

    def _refuse(self, one: Bundle, why: str) -> None:
        ask = Quarantine(id=one.id, fence=one.fence, why=why, error_class="invalid")
        self.this.moved(one.state, QUARANTINED)
        self._tell(answer(self.work.books, ask, Bundle))

    def _again(self) -> None:
        """What a person wants sent anew begins from the start."""
        for one in self.work.claim((RETRY,), most=100):
            self.work.advance(BundleMove(id=one.id, fence=one.fence, before=RETRY, to=UNTOUCHED, why="sent anew"))

    # ---- the engine's side

    def _put(self, wanted: Sequence[Bundle]) -> None:
        """Each into a list of its own, unless an earlier push to its place is still under way."""
        for one in wanted:
            pair = Pair(self.this.settings.lta.outbound_url + one.ideal, one.buffer or "")
            try:
                self.this.ledger.transact(lambda c, one=one, pair=pair: self._put_one(c, one, pair))  # type: ignore[misc]
            except Stale as problem:
                self.this.log(f"{problem}; {names.shown(one.ideal)} is left to the next pass")
                return
        if wanted:
            carry.mend(self.this, self.way)

    def _put_one(self, connection: Connection, one: Bundle, pair: Pair) -> None:
        self.this.leases.check(connection, self.lease)
        query = select(T.id, T.state, T.overwrite, T.size).where(T.pipeline == "lta", T.place_key == names.key(pair.destination))
        row = connection.execute(query).one_or_none()
        at, by = clock.now(), self.this.by
        if row is not None and row.state == OKAY:  # of an earlier push of the name: it stands for this one no longer
            values = (("overwrite", FOREIGN if row.overwrite == FOREIGN else 1),)
            move = Move(row.id, OKAY, BAD, "it is sent anew", row.size or 0, values=values)
            advance(connection, tables.transfer, self.way.states, [move], by=by, at=at)
        facts = {pair: (one.size, ADLER + one.adler32)}
        carry.put(connection, self.way, [(_list_of(one), [pair])], by=by, at=at, facts=facts)

    def _copies(self, wanted: Sequence[Bundle]) -> dict[int, AnyRow]:
        """The engine's row of each bundle's place in the buffer, with the name of its list."""
        ids = {names.key(one.buffer or ""): one.id for one in wanted}
        columns = (T.place_key, T.state, T.size, T.checksum, T.error_class, T.reason, T.verified_by, L.name)
        query = select(*columns).join_from(tables.transfer, tables.filelist, L.id == T.list_id).where(T.pipeline == "lta")
        with self.this.ledger.read() as connection:
            parts = [connection.execute(query.where(T.place_key.in_(part))).all() for part in chunks(list(ids))]
        return {ids[row.place_key]: row for part in parts for row in part}


def _list_of(one: Bundle) -> str:
    """The name of the list of this push, and of no other."""
    return f"push-{one.id}-{clock.stamp(one.since)}.txt"


def _is_its(one: Bundle, row: AnyRow | None) -> bool:
    """Is the engine's row that of this push?"""
    return row is not None and row.name.lstrip("D") == _list_of(one)
