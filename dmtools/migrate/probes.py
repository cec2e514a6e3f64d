"""What dm-train-ok asks for migrate beyond the common: proxy or token, copies that stand still."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import func, select

from dmtools import names
from dmtools.control import probes
from dmtools.control.entry import Figure, Probing
from dmtools.ledger import tables
from dmtools.migrate.states import DOING
from dmtools.transfers import credential_life

PIPELINE = {"pipeline": "migrate"}
MOST = 1000


def figures(look: Probing) -> Iterator[Figure]:
    """All of them."""
    yield from credential_life.figure(look, "migrate")
    yield from stuck(look)


def stuck(look: Probing) -> Iterator[Figure]:
    """Files under way that have not moved for [train_ok] stuck_hours; not more than MOST are counted."""
    hours = look.settings.train_ok.stuck_hours
    column = tables.transfer.c
    where = (column.pipeline == "migrate", column.state == DOING, column.since < look.at - timedelta(hours=hours))
    few = select(column.id).where(*where).limit(MOST).subquery()
    number = int(look.connection.execute(select(func.count()).select_from(few)).scalar_one())
    often = f"{number} or more" if number >= MOST else str(number)
    said = f"migrate: {often} files have been at their servers for more than {hours} h" if number else "migrate: nothing is stuck"
    if number:
        first = look.connection.execute(select(column.name).where(*where).order_by(column.since).limit(1)).scalar_one()
        said += f"; dm-trace {names.shown(first)}"
    yield Figure("stuck", PIPELINE, number, said, "", probes.over(0))
