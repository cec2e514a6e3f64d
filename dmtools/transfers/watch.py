"""Watching: mends the queue, asks the servers for all open jobs, proves the copies, settles their lists.

The seed's seven rules, each where its comment stands.
"""

from __future__ import annotations

from dmtools.command import Unavailable
from dmtools.control.passes import Pass
from dmtools.transfers import poll, recover, resume
from dmtools.transfers.dispatch import tell_away
from dmtools.transfers.road import Road
from dmtools.transfers.servers import ask


def watch(this: Pass, road: Road) -> None:
    """One pass over everything that is open. Raises Unavailable when no server that holds jobs can be asked."""
    recover.mend(this, road)  # rule 1: in DOING without a record of a job: back to TODO
    with this.ledger.read() as connection:
        wanted = poll.open_servers(connection, road.pipeline, road.home)
    if not wanted:
        return
    servers = ask(this.settings, wanted)
    for name in sorted(wanted - servers.up.keys() - servers.away.keys() - servers.refused.keys()):
        servers.away[name] = servers.why_not(name)
    tell_away(this, servers)
    if servers.all_away():
        raise Unavailable(
            "no FTS server",
            ", ".join(sorted(wanted)),
            "none of those that hold our jobs can be asked",
            "the next pass asks again",
            left="their jobs and lists stay as they are",
        )
    resume.resume(this, road, servers)
    # rule 2, FINISHED: Okay. rule 3, FINISHEDDIRTY: good ones Okay, missing ones Bad, the rest D-lists in TODO.
    # rule 5, FAILED: Bad after more than 3 failures, else TODO. rules 4 and 6, ACTIVE, SUBMITTED: nothing.
    # rule 7, all else: told, and nothing is done.
    poll.poll(this, road, servers)
