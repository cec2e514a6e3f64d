"""Directories after tables: lists written again from their rows, or from the master list they were cut from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.migrate import masters
from dmtools.migrate.cut import pieces
from dmtools.migrate.home import Home
from dmtools.migrate.masters import MasterRefused
from dmtools.spool import folders as at
from dmtools.spool import listfile
from dmtools.transfers import lists, project
from dmtools.transfers.lists import ListRow

F, M = tables.filelist.c, tables.master.c


class CutLists:
    """The lists that were cut from master lists, for the engine: their content is those lists' bytes."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def write_again(self, this: Pass, origins: Sequence[int]) -> None:
        """Writes the lists that a killed pass had cut from these."""
        for master_id in origins:
            raw = names.decode(_name(this, master_id)).decode("utf-8", "surrogateescape")
            resource = f"master/{self._home.id}/{names.key(raw).hex()}"
            if this.leases.claim([resource]):
                try:
                    write_cut(this, self._home, master_id)
                finally:
                    this.leases.release([resource])

    def text(self, this: Pass, row: ListRow) -> bytes | None:
        """The text of one list; None, and told, when its master list is gone."""
        return text_from_master(this, self._home, row, _name(this, row.master_id))


def _name(this: Pass, master_id: int | None) -> str:
    with this.ledger.read() as connection:
        return str(connection.execute(select(M.name).where(M.id == master_id)).scalar())


def project_by_names(this: Pass, home: Home, wanted: Sequence[str]) -> None:
    """The same for lists by name."""
    if wanted:
        with this.ledger.read() as connection:
            rows = lists.by_names(connection, "migrate", home.id, wanted)
        project.rows(this, home.folders, list(rows.values()))


def write_cut(this: Pass, home: Home, master_id: int) -> None:
    """Lists of a master list that were booked but are not proved to be there: written again from its bytes."""
    where = (F.pipeline == "migrate", F.state == lists.CUT, F.master_id == master_id)
    with this.ledger.read() as connection:
        ids = list(connection.execute(select(F.id).where(*where)).scalars())
        rows = list(lists.by_ids(connection, ids).values())
        name = connection.execute(select(M.name).where(M.id == master_id)).scalar()
    if not rows or name is None:
        return
    written = [row for row in rows if _write_again(this, home, row, str(name))]
    project.rows(this, home.folders, written)
    this.ledger.transact(lambda c: _there(c, written))
    this.log(f"wrote {len(written)} lists again that a killed pass had cut")


def _write_again(this: Pass, home: Home, row: ListRow, master: str) -> bool:
    if not row.files or any(home.folders.has(folder, row.name) for folder in (at.TODO, at.DOING)):
        return True
    data = text_from_master(this, home, row, master)
    if data is None:
        return False
    home.folders.put(at.TODO, row.name, data)
    return True


def text_from_master(this: Pass, home: Home, row: ListRow, master: str) -> bytes | None:
    """The text of a list from the bytes of its master list, wherever that stands now; None (and told) when it is gone."""
    raw = names.decode(master).decode("utf-8", "surrogateescape")
    assert row.start is not None
    assert row.length is not None
    for path in (home.masters / raw, home.masters / "Done" / raw):
        try:
            lines = masters.lines_of(path, row.start, row.length)
        except (FileNotFoundError, MasterRefused):
            continue
        found = list(pieces(row.start, lines, True, home.rules, max(1, len(lines))))
        origin = listfile.note(list=row.name, master=master, bytes=f"{row.start}-{row.start + row.length}").encode("ascii")
        return origin + b"".join(piece.text for piece in found)
    this.problem(
        "a list can't be written again",
        row.name,
        why=f"the master list {names.shown(master)} from which it was cut is gone or shorter than it was",
        left=f"its {row.files} files stay booked as TODO",
        next="put the master list back into ListOfLFNs or ListOfLFNs/Done; the next pass goes on",
    )
    return None


def _there(connection: Connection, rows: Sequence[ListRow]) -> None:
    for row in rows:
        state: dict[str, Any] = {"state": lists.TODO if row.files else lists.DONE, "since": clock.now()}
        connection.execute(update(tables.filelist).where(F.id == row.id, F.state == lists.CUT).values(state))


def project_one(this: Pass, home: Home, row: ListRow, folder: str) -> None:
    """One folder after the tables for one list; what a person did with the list elsewhere stays."""
    with this.ledger.read() as connection:
        data = project.text(project.load(connection, [row])[0], folder)
    if data is not None:
        home.folders.put(folder, row.name, data)
    else:
        home.folders.drop_many(folder, [row.name])
