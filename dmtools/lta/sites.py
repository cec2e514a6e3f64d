"""How this site and the other one are: what is posted of the one, what is told of the other. Its errors are never ours."""

from __future__ import annotations

from dmtools import clock
from dmtools.ledger.leases import HOST
from dmtools.lta import outbound
from dmtools.lta.api import LOCAL, answer
from dmtools.lta.api.sites import Heartbeat, ListSites, Sites, SiteState
from dmtools.lta.work import Work


def post(work: Work, queue: int, error: str) -> None:
    """The source is well, or it isn't; what is free in outbound, how many bundles are on their way."""
    state = "Error" if error else "Run"
    free = outbound.free(work.this.settings)
    ask = Heartbeat(name=LOCAL, state=state, error=error[:2000] or None, free=free, queue=queue, host=HOST)
    answer(work.books, ask, SiteState)


def remote(work: Work) -> SiteState | None:
    """The other site as it posted itself last; None: it never did."""
    found = answer(work.books, ListSites(), Sites).sites
    return next((one for one in found if one.name == work.destination), None)


def tell(work: Work, site: SiteState | None) -> None:
    """A silent one is told; what ails it stands in its own words, for dm-monitoring and dm-train-ok."""
    minutes = work.this.settings.lta.silent_minutes
    if site is not None and site.state == "Error":
        work.this.log(f"{site.name} is in trouble: {site.error or 'it gave no reason'}")
    if site is None or site.age is None or site.age <= minutes * 60:
        return
    work.this.problem(
        "remote site silent",
        work.destination,
        why=f"it posted last {clock.age(site.age)} ago, longer than silent_minutes ({minutes})",
        left="pushes go on while room is reserved for them",
        next="look whether lta-nersc-client runs there and reaches the server",
        failed=False,
    )
