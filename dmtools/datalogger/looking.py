"""How the timeline stands, for dm-monitoring and dm-train-ok: the last supercycle, the gaps of today, what the supervisor did."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from dmtools import clock
from dmtools.control import probes
from dmtools.control.entry import Figure, Note, Probing
from dmtools.datalogger import wall
from dmtools.datalogger.supervising import R
from dmtools.datalogger.timeline import S
from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow

PIPELINE = {"pipeline": "datalogger"}
NAME = "datalogger-timeline"


def notes(look: Probing) -> Iterator[Note]:
    """Nothing in a HOME that never recorded one."""
    last = _last(look)
    if last is not None:
        number, seconds = gaps(look)
        said = f"the last supercycle began {clock.age(look.age(last.start))} ago"
        said += f"; {number} gaps of {clock.age(seconds)} together today" if number else "; no gap today"
        yield Note("timeline", NAME, "recorded", said, not number and not _is_silent(look, last))
    query = select(tables.datalogger_restart).where(R.at > look.at - timedelta(days=1)).order_by(R.at.desc(), R.id.desc())
    found = look.connection.execute(query).all()
    if found:
        said = f"started {len(found)} times within a day, last {clock.age(look.age(found[0].at))} ago: {found[0].why}"
        yield Note("restart", NAME, "started", f"{said}; {found[0].became or 'what became of it is not known'}", len(found) == 1)


def figures(look: Probing) -> Iterator[Figure]:
    """The age of the last supercycle, gaps and restarts; nothing in a HOME that never recorded one."""
    last = _last(look)
    if last is None:
        return
    limit = look.settings.datalogger.timeline_silence_seconds + last.seconds
    said = f"datalogger: the last supercycle on record began {clock.age(look.age(last.start))} ago"
    yield Figure("timeline_age", PIPELINE, look.age(last.start), said, "s", probes.over(limit), probes.over(6 * limit))
    number, seconds = gaps(look)
    said = f"datalogger: {number} gaps of {clock.age(seconds)} together in today's timeline"
    yield Figure("timeline_gaps", PIPELINE, seconds, said, "s")
    many = look.connection.execute(select(func.count()).where(R.at > look.at - timedelta(hours=1))).scalar_one()
    said = f"datalogger: {NAME} was started {many} times within the hour"
    yield Figure(
        "timeline_restarts",
        PIPELINE,
        int(many),
        said,
        "",
        probes.over(1),
        probes.over(look.settings.datalogger.timeline_restarts - 1),
    )


def gaps(look: Probing) -> tuple[int, float]:
    """(how many, how many seconds together) of the gaps that ended today, by the logger's calendar."""
    zone = ZoneInfo(look.settings.datalogger.timezone)
    today = wall.midnight(look.at.astimezone(zone).date(), zone)
    query = select(func.count(), func.coalesce(func.sum(S.gap), 0.0)).where(S.gap > 0, S.start >= today)
    number, seconds = look.connection.execute(query).one()
    return int(number), float(seconds)


def _last(look: Probing) -> AnyRow:
    return look.connection.execute(select(S.start, S.seconds).order_by(S.start.desc()).limit(1)).first()


def _is_silent(look: Probing, last: AnyRow) -> bool:
    return bool(look.age(last.start) > look.settings.datalogger.timeline_silence_seconds + last.seconds)
