"""What dm-train-ok asks for datalogger beyond the common: the time left for what is owed, what is lost, files that wait."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import func, select

from dmtools import clock
from dmtools.control import probes, troubles
from dmtools.control.entry import Figure, Probing
from dmtools.datalogger import declared, kinds, looking, outlook
from dmtools.datalogger.files import F
from dmtools.datalogger.plots import where
from dmtools.datalogger.states import DRAFT, LOST
from dmtools.datalogger.stats import watching
from dmtools.datalogger.windows import W

PIPELINE = {"pipeline": "datalogger"}
DAY = 86_400.0
TOLD_DAYS = 7


def figures(look: Probing) -> Iterator[Figure]:
    """All of them."""
    yield days_left(look)
    yield lost(look)
    yield waiting(look)
    yield from looking.figures(look)
    yield watching.waits(look)
    yield declared.waits(look)
    yield from site_age(look)


def days_left(look: Probing) -> Figure:
    """How long the logger keeps the oldest window that is not had yet: a third of its memory warns, a tenth is critical."""
    keep = look.settings.datalogger.keep_days * DAY
    oldest = outlook.endangered(look)
    if oldest is None:
        return Figure("left_to_ask", PIPELINE, keep, "datalogger: every window that was owed is had", "s")
    rest = max(0.0, outlook.left(look, oldest).total_seconds())
    said = f"datalogger: {oldest.shown} is {oldest.state}, and the logger has all of it for {clock.age(rest)} more"
    said += f": {oldest.reason}" if oldest.reason else ""
    return Figure(
        "left_to_ask", PIPELINE, rest, said, "s", probes.under(keep / 3), probes.under(keep / 10), see=troubles.DATALOGGER_LATE
    )


def lost(look: Probing) -> Figure:
    """Windows that were lost in the last week."""
    recent = (W.state == LOST, W.since > look.at - timedelta(days=TOLD_DAYS))
    number = look.connection.execute(select(func.count()).where(*recent)).scalar_one()
    said = f"datalogger: no window was lost in the last {TOLD_DAYS} days"
    if number:
        first = select(W.kind, W.name).where(*recent).order_by(W.start, W.kind, W.name).limit(1)
        called = kinds.table(*look.connection.execute(first).one())
        said = f"datalogger: {number} windows were lost in the last {TOLD_DAYS} days, as those of {called}: dm-trace {called}"
    return Figure("lost", PIPELINE, number, said, "", probes.over(0), see=troubles.DATALOGGER_LOST)


def waiting(look: Probing) -> Figure:
    """How long the oldest draft waits to go out."""
    since = look.connection.execute(select(func.min(F.since)).where(F.state == DRAFT)).scalar()
    seconds = look.age(since) if since is not None else 0.0
    said = "datalogger: no file waits to go out"
    if since is not None:
        said = f"datalogger: a finished file waits for {clock.age(seconds)} to go out"
    limits = look.settings.train_ok
    ranges = (probes.over(limits.oldest_warning_seconds), probes.over(limits.oldest_critical_seconds))
    return Figure("draft_waits", PIPELINE, seconds, said, "s", *ranges, see=troubles.DATALOGGER_WAITS)


def site_age(look: Probing) -> Iterator[Figure]:
    """How long ago the plot site was looked through; nothing where there is none."""
    made = where.made(look.settings)
    if made is not None:
        seconds, limit = look.age(made), 3600 * look.settings.datalogger.site_hours
        said = f"datalogger: the plot site is of {clock.age(seconds)} ago"
        said += ", older than [datalogger] site_hours: datalogger-json -v" if seconds > limit else ""
        yield Figure("site_age", PIPELINE, seconds, said, "s", probes.over(limit), probes.over(4 * limit))
