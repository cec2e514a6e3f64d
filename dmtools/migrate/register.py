"""migrate's entry in the register of pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from dmtools.control import figures
from dmtools.control.entry import Component, Pipeline
from dmtools.ledger import tables
from dmtools.migrate.states import BAD, DOING, LISTED, MISSING, OKAY, STATES, TODO


def oldest(connection: Connection, states: Sequence[str]) -> dict[str, datetime]:
    """When the oldest item of each state came into it. Before its first submission a file has no row: its list has."""
    found = figures.oldest_transfers(connection, "migrate", [state for state in states if state != LISTED])
    if TODO in states:
        lists = figures.oldest_lists(connection, "migrate", ("cut", "TODO"))
        found |= {TODO: min(found[TODO], lists) if TODO in found else lists} if lists else {}
    if LISTED in states:
        master = tables.master.c
        since = connection.execute(select(master.since).where(master.state == "reading").order_by(master.id).limit(1)).scalar()
        found |= {LISTED: since} if since else {}
    return found


PIPELINE = Pipeline(
    name="migrate",
    meaning="the LFNs of master lists from one storage to another, through FTS3",
    states=STATES,
    open=(LISTED, TODO, DOING),
    done=(OKAY,),
    bad=(BAD, MISSING),
    components=(
        Component("producer", "master lists -> list files in TODO", "0 */2 * * *", "--lists 101"),
        Component("consumer", "list files in TODO -> FTS jobs", "0 */2 * * *", "--lists 101"),
        Component("monitor", "FTS jobs -> DONE, or back to TODO", "30 */2 * * *"),
        Component("triage", "Bad files by error class -> TODO"),
        Component("cancel", "takes jobs back from the servers"),
        Component("compare", "a storage dump against the catalogue: lost and dark files"),
    ),
    oldest=oldest,
    trace="dmtools.migrate.traces:trace",
    search="dmtools.migrate.traces:search",
    near="dmtools.migrate.traces:near",
    check="dmtools.migrate.check:check",
    probes="dmtools.migrate.probes:figures",
    repair="dmtools.migrate.repair:repair",
    ages=(TODO, DOING),  # a master list of millions is cut for weeks
    buffers="dmtools.migrate.outlook:buffers",
    stuck="dmtools.migrate.outlook:stuck",
    duplicates="dmtools.migrate.outlook:twice",
)
