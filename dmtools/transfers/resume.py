"""What a killed pass left open is sent again: the same jobs to the same servers."""

from __future__ import annotations

from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.transfers import lists, project, submit, withdraw
from dmtools.transfers.road import Road
from dmtools.transfers.sending import Sending
from dmtools.transfers.servers import Servers
from dmtools.transfers.submit import INTENT

J = tables.ftsjob.c
BATCH = 50


def resume(this: Pass, road: Road, servers: Servers) -> None:
    """Attempts (of this HOME's lists) of whose submission nothing is known: the same job to the same server again."""
    with this.ledger.read() as connection:
        where = (J.pipeline == road.pipeline, J.state == INTENT, lists.belongs(J.list_id, road.home))
        waiting = [i for i in submit.load_intents(connection, *where, with_files=False) if i.server in servers.up]
    with Sending(this, road, servers) as sending:
        for start in range(0, len(waiting), BATCH):
            if not this.goes(new=False):
                break
            part = waiting[start : start + BATCH]
            granted = list(this.leases.claim([f"list/{i.list_id}" for i in part]))
            try:
                ids = [i.id for i in part if f"list/{i.list_id}" in granted]
                with this.ledger.read() as connection:
                    intents = submit.load_intents(connection, J.id.in_(ids), J.state == INTENT)
                    rows = lists.by_ids(connection, [i.list_id for i in intents])
                    contents = project.load(connection, list(rows.values()))
                project.write(road.folders, contents)
            except BaseException:
                this.leases.release(granted)
                raise
            sending.send(intents, granted)
    withdraw.carry_out(this, servers, road.pipeline)
