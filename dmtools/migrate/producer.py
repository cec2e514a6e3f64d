"""The producer: the next LFNs of the master lists -> list files in TODO.

Order: rows and offsets in one transaction (state cut) -> the files, durable -> the rows say TODO. A kill after the first
leaves lists that are cut but not there: the next pass writes them again from the master list's bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, update

from dmtools import clock, durable, names
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.engine import Stale
from dmtools.ledger.journal import Move, add_tally, count_moves, record
from dmtools.ledger.leases import HOST
from dmtools.migrate import masters, rewrite
from dmtools.migrate.cut import Piece, pieces
from dmtools.migrate.home import Home
from dmtools.migrate.masters import MasterRefused, Print, Reader
from dmtools.migrate.states import BAD, LISTED, STATES, TODO
from dmtools.spool import folders as at
from dmtools.spool import listfile
from dmtools.transfers import lists
from dmtools.transfers.plan import reject_key

M = tables.master.c
BATCH = 1000  # lists a transaction and a syncfs
TOLD = 20  # bad lines of a batch that are told one by one
READING, READ, REFUSED = "reading", "read", "refused"


@dataclass
class Cutting:
    """One master list under the producer's hands."""

    home: Home
    path: Path
    id: int
    cut: int
    lfns: int
    before: Print
    trusted: bool

    @property
    def name(self) -> str:
        """Its name, encoded."""
        return names.encode(self.path.name.encode("utf-8", "surrogateescape"))


def produce(this: Pass, *, most: int, lfns: int) -> None:
    """Cuts at most `most` lists (0: all) of at most `lfns` LFNs each."""
    home = Home.of(this)
    left = most or None
    for path in masters.entries(home.masters):
        if left == 0 or not this.goes():
            return
        try:
            left = _produce_from(this, home, path, left, lfns)
        except MasterRefused as problem:
            _refuse(this, home, path, str(problem))
        except FileNotFoundError:
            continue  # another producer moved it to Done meanwhile
    return


def _produce_from(this: Pass, home: Home, path: Path, left: int | None, lfns: int) -> int | None:
    if this.dry_run:
        return _dry(this, home, path, left, lfns)
    resource = f"master/{home.id}/{names.key(path.name).hex()}"
    if not this.leases.claim([resource]):
        return left
    try:
        cutting = _begin(this, home, path)
        rewrite.write_cut(this, home, cutting.id)
        reader = Reader(path, cutting.before, cutting.trusted)
        try:
            left = _cut_all(this, cutting, reader, left, lfns)
        finally:
            reader.close()
        if cutting.cut >= cutting.lfns and (left is None or left >= 0):
            _finish(this, home, cutting)
        return left
    finally:
        this.leases.release([resource])


def _cut_all(this: Pass, cutting: Cutting, reader: Reader, left: int | None, lfns: int) -> int | None:
    most = BATCH * lfns if left is None else min(BATCH, left) * lfns
    for start, lines, after in reader.batches(most):
        if not this.goes():
            return left
        ends = after.read == start + sum(map(len, lines)) + len(lines)
        found = list(pieces(start, lines, ends, cutting.home.rules, lfns))
        made = [number for number, piece in enumerate(found, 1) if piece.files or piece.bad]  # comments alone make no list
        if left is not None and len(made) > left:  # a change of rule made more lists: take what was asked for
            found = found[: made[left - 1]]
            _cut(this, cutting, found, _print_behind(cutting, found[-1]))
        else:
            _cut(this, cutting, found, after)
        if left is not None:
            left -= min(left, len(made))
            if left == 0:
                return left
    return left


def _print_behind(cutting: Cutting, last: Piece) -> Print:
    """The print at the end of a piece in the middle of a batch: read again from the file."""
    reader = Reader(cutting.path, cutting.before, trusted=True)
    try:
        end = last.start + last.length
        for block in masters.read_blocks(reader.stream, cutting.before.read, end - cutting.before.read):
            reader.feed(block)
        return reader.print_here()
    finally:
        reader.close()


def _cut(this: Pass, cutting: Cutting, found: list[Piece], after: Print) -> None:
    now = clock.now()
    stamp = clock.stamp(now)
    named = [(f"FTSList-{stamp}-{HOST}-{number}.txt", piece) for number, piece in enumerate(found, 1) if piece.files or piece.bad]
    cut = sum(piece.lfns for piece in found)
    this.ledger.transact(lambda c: _book(c, cutting, named, after, cut, this.by, now))
    cutting.before, cutting.cut, cutting.trusted = after, cutting.cut + cut, True
    full = [(name, piece) for name, piece in named if piece.files]
    home, master = cutting.home, cutting.name
    home.folders.put_many(at.TODO, [(name, head(name, master, piece) + piece.text) for name, piece in full])
    bad = sum(len(piece.bad) for _, piece in named)
    if bad:
        rewrite.project_by_names(this, home, [name for name, piece in named if piece.bad])
    this.ledger.transact(lambda c: _there(c, cutting.id, now))
    _tell_bad(this, cutting, [(name, *one) for name, piece in named for one in piece.bad])
    this.moved(LISTED, TODO, cut - bad)
    this.moved(LISTED, BAD, bad)
    this.log(f"cut {len(full)} lists with {cut - bad} LFNs from {cutting.path.name}")


def head(name: str, master: str, piece: Piece) -> bytes:
    """The first line of a list file: which bytes of which master list it was cut from."""
    return listfile.note(list=name, master=master, bytes=f"{piece.start}-{piece.start + piece.length}").encode("ascii")


def _book(
    connection: Connection, cutting: Cutting, named: list[tuple[str, Piece]], after: Print, cut: int, by: str, now: datetime
) -> None:
    """Rows of the lists, offsets of the master list, counts and bad lines: all or nothing."""
    table = tables.master
    values: dict[str, Any] = masters.row_values(cutting.path, after)
    values |= {"cut": M.cut + cut, "state": READING, "since": now}
    same = (M.id == cutting.id, M.read_bytes == cutting.before.read)
    if connection.execute(update(table).where(*same).values(values)).rowcount != 1:
        raise Stale(f"the master list {cutting.path.name} was read on by another command")
    shared: dict[str, Any] = {"pipeline": "migrate", "home": cutting.home.id, "state": lists.CUT, "since": now}
    shared["master_id"] = cutting.id
    rows = [
        {**shared, "name": name, "files": piece.files, "planned": 0 if piece.files else 1}
        | {"start": piece.start, "length": piece.length}
        for name, piece in named
    ]
    if rows:
        lists.add(connection, rows)
    files = sum(piece.files for _, piece in named)
    bad = sum(len(piece.bad) for _, piece in named)
    add_tally(connection, "migrate", {LISTED: (-files - bad, 0), TODO: (files, 0)})
    if bad:
        _book_bad(connection, cutting, named, by, now)


def _book_bad(connection: Connection, cutting: Cutting, named: list[tuple[str, Piece]], by: str, now: datetime) -> None:
    known = lists.by_names(connection, "migrate", cutting.home.id, [name for name, piece in named if piece.bad])
    rows = [
        _bad_row(known[name].id, name, offset, names.encode(line), why, now)
        for name, piece in named
        for offset, line, why in piece.bad
    ]
    ids = connection.execute(
        insert(tables.transfer).returning(tables.transfer.c.id, sort_by_parameter_order=True), rows
    ).scalars()
    moves = [Move(i, "", BAD, row["reason"]) for i, row in zip(ids, rows, strict=True)]
    record(connection, STATES, moves, by=by, at=now)
    count_moves(connection, "migrate", moves, now)


def _bad_row(list_id: int, list_name: str, offset: int, text: str, why: str, now: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {
        "pipeline": "migrate",
        "name": text,
        "name_key": names.key(text),
        "source": text,
        "destination": "",
        "state": BAD,
    }
    row |= {"place_key": reject_key(list_name, offset, text), "since": now, "list_id": list_id, "error_class": "invalid"}
    return row | {"reason": why, "failures": 0, "tries": 0, "overwrite": 0}


def _there(connection: Connection, master_id: int, now: datetime) -> None:
    table = tables.filelist
    mine = (table.c.master_id == master_id, table.c.state == lists.CUT, table.c.pipeline == "migrate")
    connection.execute(update(table).where(*mine, table.c.files > 0).values(state=lists.TODO, since=now))
    connection.execute(update(table).where(*mine, table.c.files == 0).values(state=lists.DONE, since=now))


def _tell_bad(this: Pass, cutting: Cutting, bad: list[tuple[str, int, bytes, str]]) -> None:
    """The first ones line by line, the rest as a number: a file that is no list must not drown all else."""
    for name, offset, line, why in bad[:TOLD]:
        this.problem(
            "bad line in a master list",
            f"{cutting.path.name} at byte {offset}: {names.shown(names.encode(line[:200]))}",
            why=why,
            left=f"kept in DONE/Bad/{name}; the other lines go on",
            next="append the corrected name to the master list",
        )
    if len(bad) > TOLD:
        this.problem(
            "more bad lines in a master list",
            f"{cutting.path.name} behind byte {bad[TOLD - 1][1]}",
            why=f"{len(bad) - TOLD} more lines name no file",
            left="kept in DONE/Bad, each with its reason; the other lines go on",
            next="see migrate-triage --class invalid; append the corrected names to the master list",
        )


def _begin(this: Pass, home: Home, path: Path) -> Cutting:
    """The row of the master list, made when it is new; `Listed` counts what isn't cut yet."""
    name = names.encode(path.name.encode("utf-8", "surrogateescape"))
    where = (M.home == home.id, M.name_key == names.key(name))
    with this.ledger.read() as connection:
        row = connection.execute(select(tables.master).where(*where)).first()
    found = masters.stamp(path)
    if row is not None and row.stamp == found and row.state != REFUSED:
        return Cutting(home, path, row.id, row.cut, row.lfns, Print.parse(row.read_bytes, row.read_sha256), True)
    before = Print.parse(row.read_bytes, row.read_sha256) if row is not None else Print()
    Reader(path, before, trusted=False).close()
    cut = row.cut if row is not None else 0
    lfns = cut + masters.count_lfns(path, before.read)
    master_id = this.ledger.transact(lambda c: _enter(c, home, name, row, lfns, found))
    this.log(f"master list {path.name}: {lfns} LFNs, {cut} of them cut")
    return Cutting(home, path, master_id, cut, lfns, before, True)


def _enter(connection: Connection, home: Home, name: str, row: Any, lfns: int, stamp: str) -> int:
    now = clock.now()
    known = 0
    if row is None:
        values = {"home": home.id, "name": name, "name_key": names.key(name), "state": READING, "since": now, "lfns": lfns}
        done = connection.execute(insert(tables.master).values(**values, read_bytes=0, read_lines=0, cut=0, stamp=stamp))
        assert done.inserted_primary_key is not None
        master_id = int(done.inserted_primary_key[0])
    else:
        master_id, known = int(row.id), int(row.lfns)
        values = {"lfns": lfns, "stamp": stamp, "state": READING, "since": now, "reason": None}
        connection.execute(update(tables.master).where(M.id == master_id).values(values))
    add_tally(connection, "migrate", {LISTED: (lfns - known, 0)})
    return master_id


def _finish(this: Pass, home: Home, cutting: Cutting) -> None:
    """All its lines are cut: it moves to Done; what stood there under its name was a part of it.

    The row first: a kill behind it leaves the list where it is, and the next pass does this again. Lines that were appended
    since it was read bring it back.
    """
    done = home.masters / "Done" / cutting.path.name
    done.parent.mkdir(exist_ok=True, mode=0o750)
    this.ledger.transact(lambda c: _mark(c, cutting, READ))
    durable.move(cutting.path, done)
    if _has_more(done, cutting.before) and not cutting.path.exists():
        durable.move(done, cutting.path)
        this.ledger.transact(lambda c: _mark(c, cutting, READING))
        this.log(f"{cutting.path.name} grew while it was cut; it is read on at the next pass")
        return
    this.log(f"all {cutting.lfns} LFNs of {cutting.path.name} are cut; the list is in ListOfLFNs/Done")


def _mark(connection: Connection, cutting: Cutting, state: str) -> None:
    connection.execute(update(tables.master).where(M.id == cutting.id).values(state=state, since=clock.now()))


def _has_more(path: Path, before: Print) -> bool:
    """Does the file go on behind what was read, or no longer begin with it?"""
    try:
        reader = Reader(path, before, trusted=True)
    except MasterRefused:
        return True
    try:
        return any(masters.is_lfn_line(line) for _, lines, _ in reader.batches(1000) for line in lines)
    except MasterRefused:
        return True
    finally:
        reader.close()


def _refuse(this: Pass, home: Home, path: Path, why: str) -> None:
    name = names.encode(path.name.encode("utf-8", "surrogateescape"))
    change = update(tables.master).where(M.home == home.id, M.name_key == names.key(name))
    if not this.dry_run:
        this.ledger.transact(lambda c: c.execute(change.values(state=REFUSED, reason=why[:500], since=clock.now())))
    this.problem(
        "master list refused",
        str(path),
        why=f"it {why}",
        left="no line of it was cut; the other lists go on",
        next="put it right, or move it away",
    )


def _dry(this: Pass, home: Home, path: Path, left: int | None, lfns: int) -> int | None:
    with this.ledger.read() as connection:
        name = names.encode(path.name.encode("utf-8", "surrogateescape"))
        row = connection.execute(select(tables.master).where(M.home == home.id, M.name_key == names.key(name))).first()
    before = Print.parse(row.read_bytes, row.read_sha256) if row is not None else Print()
    reader = Reader(path, before, trusted=False)
    for start, lines, after in reader.batches(lfns):
        if left == 0:
            break
        ends = after.read == start + sum(map(len, lines)) + len(lines)
        found = [piece for piece in pieces(start, lines, ends, home.rules, lfns) if piece.files or piece.bad]
        for piece in found[:left]:
            bad = f", and {len(piece.bad)} bad lines into DONE/Bad" if piece.bad else ""
            this.plan(f"would cut {piece.files} LFNs of {path.name} from byte {piece.start} into a list in TODO{bad}")
        left = left if left is None else left - len(found[:left])
    reader.close()
    return left
