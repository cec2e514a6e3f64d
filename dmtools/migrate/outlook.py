"""What dm-monitoring and dm-train-ok ask of migrate: the disks it fills, the lists that don't move, what goes twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import or_, select

from dmtools import names
from dmtools.control.entry import Buffer, Probing, Question, Stuck
from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow
from dmtools.migrate.open_work import OPEN
from dmtools.migrate.states import OKAY

F = tables.filelist.c
FEW = 3
LOOKED_AT = 200  # lists of each state: how far from its oldest one on is looked


def buffers(look: Probing) -> Iterator[Buffer]:
    """HOME's disk, and that of each destination here. Where copies go elsewhere, too, nobody knows how fast these fill."""
    here = [rule.destination for rule in look.settings.migrate.rules if rule.destination.startswith("file://")]
    fills = (OKAY,) if len(here) == len(look.settings.migrate.rules) else ()
    yield Buffer("HOME", look.settings.home)
    for destination in dict.fromkeys(here):
        path = names.path_of(destination)
        yield Buffer(str(path), path, fills)


def stuck(look: Probing) -> Iterator[Stuck]:
    """The oldest lists that wait for something, or have stood still for [train_ok] stuck_hours, with dm-trace's reason."""
    late = look.at - timedelta(hours=look.settings.train_ok.stuck_hours)
    found: list[AnyRow] = []
    for state in OPEN:
        of_state = (F.pipeline == "migrate", F.state == state)
        oldest = select(F.id, F.since, F.waits_for).where(*of_state).order_by(F.since).limit(LOOKED_AT).subquery().c
        still = or_(oldest.since < late, oldest.waits_for.is_not(None)) if state == "TODO" else oldest.since < late
        found += look.connection.execute(select(oldest.id, oldest.since).where(still).order_by(oldest.since).limit(FEW)).all()
    if not found:
        return
    from dmtools.control import traces
    from dmtools.migrate.traces import WORDS

    question = Question("", look.settings, look.connection, look.at, entry=look.entry)
    for row in sorted(found, key=lambda row: row.since)[:FEW]:
        listed = look.connection.execute(select(tables.filelist).where(F.id == row.id)).one()
        life = traces.of_list(question, WORDS, listed)
        yield Stuck(life.subject, life.kind, life.state, row.since, life.why, life.next)


def twice(look: Probing) -> Iterator[str]:
    """Lists of which two jobs are open at once: their files may be copied twice."""
    from dmtools.transfers import twice

    yield from twice.lists(look.connection, "migrate")
