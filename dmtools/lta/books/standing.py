"""How all stands: sites, the control word, the counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, func, select

from dmtools.control import automatic, holds
from dmtools.control.holds import RANK, Hold
from dmtools.control.orders import Order, obey
from dmtools.ledger import tables, upsert
from dmtools.lta.api import LOCAL, NotAllowed, Wrong
from dmtools.lta.api.sites import Control, Figures, Heartbeat, ListSites, Say, Sites, SiteState, Status, Word
from dmtools.lta.books.desk import Desk
from dmtools.lta.states import ERRAND_STATES, FIXITY_DONE, REMOTE_CLEANED, STATES

SITE, BUNDLE = tables.lta_site, tables.lta_bundle
# What is done is asked for by nobody, and each night's audit makes more of it.
OPEN_ERRANDS = tuple(state for state in ERRAND_STATES.names() if state not in (FIXITY_DONE, REMOTE_CLEANED))


def sites(desk: Desk, _ask: ListSites) -> Sites:
    """All that posted, and who holds claims there."""
    found = desk.connection.execute(select(SITE).order_by(SITE.c.name)).all()
    return Sites(sites=tuple(_state(desk, row) for row in found))


def _state(desk: Desk, row: Any) -> SiteState:
    held = (BUNDLE.c.holder.is_not(None), BUNDLE.c.ready > desk.now, BUNDLE.c.state.in_(STATES.names()))
    where = held if row.name == LOCAL else (*held, BUNDLE.c.destination == row.name)
    holders = () if row.name == LOCAL else desk.connection.execute(select(BUNDLE.c.holder).where(*where).distinct()).scalars()
    age = None if row.at is None else max(0.0, (desk.now - row.at).total_seconds())
    return SiteState(**row._mapping, age=age, holders=tuple(sorted(holders)))


def heartbeat(desk: Desk, ask: Heartbeat) -> SiteState:
    """A site tells how it is; that it is in error ends with its next word that it isn't."""
    if desk.who.is_bound and desk.who.site != ask.name:
        raise NotAllowed(f"{desk.who.name} works at {desk.who.site}, not at {ask.name}")
    if ask.error and ask.state != "Error":
        raise Wrong("a site that is in Run has no error text")
    values: dict[str, Any] = {"state": ask.state, "error": ask.error, "free": ask.free, "quota": ask.quota, "queue": ask.queue}
    values |= {"host": ask.host, "at": desk.now}
    upsert.put(desk.connection, SITE, {"name": ask.name}, values, {"reserved": _reserved(desk, ask.name)})
    row = desk.connection.execute(select(SITE).where(SITE.c.name == ask.name)).one()
    return SiteState(**row._mapping, age=0.0)


def _reserved(desk: Desk, name: str) -> int:
    query = select(func.sum(BUNDLE.c.reserved)).where(BUNDLE.c.destination == name, BUNDLE.c.reserved > 0)
    there = desk.connection.execute(select(SITE.c.name).where(SITE.c.name == name)).scalar()
    return 0 if there is not None else int(desk.connection.execute(query).scalar() or 0)


def control(desk: Desk, ask: Control) -> Word:
    """The strongest of the words in force, and who said it."""
    scope = f"{STATES.pipeline}/{ask.component}"
    found = [
        hold
        for hold in holds.open_holds(desk.connection, desk.settings, desk.now)
        if hold.covers(STATES.pipeline, ask.component) and automatic.binds(hold, scope)
    ]
    if not found:
        return Word(word="run")
    strongest: Hold = max(found, key=lambda hold: RANK[hold.state])
    return Word(word=strongest.state, by=strongest.by, why=strongest.reason)


def say(desk: Desk, ask: Say) -> Word:
    """A person's word for a component, or for the whole pipeline."""
    from dmtools.lta.register import PIPELINE  # the register needs the room that this is in

    if ask.component not in ("all", *PIPELINE.component_names()):
        raise Wrong(f"lta has no component {ask.component!r}; there are: all, {', '.join(PIPELINE.component_names())}")
    scope = STATES.pipeline if ask.component == "all" else f"{STATES.pipeline}/{ask.component}"
    obey(desk.connection, Order(ask.word, (scope,), desk.who.name, ask.why), desk.now)
    return (
        control(desk, Control(component=ask.component))
        if ask.word == "run"
        else Word(word=ask.word, by=desk.who.name, why=ask.why)
    )


def status(desk: Desk, _ask: Status) -> Figures:
    """From the counts that are kept with each change, never from a million rows."""
    tally = tables.tally.c
    query = select(tally.state, func.sum(tally.n), func.sum(tally.bytes)).where(tally.pipeline == STATES.pipeline)
    rows = {row[0]: (int(row[1]), int(row[2])) for row in desk.connection.execute(query.group_by(tally.state))}
    counts = {name: rows.get(name, (0, 0)) for name in STATES.names()}
    twins = select(func.count()).where(BUNDLE.c.twin > 0, BUNDLE.c.live_key.is_not(None))
    return Figures(
        counts={name: n for name, (n, _) in counts.items()},
        bytes={name: size for name, (_, size) in counts.items()},
        disks=_by_state(desk, tables.lta_disk),
        directories=_by_state(desk, tables.lta_directory),
        errands=_by_state(desk, tables.lta_errand, OPEN_ERRANDS),
        duplicates=int(desk.connection.execute(twins).scalar_one()),
    )


def _by_state(desk: Desk, table: Table, among: Sequence[str] = ()) -> dict[str, int]:
    where = [table.c.state.in_(among)] if among else []
    query = select(table.c.state, func.count()).where(*where).group_by(table.c.state).order_by(table.c.state)
    return {row[0]: row[1] for row in desk.connection.execute(query)}
