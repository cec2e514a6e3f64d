"""Passes of migrate within this process, which may die at any outside act or transaction: as a killed command, only quicker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import delete

from dmtools import durable
from dmtools.command.report import Report
from dmtools.command.run import Context
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.engine import Ledger
from dmtools.migrate import monitor, producer
from dmtools.migrate.home import Home
from dmtools.spool.folders import Folders
from dmtools.transfers import sending
from dmtools.transfers.dispatch import dispatch
from dmtools.transfers.fts import FtsServer

PASSES: dict[str, Callable[[Pass], None]] = {
    "producer": lambda this: producer.produce(this, most=0, lfns=3),
    "consumer": lambda this: dispatch(this, Home.of(this).road),
    "monitor": monitor.watch,
}
ACTS: tuple[tuple[Any, str], ...] = (
    (durable, "write_file"),
    (durable, "publish"),
    (durable, "move"),
    (Folders, "drop_many"),
    (Ledger, "transact"),
    (FtsServer, "submit"),
)


class Died(BaseException):
    """The process was killed here."""


@contextmanager
def dies_after(acts: int | None) -> Iterator[None]:
    """Within, the so-many-th act is the last: an odd number dies before it is done, an even one behind it."""
    count = [0]

    def step() -> None:
        count[0] += 1
        if acts is not None and count[0] >= acts:
            raise Died

    def around(act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            step()
            found = act(*args, **named)
            step()
            return found

        return call

    one = mock.patch.object(sending, "THREADS", 1)  # so that the acts come in the same order each time
    patches = [one, *(mock.patch.object(owner, name, around(getattr(owner, name))) for owner, name in ACTS)] if acts else []
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def run_pass(home: Path, name: str, dies: int | None = None) -> Report | None:
    """One pass; None when it died. What a dead process held is free, as its pid would say."""
    options = {"config": None, "home": home, "dry_run": False, "as_json": True, "verbose": False, "quiet": True}
    context = Context(f"migrate-{name}", "migrate", name, options)
    this = Pass(context)
    died = False
    try:
        with dies_after(dies):
            PASSES[name](this)
    except Died:
        died = True
    finally:
        this.leases._stop.set()
        this.ledger.transact(lambda c: c.execute(delete(tables.lease).where(tables.lease.c.owner == this.leases.owner)))
        this.leases.held.clear()
        this.leases.close()
        context.close()
    return None if died else this.report
