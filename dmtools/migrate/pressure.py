"""Back-pressure: how much more may be submitted now, in all and by rule."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from sqlalchemy import func, select

from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.migrate.home import Home
from dmtools.settings import Rule
from dmtools.spool import folders as at
from dmtools.transfers.lists import ListRow
from dmtools.transfers.submit import INTENT, SUBMITTED

J = tables.ftsjob.c


def room(this: Pass) -> int:
    """How many more jobs [migrate] max_open_jobs lets us open."""
    query = select(func.count()).select_from(tables.ftsjob).where(J.pipeline == "migrate", J.state.in_((INTENT, SUBMITTED)))
    with this.ledger.read() as connection:
        return this.settings.migrate.max_open_jobs - int(connection.execute(query).scalar_one())


def rule_has_room(this: Pass, home: Home, row: ListRow, now: datetime) -> bool:
    """May a list of this rule go now: its hours, its open jobs, its bytes of the last hour?"""
    limited = [rule for rule in this.settings.migrate.rules if rule.hours or rule.max_open_jobs or rule.bytes_per_hour]
    if not limited:
        return True
    rule = _rule_of(home, row)
    if rule is None or rule not in limited:
        return True
    if rule.hours and not in_hours(rule.hours, now.astimezone().time()):
        return False
    with this.ledger.read() as connection:
        mine = (J.pipeline == "migrate", J.rule == rule.match)
        opened = select(func.count()).select_from(tables.ftsjob).where(*mine, J.state.in_((INTENT, SUBMITTED)))
        if rule.max_open_jobs and int(connection.execute(opened).scalar_one()) >= rule.max_open_jobs:
            return False
        recent = select(func.coalesce(func.sum(J.bytes), 0)).where(*mine, J.submitted > now - timedelta(hours=1))
        return not (rule.bytes_per_hour and int(connection.execute(recent).scalar_one()) >= rule.bytes_per_hour)


def _rule_of(home: Home, row: ListRow) -> Rule | None:
    from dmtools.spool import listfile

    try:
        pairs = listfile.read(home.folders.path(at.TODO, row.name)).pairs
    except (OSError, listfile.ListUnreadable):
        return None
    return home.rules.by_match(home.rules.match_of(pairs[0])) if pairs else None


def in_hours(window: str, now: time) -> bool:
    """Is the local time within `HH:MM-HH:MM`? A window may go over midnight."""
    start, end = (time.fromisoformat(word) for word in window.split("-"))
    return start <= now < end if start <= end else now >= start or now < end
