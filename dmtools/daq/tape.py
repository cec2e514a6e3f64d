"""Zips that are proved at the site -> lists of the transfer engine -> the proof that the tape has them.

The engine proves size and checksum of each copy; here that is compared with the zip's row once more, and the tape is asked for
the copy's residency. What can't be proved now stays ToTape: a tape that says ONLINE only has failed nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, select, update

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.daq import residency, told
from dmtools.daq.claiming import each, take
from dmtools.daq.residency import Residency
from dmtools.daq.results import Failure, again
from dmtools.daq.road import BAD as COPY_BAD
from dmtools.daq.road import MISSING, OKAY
from dmtools.daq.states import BAD, FREED, ON_TAPE, STATES, TO_TAPE, ZIPPED
from dmtools.daq.zips import Step, Z, Zip, files_of, in_state, tape_url
from dmtools.ledger import journal, tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.journal import Move, advance
from dmtools.ledger.leases import HOST
from dmtools.ledger.types import AnyRow
from dmtools.spool.listfile import Pair, check_url

if TYPE_CHECKING:
    from dmtools.transfers.road import Road

T = tables.transfer.c
A_LIST = 50  # zips of one list: one FTS job
MOST = 1000  # zips a pass


def put(this: Pass, road: Road) -> None:
    """Zipped zips into lists of the engine: rows and lists in one transaction, the list files follow."""
    from dmtools.transfers import carry

    with this.ledger.read() as connection:
        found = in_state(connection, ZIPPED, most=MOST)
    for number, ours in enumerate(each(this, found, A_LIST, new=True), 1):
        good = _refuse_names(this, road, ours)
        pairs = [Pair(one.place or "", tape_url(this.settings, one.name)) for one in good]
        name = f"FTSList-{clock.stamp(clock.now())}-{HOST}-{number}.txt"
        steps = [Step(one, TO_TAPE, f"in {name}", {"failures": 0, "list_id": None}) for one in good]

        def lists(connection: Connection, booked: list[Step], name: str = name, pairs: list[Pair] = pairs) -> None:
            mine = {one.zip.place for one in booked}
            wanted = [pair for pair in pairs if pair.source in mine]
            _forget_copies(this, connection, wanted)
            made = carry.put(connection, road, [(name, wanted)], by=this.by, at=clock.now())
            lists_of = {pair.source: list_id for pair, list_id in made.items()}
            for step in booked:
                step.values["list_id"] = lists_of[step.zip.place or ""]

        take(this, steps, first=lists)


def _refuse_names(this: Pass, road: Road, zips: Sequence[Zip]) -> list[Zip]:
    """A name that no FTS job may carry is Bad by itself; the other zips of its list go on."""
    good, steps = [], []
    for one in zips:
        try:
            for url in (one.place or "", tape_url(this.settings, one.name)):
                check_url(url, any_name=road.any_name)
        except names.NameRefused as problem:
            fault = {"error_class": "invalid", "reason": str(problem)[:500]}
            steps.append(Step(one, BAD, str(problem), dict(fault), fault))
        else:
            good.append(one)
    told.steps(this, take(this, steps))
    return good


def _forget_copies(this: Pass, connection: Connection, pairs: Sequence[Pair]) -> None:
    """A zip that was made anew goes to a place where an earlier zip has been: that copy's row must not stand for this one."""
    sources = {names.key(pair.destination): pair.source for pair in pairs}
    for row in _copies(connection, list(sources)).values():
        if row.state == OKAY or row.source != sources[row.place_key]:
            connection.execute(delete(tables.transfer).where(T.id == row.id))
            why = f"another zip goes to its place: {sources[row.place_key]}"
            journal.note(connection, "daq", "tape", row.id, by=this.by, at=clock.now(), why=why)


def _copies(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, AnyRow]:
    query = select(T.id, T.place_key, T.source, T.size, T.checksum, T.state, T.error_class, T.reason, T.verified_by)
    found = (row for part in chunks(keys) for row in connection.execute(query.where(T.pipeline == "daq", T.place_key.in_(part))))
    return {row.place_key: row for row in found}


def follow(this: Pass) -> None:
    """Books what became of the copies: proved on tape, Bad, to be zipped again; the others wait."""
    with this.ledger.read() as connection:
        zips = in_state(connection, TO_TAPE)
        copies = _copies(connection, [names.key(tape_url(this.settings, one.name)) for one in zips])
    ended = [one for one in zips if (row := _copy_of(this, one, copies)) is not None and row.state not in ("TODO", "DOING")]
    for ours in each(this, ended):
        _settle(this, [(one, row) for one in ours if (row := _copy_of(this, one, copies)) is not None])


def _copy_of(this: Pass, one: Zip, copies: dict[bytes, AnyRow]) -> AnyRow | None:
    """The row of this very zip's copy; that of an earlier zip of the same name is none."""
    row = copies.get(names.key(tape_url(this.settings, one.name)))
    return row if row is not None and row.source == one.place else None


def _settle(this: Pass, ended: Sequence[tuple[Zip, AnyRow]]) -> None:
    now, daq = clock.now(), this.settings.daq
    equal = [one for one, row in ended if row.state == OKAY and (row.size, row.checksum) == (one.zip_size, one.zip_checksum)]
    urls = [tape_url(this.settings, one.name) for one in equal]
    said = {one.id: word for one, word in zip(equal, residency.ask(urls, this.settings), strict=True)}
    steps = []
    for one, row in ended:
        if one.id in said:
            if said[one.id].proved:
                why = f"{row.checksum} and {row.size} bytes on tape; {said[one.id].why}"
                clear = {"error_class": None, "reason": None}
                steps.append(Step(one, ON_TAPE, why, {**clear, "proved": now}, clear))
            else:
                _tell_unproved(this, one, said[one.id])
        elif row.state == MISSING:
            steps.append(again(one, Failure("missing", "its zip is not at the site any more"), daq, now))
        else:
            steps.append(_bad(one, row))
    told.steps(this, _take_with_freed(this, steps))


def _bad(one: Zip, row: AnyRow) -> Step:
    if row.state == COPY_BAD:
        cls, why = row.error_class or "other", row.reason or "its copy to tape failed"
    else:
        was = f"{one.zip_size} bytes, {one.zip_checksum}"
        cls, why = "checksum", f"its copy on tape is {row.size} bytes, {row.checksum}; the zip that was tested is {was}"
    fault = {"error_class": cls, "reason": why[:500]}
    return Step(one, BAD, why, dict(fault), fault)


def _take_with_freed(this: Pass, steps: Sequence[Step]) -> list[Step]:
    """Files whose source is gone already are Freed with the zip's OnTape, in the same transaction."""
    booked = take(this, [one for one in steps if one.after != ON_TAPE])
    proved = [one for one in steps if one.after == ON_TAPE]
    freed = [0]

    def those_gone(connection: Connection, ours: list[Step]) -> None:
        freed[0] = free(this, connection, [one.zip for one in ours])

    booked += take(this, proved, then=those_gone)
    this.moved(ON_TAPE, FREED, freed[0])
    return booked


def free(this: Pass, connection: Connection, zips: Sequence[Zip]) -> int:
    """OnTape files of these zips that are gone from their disk: the end. Gives how many."""
    found = [
        row for rows in files_of(connection, zips).values() for row in rows if row.state == ON_TAPE and row.freed is not None
    ]
    moves = [Move(row.id, ON_TAPE, FREED, "gone from its disk before", row.size) for row in found]
    if moves:
        advance(connection, tables.daq_file, STATES, moves, by=this.by, at=clock.now())
    return len(moves)


def _tell_unproved(this: Pass, one: Zip, said: Residency) -> None:
    """At once in the log and in its row, for dm-trace; told when it lasts longer than the tape may take."""
    if one.reason != said.why:
        put = update(tables.daq_zip).where(Z.id == one.id, Z.state == TO_TAPE).values(reason=said.why[:500])
        this.ledger.transact(lambda c: c.execute(put))
    age = (clock.now() - one.since).total_seconds()
    if age <= this.settings.daq.archive_timeout:
        this.log(f"{one.shown} is not proved on tape yet: {said.why}")
        return
    why = f"{said.why}; since {clock.age(age)}, longer than archive_timeout"
    left = "it stays ToTape and its files keep their disk; nothing failed"
    this.problem("not proved on tape", one.shown, why=why, left=left, next="ask those who run the tape", failed=False)
