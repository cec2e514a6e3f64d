"""Lost tables: how far each master list was read, by the notes of the lists that were cut from it; gaps are cut again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.leases import HOST
from dmtools.migrate import masters, rewrite
from dmtools.migrate.cut import Piece, pieces
from dmtools.migrate.home import Home
from dmtools.migrate.masters import MasterRefused, Print, Reader
from dmtools.migrate.papers import papers
from dmtools.migrate.rebuild_rows import known_places
from dmtools.spool import folders as at
from dmtools.transfers import lists

M = tables.master.c
A_LIST = 100  # LFNs of a list that is cut again


@dataclass
class Master:
    """One master list: where it stands, which of its bytes the lists account for, and its row."""

    name: str
    path: Path | None
    done: bool
    spans: list[tuple[int, int]] = field(default_factory=list)
    row: dict[str, Any] = field(default_factory=dict)

    def gaps(self) -> Iterator[tuple[int, int]]:
        """What was read, and no list accounts for."""
        at_byte = 0
        for start, end in [*sorted(self.spans), (self.row.get("read_bytes", 0), 0)]:
            if start > at_byte:
                yield at_byte, start
            at_byte = max(at_byte, end)


def read(this: Pass, home: Home) -> list[Master]:
    """Every master list that was cut from, or is in Done."""
    found: dict[str, Master] = {}
    for path in masters.entries(home.masters / "Done"):
        name = names.encode(path.name.encode("utf-8", "surrogateescape"))
        found[name] = Master(name, path, True)
    for folder in (at.OKAY, at.BAD, at.MISSING, at.DOING, at.TODO):
        for paper in papers(home, folder):
            if paper.origin is not None:
                name, start, end = paper.origin
                found.setdefault(name, Master(name, None, False)).spans.append((start, end))
    for master in found.values():
        _measure(this, home, master)
    return list(found.values())


def _measure(this: Pass, home: Home, master: Master) -> None:
    """Its row: how far it was read, and the digest of that part."""
    raw = names.decode(master.name).decode("utf-8", "surrogateescape")
    waiting = home.masters / raw
    end = max((end for _, end in master.spans), default=0)
    row: dict[str, Any] = {"home": home.id, "name": master.name, "name_key": names.key(master.name), "since": clock.now()}
    row |= {"read_lines": 0, "read_bytes": end, "read_sha256": None, "lfns": 0, "cut": 0, "stamp": None, "reason": None}
    try:
        if master.done and master.path is not None:
            end = max(end, _size(master.path))
        here = waiting if waiting.is_file() else master.path
        if here is None:
            _tell_gone(this, master, raw)
            master.row = row | {"state": "read"}
            return
        master.path = here
        after = _print_of(here, end)
        lfns = masters.count_lfns(here, 0)
        row |= {"read_sha256": after.text(), "read_bytes": end, "lfns": lfns, "cut": lfns - masters.count_lfns(here, end)}
        master.row = row | {"state": "reading" if here == waiting else "read", "stamp": masters.stamp(here)}
    except (MasterRefused, OSError) as problem:
        master.row = row | {"state": "refused", "reason": str(problem)[:500]}
        this.problem(
            "master list refused",
            raw,
            why=f"it {problem}",
            left=f"{end} bytes of it are cut, by its lists; nothing more of it is",
            next="put back the list as it was; new lines belong at its end",
        )


def _size(path: Path) -> int:
    """Its bytes, unpacked."""
    stream = masters.open_master(path)
    try:
        return sum(map(len, masters.read_blocks(stream, 0)))
    finally:
        stream.close()


def _print_of(path: Path, end: int) -> Print:
    reader = Reader(path, Print(), trusted=True)
    try:
        for block in masters.read_blocks(reader.stream, 0, end):
            reader.feed(block)
        found = reader.print_here()
    finally:
        reader.close()
    if found.read != end:
        raise MasterRefused("is shorter than the part that is cut already")
    return found


def book(connection: Connection, home: Home, found: list[Master]) -> dict[str, int]:
    """The rows of the master lists. Gives their ids by name."""
    connection.execute(delete(tables.master).where(M.home == home.id))
    if found:
        connection.execute(insert(tables.master), [master.row for master in found])
    return {row.name: row.id for row in connection.execute(select(M.id, M.name).where(M.home == home.id))}


def gaps(home: Home, found: list[Master]) -> list[tuple[Master, Piece]]:
    """Lines that were cut and stand in no list any more. A list in Done of which no list at all is left was cleaned up."""
    return [
        (master, piece)
        for master in found
        if master.path is not None and master.row["state"] != "refused" and master.spans
        for gap in master.gaps()
        for piece in _pieces(home, master.path, gap)
    ]


def _pieces(home: Home, path: Path, gap: tuple[int, int]) -> list[Piece]:
    start, end = gap
    lines = masters.lines_of(path, start, end - start)
    return [piece for piece in pieces(start, lines, True, home.rules, A_LIST) if piece.files]


def book_gaps(connection: Connection, home: Home, found: list[tuple[Master, Piece]], ids: dict[str, int]) -> dict[str, int]:
    """Lists, still to be written, of the pieces with a file that no row knows. Gives how many files of which master list."""
    files: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    shared: dict[str, Any] = {"pipeline": "migrate", "home": home.id, "state": lists.CUT, "since": clock.now()}
    stamp = clock.stamp(clock.now())
    for master, piece in found:
        urls = {line.split("  ")[1] for line in piece.text.decode("ascii").splitlines()}
        if len(known_places(connection, urls)) == len(urls):
            continue
        name = f"FTSList-{stamp}-{HOST}-{len(rows) + 1}.txt"
        row = {**shared, "name": name, "files": piece.files, "master_id": ids[master.name]}
        rows.append({**row, "start": piece.start, "length": piece.length})
        files[master.name] = files.get(master.name, 0) + piece.files
    if rows:
        lists.add(connection, rows)
    return files


def write_gaps(this: Pass, home: Home, files: dict[str, int], ids: dict[str, int]) -> None:
    """Their files; a kill before this is mended by the monitor."""
    for name, n in files.items():
        rewrite.write_cut(this, home, ids[name])
        this.problem(
            "lists were gone",
            names.shown(name),
            why=f"{n} files that were cut from it stood in no directory",
            left="they are in TODO again; what is at its destination already is proved there, not copied",
            next="nothing",
            failed=False,
        )


def _tell_gone(this: Pass, master: Master, raw: str) -> None:
    this.problem(
        "master list gone",
        raw,
        why=f"{len(master.spans)} lists were cut from it; it is neither in ListOfLFNs nor in Done",
        left="its lists are booked; what was not cut of it is not known",
        next="put it back under another name if lines of it were left",
        failed=False,
    )
