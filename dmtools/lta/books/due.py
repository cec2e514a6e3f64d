"""Which bundles are to be read again from tape: those that were proved or read longest ago."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select

from dmtools.ledger import tables
from dmtools.lta.api.bundles import Bundle
from dmtools.lta.api.errands import Due, DueForAudit
from dmtools.lta.books import rows
from dmtools.lta.books.desk import Desk
from dmtools.lta.states import FIXITY_REQUEST, FIXITY_RUNNING, PROVED

TABLE, ERRAND = tables.lta_bundle, tables.lta_errand


def due(desk: Desk, ask: DueForAudit) -> Due:
    """The page that is due first; how many are proved, and how many are asked for already."""
    where: list[ColumnElement[bool]] = [TABLE.c.state.in_(PROVED)]
    errands: list[ColumnElement[bool]] = [ERRAND.c.kind == "fixity"]
    if ask.destination is not None:
        where.append(TABLE.c.destination == ask.destination)
        errands.append(ERRAND.c.destination == ask.destination)
    proved = desk.connection.execute(select(func.count()).select_from(TABLE).where(*where)).scalar_one()
    under_way = [*errands, ERRAND.c.state.in_((FIXITY_REQUEST, FIXITY_RUNNING))]
    asked = desk.connection.execute(select(func.count()).select_from(ERRAND).where(*under_way)).scalar_one()
    read = func.coalesce(TABLE.c.audited, TABLE.c.proved)
    live = select(ERRAND.c.bundle_id).where(*errands, ERRAND.c.live_key.is_not(None))
    query = select(*rows.columns(TABLE, Bundle)).where(*where, read < ask.before, TABLE.c.id.not_in(live))
    found = desk.connection.execute(query.order_by(read, TABLE.c.id).limit(ask.limit)).all()
    return Due(bundles=tuple(rows.made(Bundle, row) for row in found), proved=proved, asked=asked)
