"""Back-pressure: how much more may be submitted now, in all and by rule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta

from sqlalchemy import func, select

from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.migrate.home import Home
from dmtools.settings import Rule
from dmtools.spool.listfile import Pair
from dmtools.transfers.plan import GO, ListPlan
from dmtools.transfers.submit import INTENT, SUBMITTED

J = tables.ftsjob.c


def room(this: Pass) -> int:
    """How many more jobs [migrate] max_open_jobs lets us open."""
    query = select(func.count()).select_from(tables.ftsjob).where(J.pipeline == "migrate", J.state.in_((INTENT, SUBMITTED)))
    with this.ledger.read() as connection:
        return this.settings.migrate.max_open_jobs - int(connection.execute(query).scalar_one())


class Rooms:
    """What the rules with limits have left: asked of the tables once, then counted as lists go."""

    def __init__(self, this: Pass, home: Home, now: datetime) -> None:
        self._home, self._now = home, now
        rules = this.settings.migrate.rules
        self._limited = {rule.match for rule in rules if rule.hours or rule.max_open_jobs or rule.bytes_per_hour}
        self._open: dict[str | None, int] = {}
        self._bytes: dict[str | None, int] = {}
        if any(rule.max_open_jobs or rule.bytes_per_hour for rule in rules):
            of_rules = (J.pipeline == "migrate", J.rule.in_(self._limited))
            opened = select(J.rule, func.count()).where(*of_rules, J.state.in_((INTENT, SUBMITTED))).group_by(J.rule)
            recent = select(J.rule, func.sum(J.bytes)).where(*of_rules, J.since > now - timedelta(hours=1)).group_by(J.rule)
            with this.ledger.read() as connection:
                self._open = {row[0]: int(row[1]) for row in connection.execute(opened)}
                self._bytes = {row[0]: int(row[1]) for row in connection.execute(recent)}

    def take(self, pairs: Sequence[Pair]) -> bool:
        """May a list of these files go now: its rule's hours, open jobs, bytes of the last hour? Then its job is counted."""
        rule = self._rule(pairs)
        if rule is None:
            return True
        if rule.hours and not in_hours(rule.hours, self._now.astimezone().time()):
            return False
        opened, used = self._open.get(rule.match, 0), self._bytes.get(rule.match, 0)
        if (rule.max_open_jobs and opened >= rule.max_open_jobs) or (rule.bytes_per_hour and used >= rule.bytes_per_hour):
            return False
        self._open[rule.match] = opened + 1
        return True

    def bear(self, plan: ListPlan) -> str | None:
        """Counts the bytes of a list; else why they are too many for this hour. One that is larger than an hour goes alone."""
        going = plan.of(GO)
        rule, size = self._rule([planned.pair for planned in going]), sum(planned.size or 0 for planned in going)
        if rule is None or not rule.bytes_per_hour:
            return None
        used = self._bytes.get(rule.match, 0)
        if used and used + size > rule.bytes_per_hour:
            return f"its {size} bytes and the {used} of this hour are more than bytes_per_hour of the rule {rule.match}"
        self._bytes[rule.match] = used + size
        return None

    def _rule(self, pairs: Sequence[Pair]) -> Rule | None:
        if not self._limited or not pairs:
            return None
        match = self._home.rules.match_of(pairs[0])
        return self._home.rules.by_match(match) if match in self._limited else None


def in_hours(window: str, now: time) -> bool:
    """Is the local time within `HH:MM-HH:MM`? A window may go over midnight."""
    start, end = (time.fromisoformat(word) for word in window.split("-"))
    return start <= now < end if start <= end else now >= start or now < end
