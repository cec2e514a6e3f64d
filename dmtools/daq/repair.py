"""dm-check --repair for daq: what a rule mends. What is on a disk, at the site or on tape is never touched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, select

from dmtools import clock
from dmtools.control import checking
from dmtools.control.checking import Finding, Inspection
from dmtools.control.passes import Pass
from dmtools.daq import states as s
from dmtools.daq.check import counted, home_of
from dmtools.daq.home import Home
from dmtools.daq.zips import Zip, by_ids, files_of
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.journal import Move, advance
from dmtools.spool import folders as at
from dmtools.storage import Absent, Present, client_for
from dmtools.transfers import check_lists
from dmtools.transfers.road import Road

F = tables.daq_file.c
LOOK_SECONDS = 600.0


def repair(inspection: Inspection, findings: Sequence[Finding]) -> None:
    """Mends what a rule names; each under the lease of what it touches."""
    this = inspection.this
    by_rule: dict[str, list[Finding]] = defaultdict(list)
    for found in findings:
        by_rule[found.rule].append(found)
    _zip_anew(this, [found.item for found in by_rule["no-zip"] if found.mend])
    lost = [found.item for rule in ("tape-gone", "tape-differs") for found in by_rule[rule]]
    _book_lost(this, lost)
    home = home_of(this)
    check_lists.put_right(this, home.folders, by_rule, lambda: _road(this, home))
    checking.sweep(this, [home.folders.root / folder for folder in at.ALL])
    this.ledger.transact(lambda c: checking.mend_counts(c, "daq", counted(c)))


def _zip_anew(this: Pass, items: Sequence[int]) -> None:
    """Files whose zip has no row are AtSite again: proved there they were."""
    why = "dm-check: its zip has no row; it is zipped anew"
    for part in chunks(items):
        with this.ledger.read() as connection:
            rows = list(connection.execute(select(F.id, F.state, F.size).where(F.id.in_(part))))
        moves = [
            Move(row.id, row.state, s.AT_SITE, why, row.size, values=(("zip_id", None),))
            for row in rows
            if row.state != s.AT_SITE
        ]
        stay = [row.id for row in rows if row.state == s.AT_SITE]

        def book(connection: Connection, moves: list[Move] = moves, stay: list[int] = stay) -> None:
            advance(connection, tables.daq_file, s.STATES, moves, by=this.by, at=clock.now())
            connection.execute(tables.daq_file.update().where(F.id.in_(stay), F.state == s.AT_SITE).values(zip_id=None))

        this.ledger.transact(book)


def _book_lost(this: Pass, items: Sequence[int]) -> None:
    """Zips that the tape doesn't have as they were proved: looked at once more, then Bad with their files."""
    with this.ledger.read() as connection:
        zips = [one for one in by_ids(connection, items).values() if one.state in (s.ON_TAPE, s.CLEANED)]
    granted = set(this.leases.claim([one.resource for one in zips]))
    try:
        for one in zips:
            if one.resource in granted:
                _look_again(this, one)
    finally:
        this.leases.release(sorted(granted))


def _look_again(this: Pass, one: Zip) -> None:
    url = f"{this.settings.daq.tape}{one.name}"
    store = client_for(url, this.settings)
    if store is None:
        return
    (look,) = store.look_many([url], checksum=True, deadline=LOOK_SECONDS)
    if isinstance(look, Absent) and store.trouble(this.settings.daq.tape) is None:
        cls, why = "lost", "dm-check found nothing at its place on tape"
    elif isinstance(look, Present) and (look.size, look.checksum) != (one.zip_size, one.zip_checksum):
        cls, why = "checksum", f"dm-check found {look.size} bytes, {look.checksum} on tape"
    else:
        return
    at_, values = clock.now(), (("error_class", cls), ("reason", why))

    def book(connection: Connection) -> None:
        advance(
            connection, tables.daq_zip, s.ZIP_STATES, [Move(one.id, one.state, s.BAD, why, values=values)], by=this.by, at=at_
        )
        rows = [row for row in files_of(connection, [one])[one.id] if row.state in (s.ON_TAPE, s.FREED)]
        moves = [Move(row.id, row.state, s.BAD, why, row.size, values=values) for row in rows]
        advance(connection, tables.daq_file, s.STATES, moves, by=this.by, at=at_)

    this.ledger.transact(book)


def _road(this: Pass, home: Home) -> Road:
    from dmtools.daq.road import road

    return road(this, home)
