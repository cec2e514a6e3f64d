"""Sends what is booked and books what came of it: one batch is on its way while the next is planned."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from dmtools import clock
from dmtools.control.passes import Pass
from dmtools.transfers import lists, settle, submit
from dmtools.transfers.conclude import finish
from dmtools.transfers.road import Road
from dmtools.transfers.servers import Servers
from dmtools.transfers.submit import LATER, REFUSED, Intent, Sent

THREADS = 4


class Sending:
    """Attempts on their way. Only the requests run in threads of their own; tables and directories are the caller's thread's.

    A pass that is killed leaves at most two batches of intents; the next pass sends the same jobs to the same servers.
    """

    def __init__(self, this: Pass, road: Road, servers: Servers) -> None:
        self._this, self._road, self._servers = this, road, servers
        self._pool = ThreadPoolExecutor(THREADS)
        self._out: list[Future[Sent]] = []
        self._leases: Sequence[str] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        """When the pass is halted or in trouble, what was not begun is left to the next; what was begun is awaited and booked."""
        try:
            if kind is not None or self._this.report.state == "halted":
                self._out = [future for future in self._out if not future.cancel()]
            self._collect([], ())
        finally:
            self._pool.shutdown()

    def send(self, intents: Sequence[Intent], leases: Sequence[str]) -> None:
        """Begins to send these attempts, then books the answers to those before and gives their leases back.

        Their lists are ours (leased) and stand in DOING.
        """
        ready = _still_ours(self._this, [i for i in intents if i.server in self._servers.up])
        for server in {i.server for i in ready}:
            self._servers.up[server].prepare()
        self._collect([self._pool.submit(self._send, intent) for intent in ready], leases)

    def _send(self, intent: Intent) -> Sent:
        return submit.send(self._servers.up[intent.server], intent, self._this.settings, self._road.rules.by_match(intent.rule))

    def _collect(self, out: list[Future[Sent]], leases: Sequence[str]) -> None:
        """The batch that was on its way is waited for and booked; `out` takes its place."""
        before, given_back = self._out, self._leases
        self._out, self._leases = out, leases
        try:
            if sent := [future.result() for future in before]:
                self._this.ledger.transact(lambda c: submit.book_sent(c, sent, clock.now()))
                _tell_and_split(self._this, self._road, sent)
        finally:
            for future in before:
                future.cancel()
            wait(before)  # nobody else gets these lists while a request of ours is on its way
            self._this.leases.release(given_back)


def _still_ours(this: Pass, intents: Sequence[Intent]) -> list[Intent]:
    """Directly before the outside act: those whose lists are still leased to us."""
    leases = {f"list/{i.list_id}": i for i in intents if f"list/{i.list_id}" in this.leases.held}
    with this.ledger.read() as connection:
        held = this.leases.still_held(connection, list(leases))
    for resource in leases.keys() - held:
        this.log(f"the lease of {resource} ran out or was handed back while we worked")
    return [intent for resource, intent in leases.items() if resource in held]


def _tell_and_split(this: Pass, road: Road, sent: Sequence[Sent]) -> None:
    for s in sent:
        if s.how == LATER:
            this.problem(
                "submission not known",
                f"job {s.intent.job} at {s.intent.server}",
                why=s.why,
                left="its list stays in DOING with its intent; nothing is sent elsewhere",
                next=f"the next pass sends the same job again; if {s.intent.server} never comes back: "
                f"{road.abandon} {s.intent.server}",
                failed=False,
            )
        elif s.how == REFUSED:
            _split(this, road, s)


def _split(this: Pass, road: Road, sent: Sent) -> None:
    def act(connection: Connection) -> None:
        row = lists.by_ids(connection, [sent.intent.list_id])[sent.intent.list_id]
        settle.split(connection, row, sent.intent, sent.why, road.states, by=this.by, at=clock.now())

    this.ledger.transact(act)
    this.problem(
        "job refused",
        f"job {sent.intent.job} at {sent.intent.server}",
        why=sent.why,
        left="no job was made there; its files are tried again in halves until the bad one stands alone",
        next="see DONE/Bad for the file that the server doesn't take",
        failed=len(sent.intent.files) <= 1,
    )
    finish(this, road.folders, [sent.intent.list_id])
