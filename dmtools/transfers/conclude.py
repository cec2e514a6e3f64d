"""The last step of a settled list: its directories follow its rows, then its row says where it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from dmtools import clock
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.spool.folders import Folders
from dmtools.transfers import lists, project, settle
from dmtools.transfers.lists import ListRow


def finish(this: Pass, folders: Folders, list_ids: Sequence[int]) -> None:
    """Directories after tables for settling lists and the lists made of their rest; then their rows say where they are."""
    with this.ledger.read() as connection:
        rows = [row for row in lists.by_ids(connection, list_ids).values() if row.state == lists.SETTLING]
        rows += _children(connection, [row.id for row in rows])
        contents = project.load(connection, rows)
    project.write(folders, contents)
    conclude_all(this, rows)


def conclude_all(this: Pass, rows: Sequence[ListRow]) -> None:
    """`conclude` in a transaction; what another command concluded meanwhile is left to it."""
    try:
        this.ledger.transact(lambda c: conclude(c, rows, clock.now()))
    except Stale as problem:
        this.log(f"{problem}; left to it")


def _children(connection: Connection, parents: Sequence[int]) -> list[ListRow]:
    table = tables.filelist.c
    ids = [
        found
        for part in chunks(parents)
        for found in connection.execute(select(table.id).where(table.parent_id.in_(part), table.state == lists.CUT)).scalars()
    ]
    return list(lists.by_ids(connection, ids).values())


def conclude(connection: Connection, rows: Sequence[ListRow], at: datetime) -> None:
    """Settling and cut lists whose files stand where they should: TODO when files are left to move, else done."""
    left = settle.open_files(connection, [row.id for row in rows])
    ready = [row for row in rows if row.state in (lists.SETTLING, lists.CUT)]
    lists.change_many(connection, [(row, lists.TODO if left.get(row.id) else lists.DONE, {}) for row in ready], at)
