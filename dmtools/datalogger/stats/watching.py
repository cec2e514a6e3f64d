"""What dm-monitoring, dm-train-ok and dm-trace say of statistics: files that wait for theirs, and why."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import and_, func, or_, select

from dmtools import clock
from dmtools.control import probes
from dmtools.control.entry import Figure, Note, Probing
from dmtools.datalogger import windows
from dmtools.datalogger.files import F
from dmtools.ledger.types import AnyRow

OURS = or_(F.origin == windows.SCHEDULE, F.adopted == 1)
WHOLE = F.adler32.is_not(None)  # it is whole, though perhaps not out yet
WAITS = and_(OURS, WHOLE, F.distilled.is_(None))


def _stands(look: Probing) -> tuple[int, float, AnyRow]:
    """(files that wait, seconds that the oldest does, name and reason of one that can't be read or None)."""
    number, since = look.connection.execute(select(func.count(), func.min(F.since)).where(WAITS)).one()
    query = select(F.name, F.reason).where(WAITS, F.reason.is_not(None)).order_by(F.id).limit(1)
    seconds = look.age(since) if since is not None else 0.0
    return number, seconds, look.connection.execute(query).first()


def waits(look: Probing) -> Figure:
    """How long the oldest file waits for its statistics."""
    number, seconds, bad = _stands(look)
    said = "datalogger: every file has its statistics"
    if number:
        said = f"datalogger: {number} files have no statistics, the oldest waits for {clock.age(seconds)}"
        said += f": {bad.name}: {bad.reason}" if bad is not None else ""
    limits = look.settings.train_ok
    ranges = (probes.over(limits.oldest_warning_seconds), probes.over(limits.oldest_critical_seconds))
    return Figure("distill_waits", {"pipeline": "datalogger"}, seconds, said, "s", *ranges)


def notes(look: Probing) -> Iterator[Note]:
    """Files that wait, and the newest that has its statistics."""
    number, seconds, bad = _stands(look)
    if number:
        why = f"; {bad.name}: {bad.reason}" if bad is not None else ""
        said = f"{number} files wait for theirs, the oldest for {clock.age(seconds)}{why}"
        yield Note(
            "statistics", "not made", "waits", said, bad is None and seconds < look.settings.train_ok.oldest_warning_seconds
        )
    query = select(F.name, F.distilled).where(F.distilled.is_not(None)).order_by(F.end.desc(), F.id.desc()).limit(1)
    newest = look.connection.execute(query).first()
    if newest is not None:
        ago = clock.age(look.age(newest.distilled))
        yield Note("statistics", newest.name, "distilled", f"the newest that has them, {ago} ago")
