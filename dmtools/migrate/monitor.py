"""The monitor: goes over all open lists and jobs."""

from __future__ import annotations

from dmtools.control.passes import Pass
from dmtools.migrate.home import Home
from dmtools.migrate.open_work import has_open_work


def watch(this: Pass) -> None:
    """One pass over everything that is open."""
    home = Home.of(this)
    if this.dry_run:
        _dry(this, home)
        return
    if has_open_work(this, home):
        from dmtools.transfers.watch import watch as over

        over(this, home.road)


def _dry(this: Pass, home: Home) -> None:
    from dmtools.transfers import poll

    with this.ledger.read() as connection:
        wanted = poll.open_servers(connection, "migrate", home.id)
    for name in home.folders.names("DOING"):
        this.plan(f"would ask for the job of {name}")
    for server in sorted(wanted):
        this.plan(f"would poll the open jobs at {server}")
