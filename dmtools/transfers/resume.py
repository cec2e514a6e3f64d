"""From intent to answer: sends what is booked, books what came of it, and sends again what a killed pass left open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from sqlalchemy import Connection, select

from dmtools import clock
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.engine import Stale
from dmtools.ledger.journal import States
from dmtools.settings import Rule
from dmtools.spool.folders import Folders
from dmtools.transfers import lists, project, settle, submit, withdraw
from dmtools.transfers.lists import ListRow
from dmtools.transfers.servers import Servers
from dmtools.transfers.submit import INTENT, LATER, REFUSED, Intent, Sent

J = tables.ftsjob.c
THREADS = 4
RuleOf = Callable[[str | None], Rule | None]


def send_all(this: Pass, folders: Folders, intents: Sequence[Intent], servers: Servers, states: States, rule_of: RuleOf) -> None:
    """Sends these attempts to their servers and books the answers. Their lists are ours (leased) and stand in DOING."""
    ready = _still_ours(this, [i for i in intents if i.server in servers.up])
    if not ready:
        return

    def send(intent: Intent) -> Sent:
        return submit.send(servers.up[intent.server], intent, this.settings, rule_of(intent.rule))

    if len(ready) == 1:
        sent = [send(ready[0])]
    else:
        for server in {i.server for i in ready}:
            servers.up[server].prepare()
        with ThreadPoolExecutor(min(THREADS, len(ready))) as pool:
            sent = list(pool.map(send, ready))
    this.ledger.transact(lambda c: submit.book_sent(c, sent, clock.now()))
    _tell_and_split(this, folders, sent, states)


def _still_ours(this: Pass, intents: Sequence[Intent]) -> list[Intent]:
    """Directly before the outside act: those whose lists are still leased to us."""
    leases = {f"list/{i.list_id}": i for i in intents if f"list/{i.list_id}" in this.leases.held}
    with this.ledger.read() as connection:
        held = this.leases.still_held(connection, list(leases))
    for resource in leases.keys() - held:
        this.log(f"the lease of {resource} ran out or was handed back while we worked")
    return [intent for resource, intent in leases.items() if resource in held]


def _tell_and_split(this: Pass, folders: Folders, sent: Sequence[Sent], states: States) -> None:
    for s in sent:
        if s.how == LATER:
            this.problem(
                "submission not known",
                f"job {s.intent.job} at {s.intent.server}",
                why=s.why,
                left="its list stays in DOING with its intent; nothing is sent elsewhere",
                next=f"the next pass sends the same job again; if {s.intent.server} never comes back: "
                f"migrate-cancel --abandon {s.intent.server}",
                failed=False,
            )
        elif s.how == REFUSED:
            _split(this, folders, s, states)


def _split(this: Pass, folders: Folders, sent: Sent, states: States) -> None:
    def act(connection: Connection) -> None:
        row = lists.by_ids(connection, [sent.intent.list_id])[sent.intent.list_id]
        settle.split(connection, row, sent.intent, sent.why, states, by=this.by, at=clock.now())

    this.ledger.transact(act)
    this.problem(
        "job refused",
        f"job {sent.intent.job} at {sent.intent.server}",
        why=sent.why,
        left="no job was made there; its files are tried again in halves until the bad one stands alone",
        next="see DONE/Bad for the file that the server doesn't take",
        failed=len(sent.intent.files) <= 1,
    )
    finish(this, folders, [sent.intent.list_id])


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
        for part in lists.chunks(parents)
        for found in connection.execute(select(table.id).where(table.parent_id.in_(part), table.state == lists.CUT)).scalars()
    ]
    return list(lists.by_ids(connection, ids).values())


def conclude(connection: Connection, rows: Sequence[ListRow], at: datetime) -> None:
    """Settling and cut lists whose files stand where they should: TODO when files are left to move, else done."""
    left = settle.open_files(connection, [row.id for row in rows])
    ready = [row for row in rows if row.state in (lists.SETTLING, lists.CUT)]
    lists.change_many(connection, [(row, lists.TODO if left.get(row.id) else lists.DONE, {}) for row in ready], at)


def resume(this: Pass, folders: Folders, servers: Servers, states: States, rule_of: RuleOf, home: str | None = None) -> None:
    """Attempts (of this HOME's lists) of whose submission nothing is known: the same job to the same server again."""
    with this.ledger.read() as connection:
        where = (J.pipeline == states.pipeline, J.state == INTENT, lists.belongs(J.list_id, home))
        waiting = submit.load_intents(connection, *where, with_files=False)
    for start in range(0, len(waiting), 50):
        part = [i for i in waiting[start : start + 50] if i.server in servers.up]
        granted = this.leases.claim([f"list/{i.list_id}" for i in part])
        try:
            ids = [i.id for i in part if f"list/{i.list_id}" in granted]
            if not ids or not this.goes(new=False):
                continue
            with this.ledger.read() as connection:
                intents = submit.load_intents(connection, J.id.in_(ids), J.state == INTENT)
                rows = lists.by_ids(connection, [i.list_id for i in intents])
                contents = project.load(connection, list(rows.values()))
            project.write(folders, contents)
            send_all(this, folders, intents, servers, states, rule_of)
        finally:
            this.leases.release(list(granted))
    withdraw.carry_out(this, servers, states.pipeline)
