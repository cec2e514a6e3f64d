"""The rows of the live pages: how each stood when that changed last. The parser books; all others only read files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from dmtools import clock
from dmtools.control.passes import Pass
from dmtools.dqm.freshness import Verdict
from dmtools.dqm.states import STATES
from dmtools.ledger import tables
from dmtools.ledger.journal import Move, advance, count_new, record
from dmtools.ledger.types import AnyRow

TABLE = tables.dqm_page


def book(this: Pass, site: str, verdict: Verdict) -> bool:
    """Writes the state of a site's live page when it has changed; may be said again and again, by several at once.

    Gives whether it has changed. Raises LedgerUnavailable: then nothing is written, and the next round says it anew.
    """
    with this.ledger.read() as connection:
        row = row_of(connection, site)
    before: str | None = row.state if row is not None else None
    if before == verdict.state:
        return False
    if this.dry_run:
        this.plan(_said(site, before, verdict))
        return True
    before = this.ledger.transact(lambda connection: _moved(connection, site, verdict, this.by, clock.now()))
    if before is None:
        return False
    this.moved(before, verdict.state)
    this.log(_said(site, before, verdict))
    return True


def _said(site: str, before: str | None, verdict: Verdict) -> str:
    return f"{site}: {before or 'new'} -> {verdict.state}{': ' + verdict.why if verdict.why else ''}"


def row_of(connection: Connection, site: str) -> AnyRow | None:
    """How the page stood when that was booked last; None: it never was."""
    return connection.execute(select(TABLE).where(TABLE.c.site == site)).first()


def oldest(connection: Connection, states: Sequence[str]) -> dict[str, datetime]:
    """When the first page of each state came into it."""
    query = select(TABLE.c.state, func.min(TABLE.c.since)).where(TABLE.c.state.in_(states)).group_by(TABLE.c.state)
    return {row[0]: row[1] for row in connection.execute(query)}


def counted(connection: Connection) -> dict[str, tuple[int, int]]:
    """(pages, bytes) by state, of the rows."""
    return {row[0]: (int(row[1]), 0) for row in connection.execute(select(TABLE.c.state, func.count()).group_by(TABLE.c.state))}


def _moved(connection: Connection, site: str, verdict: Verdict, by: str, at: datetime) -> str | None:
    """The state it came from, empty for a new one; None: another was quicker, and nothing is to do."""
    query = select(TABLE.c.id, TABLE.c.state).where(TABLE.c.site == site).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        statement = insert(TABLE).values(site=site, state=verdict.state, since=at)
        if connection.dialect.name != "sqlite":
            statement = statement.prefix_with("IGNORE")
        if connection.execute(statement).rowcount:
            item = connection.execute(query).one().id
            record(connection, STATES, [Move(item, "", verdict.state, verdict.why or None)], by=by, at=at)
            count_new(connection, STATES.pipeline, verdict.state, 1, 0, at)
            return ""
        row = connection.execute(query).one()  # made by another in this very moment
    if row.state == verdict.state:
        return None
    advance(connection, TABLE, STATES, [Move(row.id, row.state, verdict.state, verdict.why or None)], by=by, at=at)
    return str(row.state)
