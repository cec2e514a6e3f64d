"""Takes what is old out of the tables that grow: journal, rates, ended holds. What is open keeps its whole history.

A little at a time, each piece a transaction of its own: it may be killed anywhere, and others work meanwhile.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, func, or_, select

from dmtools import clock
from dmtools.ledger import tables, upsert
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Ledger
from dmtools.ledger.types import AnyRow

CHUNK = 5000  # rows of one transaction: about a tenth of a second
PAUSE = 0.02  # seconds between two, for those who wait for the write lock
MARK = {"pipeline": "dm", "name": "journal/pruned"}
J, W, H = tables.journal.c, tables.flow.c, tables.hold.c
Place = tuple[datetime, int]  # an entry's instant and id: their order is that of the index
Keep = Mapping[str, Collection[str]]


@dataclass
class Pruned:
    """How many rows of each table went, and how many old journal entries stayed: of what is open, of pipelines not here."""

    gone: Counter[str] = field(default_factory=lambda: Counter(journal=0, flow=0, hold=0))
    open: int = 0
    strangers: Counter[str] = field(default_factory=Counter)

    def sentences(self, before: datetime, *, dry_run: bool) -> Iterator[str]:
        """For people."""
        gone = ", ".join(f"{n} of {name}" for name, n in self.gone.items())
        yield f"{'would delete' if dry_run else 'deleted'} what is older than {clock.local(before)}: {gone}"
        if self.open:
            yield f"kept {self.open} older entries of the journal: what they tell of is still open"
        for name, n in self.strangers.items():
            yield f"kept {n} older entries of the journal: their pipeline {name} is not installed here"


def prune(ledger: Ledger, before: datetime, keep: Keep, chunk: int = CHUNK, *, dry_run: bool = False) -> Pruned:
    """Deletes what is older than `before`. `keep`: the pipelines that are here, and the states in which their items are open.

    An item's state is that of its newest journal entry; a list is open until its row says done. The entries of a pipeline that
    is not in `keep` stay, for nobody knows what is open there. A dry run deletes nothing. Raises LedgerUnavailable.
    """
    run = _reading(ledger) if dry_run else ledger.transact
    done = Pruned()
    place: Place | None = (datetime(1970, 1, 1, tzinfo=UTC), 0)
    while place is not None:
        start = place
        place, old, held, strangers = run(lambda c, at=start: _journal(c, before, keep, at, chunk, dry_run))  # type: ignore[misc]
        done.gone["journal"] += old
        done.open += held
        done.strangers += strangers
        _pause(dry_run)
    for pipeline, state in run(_kinds_of_flow):
        where = (W.pipeline == pipeline, W.state == state, W.bucket < before)
        done.gone["flow"] += run(lambda c, w=where: _simple(c, tables.flow, w, dry_run))  # type: ignore[misc]
        _pause(dry_run)
    done.gone["hold"] += run(lambda c: _simple(c, tables.hold, (H.cleared_at < before,), dry_run))
    return done


def pruned_before(connection: Connection) -> datetime | None:
    """Up to when the journal was pruned; None: it is whole."""
    column = tables.sighting.c
    query = select(column.at).where(*(column[name] == value for name, value in MARK.items()))
    return connection.execute(query).scalar()


def _reading(ledger: Ledger) -> Callable[[Callable[[Connection], Any]], Any]:
    def run(work: Callable[[Connection], Any]) -> Any:
        with ledger.read() as connection:
            return work(connection)

    return run


def _pause(dry_run: bool) -> None:
    if not dry_run:
        time.sleep(PAUSE)


# ---- the journal -------------------------------------------------------------------------------------------------------


def _journal(
    connection: Connection, before: datetime, keep: Keep, place: Place, chunk: int, dry_run: bool
) -> tuple[Place | None, int, int, Counter[str]]:
    """The next entries behind `place`: (where they end; None: no more; how many went; stayed as open; as a stranger's)."""
    at, number = place
    behind = or_(J.at > at, and_(J.at == at, J.id > number))
    query = select(J.id, J.at, J.pipeline, J.kind, J.item).where(J.at >= at, J.at < before, behind)
    rows = connection.execute(query.order_by(J.at, J.id).limit(chunk)).all()
    strangers = Counter(row.pipeline for row in rows if row.pipeline not in keep)
    known = [row for row in rows if row.pipeline in keep]
    held = _open_items(connection, known, keep)
    old = [row.id for row in known if (row.pipeline, row.kind, row.item) not in held]
    if old and not dry_run:
        for part in chunks(old):
            connection.execute(delete(tables.journal).where(J.id.in_(part)))
        marked = pruned_before(connection)
        upsert.put(connection, tables.sighting, MARK, {"at": max(before, marked or before), "value": "the journal was pruned"})
    last = (rows[-1].at, rows[-1].id) if len(rows) == chunk else None
    return last, len(old), len(known) - len(old), strangers


def _open_items(connection: Connection, rows: Sequence[AnyRow], keep: Keep) -> set[tuple[str, str, int]]:
    items: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        items.setdefault((row.pipeline, row.kind), set()).add(row.item)
    found = set()
    for (pipeline, kind), numbers in items.items():
        for part in chunks(sorted(numbers)):
            query = _open_lists(part) if kind == "list" else _last_states(pipeline, kind, part, keep[pipeline])
            found |= {(pipeline, kind, int(item)) for item in connection.execute(query).scalars()}
    return found


def _open_lists(items: Sequence[int]) -> Select[Any]:
    column = tables.filelist.c
    return select(column.id).where(column.id.in_(items), column.state != "done")


def _last_states(pipeline: str, kind: str, items: Sequence[int], states: Collection[str]) -> Select[Any]:
    newest = select(func.max(J.id).label("id")).where(J.kind == kind, J.item.in_(items), J.pipeline == pipeline)
    last = newest.where(J.to_state.is_not(None)).group_by(J.item).subquery()
    return select(J.item).join(last, last.c.id == J.id).where(J.to_state.in_(states))


# ---- rates and holds ---------------------------------------------------------------------------------------------------


def _kinds_of_flow(connection: Connection) -> list[tuple[str, str]]:
    """Every (pipeline, state) that has rates: those that have a count, for both are booked together."""
    column = tables.tally.c
    return [(row[0], row[1]) for row in connection.execute(select(column.pipeline, column.state).distinct())]


def _simple(connection: Connection, table: Any, where: Iterable[Any], dry_run: bool) -> int:
    if dry_run:
        return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())
    return int(connection.execute(delete(table).where(*where)).rowcount)
