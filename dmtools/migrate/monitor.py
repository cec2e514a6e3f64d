"""The monitor: goes over all open lists and jobs. The seed's seven rules, each where its comment stands."""

from __future__ import annotations

from dmtools.command import Unavailable
from dmtools.control.passes import Pass
from dmtools.migrate.home import Home
from dmtools.migrate.open_work import has_open_work
from dmtools.migrate.states import STATES


def watch(this: Pass) -> None:
    """One pass over everything that is open."""
    home = Home.of(this)
    if this.dry_run:
        _dry(this, home)
        return
    if has_open_work(this, home):
        _watch(this, home)


def _watch(this: Pass, home: Home) -> None:
    from dmtools.migrate import recover
    from dmtools.migrate.consumer import tell_away
    from dmtools.transfers import poll, resume
    from dmtools.transfers.servers import ask
    from dmtools.transfers.verdict import Patience

    recover.mend(this, home)  # rule 1: in DOING without a record of a job: back to TODO
    with this.ledger.read() as connection:
        wanted = poll.open_servers(connection, "migrate", home.id)
    if not wanted:
        return
    servers = ask(this.settings, wanted)
    tell_away(this, servers)
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
    resume.resume(this, home.folders, servers, STATES, home.rules.by_match, home.id)
    # rule 2, FINISHED: Okay. rule 3, FINISHEDDIRTY: good ones Okay, missing ones Bad, the rest D-lists in TODO.
    # rule 5, FAILED: Bad after more than 3 failures, else TODO. rules 4 and 6, ACTIVE, SUBMITTED: nothing.
    # rule 7, all else: told, and nothing is done.
    patience = Patience(this.settings.migrate.retry_seconds, this.settings.migrate.max_attempts)
    poll.poll(this, home.folders, servers, STATES, patience, home.id)


def _dry(this: Pass, home: Home) -> None:
    from dmtools.transfers import poll

    with this.ledger.read() as connection:
        wanted = poll.open_servers(connection, "migrate", home.id)
    for name in home.folders.names("DOING"):
        this.plan(f"would ask for the job of {name}")
    for server in sorted(wanted):
        this.plan(f"would poll the open jobs at {server}")
