"""What cannot be and is looked for all the same: lists of which two jobs are open at once. Loads nothing of the engine."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, func, literal, select

from dmtools import names
from dmtools.ledger import tables

F, J = tables.filelist.c, tables.ftsjob.c
OPEN_JOBS = ("intent", "submitted")  # those of transfers.submit


def lists(connection: Connection, pipeline: str) -> Iterator[str]:
    """The names of these lists: their files may be copied twice."""
    opened = (J.pipeline == pipeline, J.state.in_(OPEN_JOBS))
    more = select(J.list_id).where(*opened).group_by(J.list_id).having(func.count() > literal(1)).subquery().c
    for name in connection.execute(select(F.name).where(F.id.in_(select(more.list_id)))).scalars():
        yield names.shown(name)
