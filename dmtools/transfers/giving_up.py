"""A person gives a server up: what it holds is freed, when it doesn't answer, or of what it has forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from dmtools.command import Refused, Unavailable
from dmtools.control.orders import who
from dmtools.control.passes import Pass
from dmtools.ledger.chunks import chunks
from dmtools.ledger.types import AnyRow
from dmtools.transfers import abandon, withdraw
from dmtools.transfers.road import Road
from dmtools.transfers.servers import ask
from dmtools.transfers.status import BULK

if TYPE_CHECKING:
    from dmtools.transfers.fts import FtsServer


def give_up(this: Pass, road: Road, server: str, *, yes: bool, force: bool, why: str) -> int:
    """Frees what a dead server holds, or (`force`) what one that answers has forgotten. Gives how many attempts were closed.

    Raises Refused while the server answers, without `force`; Unavailable when it answers and doesn't say what it has.
    """
    with this.ledger.read() as connection:
        jobs = withdraw.open_jobs(connection, road.pipeline, road.home, server)
    if not jobs:
        refuse_unknown(this, server)
        return 0
    servers = ask(this.settings, [server])
    if server not in servers.away and (server in servers.up or server in servers.refused) and not force:
        raise Refused(f"{server} answers, so its jobs can be canceled there; --force gives it up all the same")
    if server in servers.up:
        jobs = _unknown_there(this, servers.up[server], jobs)
    given = abandon.Given(f"{who()} ({this.by})", why or servers.why_not(server), blind=force)
    if this.dry_run:
        for ended in abandon.judge(this, jobs, given):
            abandon.plan(this, ended)
        return 0
    if not yes:
        files = sum(job.files for job in jobs)
        raise Refused(
            f"{len(jobs)} jobs with {files} files are open at {server}; each destination is looked at, then they go to another "
            "server; copies that still run there may collide with theirs. --dry-run shows the plan, --yes does it"
        )
    return abandon.abandon(this, road.folders, jobs, road.states, given)


def _unknown_there(this: Pass, server: FtsServer, jobs: Sequence[AnyRow]) -> list[AnyRow]:
    """Of a server that answers only those jobs are given up that it doesn't know: the others may be copying."""
    from dmtools.transfers.fts import Away, CredentialsRefused

    known: dict[str, str] = {}
    try:
        for part in chunks([job.job for job in jobs], BULK):
            known |= {status.job: status.state for status in server.statuses(part)}
    except (Away, CredentialsRefused) as problem:
        step = "without its word nothing is given up"
        raise Unavailable("server does not say what it knows", server.name, str(problem), step) from None
    for job in jobs:
        if known.get(job.job) != "":
            this.problem(
                "not given up",
                f"job {job.job} of {job.name}",
                why=f"{server.name} answers and has it: {known.get(job.job) or 'it did not say'}",
                left="it goes on",
                next="wait for its end, or cancel it at the server",
                failed=False,
            )
    return [job for job in jobs if known.get(job.job) == ""]


def refuse_unknown(this: Pass, server: str) -> None:
    """No job is open there: fine, when it is one of ours. Raises Refused with the near name."""
    known = [s.name for s in this.settings.fts.servers]
    if server in known:
        return
    near = get_close_matches(server, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
    raise Refused(f"no open job of this HOME is at a server {server!r}; {hint}")
