"""Back-pressure: how much more may be submitted now, in all and by rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from dmtools.ledger import tables
from dmtools.settings import Rule
from dmtools.spool.listfile import Pair

if TYPE_CHECKING:
    from dmtools.control.passes import Pass
    from dmtools.transfers.plan import ListPlan
    from dmtools.transfers.road import Road

J = tables.ftsjob.c
OPEN_JOBS = ("intent", "submitted")  # as in submit, which loads more than dm-trace needs


def room(this: Pass, road: Road) -> int:
    """How many more jobs max_open_jobs lets us open."""
    with this.ledger.read() as connection:
        return road.max_open_jobs - int(connection.execute(all_open(road.pipeline)).scalar_one())


class Rooms:
    """What the rules with limits have left: asked of the tables once, then counted as lists go."""

    def __init__(self, this: Pass, road: Road, now: datetime) -> None:
        self._rules, self._now = road.rules, now
        rules = road.rules.all()
        self._limited = {rule.match for rule in rules if is_limited(rule)}
        self._open: dict[str, int] = {}
        self._bytes: dict[str, int] = {}
        if any(rule.max_open_jobs or rule.bytes_per_hour for rule in rules):
            with this.ledger.read() as connection:
                self._open, self._bytes = used(connection, road.pipeline, self._limited, now)

    def take(self, pairs: Sequence[Pair]) -> bool:
        """May a list of these files go now: its rule's hours, open jobs, bytes of the last hour? Then its job is counted."""
        rule = self._rule(pairs)
        if rule is None:
            return True
        opened = self._open.get(rule.match, 0)
        if refusal(rule, opened, self._bytes.get(rule.match, 0), self._now):
            return False
        self._open[rule.match] = opened + 1
        return True

    def bear(self, plan: ListPlan) -> str | None:
        """Counts the bytes of a list; else why they are too many for this hour. One that is larger than an hour goes alone."""
        from dmtools.transfers.plan import GO

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
        match = self._rules.match_of(pairs[0])
        return self._rules.by_match(match) if match in self._limited else None


def is_limited(rule: Rule) -> bool:
    """Has the rule a window, or a limit?"""
    return bool(rule.hours or rule.max_open_jobs or rule.bytes_per_hour)


def used(connection: Connection, pipeline: str, matches: Iterable[str], now: datetime) -> tuple[dict[str, int], dict[str, int]]:
    """(open jobs, bytes submitted within the last hour) of these rules, by their `match`."""
    of_rules = (J.pipeline == pipeline, J.rule.in_(matches))
    opened = select(J.rule, func.count()).where(*of_rules, J.state.in_(OPEN_JOBS)).group_by(J.rule)
    recent = select(J.rule, func.sum(J.bytes)).where(*of_rules, J.since > now - timedelta(hours=1)).group_by(J.rule)
    jobs = {row[0]: int(row[1]) for row in connection.execute(opened)}
    return jobs, {row[0]: int(row[1]) for row in connection.execute(recent)}


def refusal(rule: Rule, opened: int, size: int, now: datetime) -> str:
    """Why the rule lets no job go now, with so many open and so many bytes in the last hour; empty: it does."""
    if rule.hours and not in_hours(rule.hours, now.astimezone().time()):
        return f"the rule {rule.match} submits only at {rule.hours}, local time (its hours)"
    if rule.max_open_jobs and opened >= rule.max_open_jobs:
        return f"the rule {rule.match} has {opened} jobs open, and may have {rule.max_open_jobs} (its max_open_jobs)"
    if rule.bytes_per_hour and size >= rule.bytes_per_hour:
        return f"the rule {rule.match} had {size} bytes in the last hour, and may have {rule.bytes_per_hour} (its bytes_per_hour)"
    return ""


def all_open(pipeline: str) -> Any:
    """The query for how many jobs of a pipeline are open."""
    return select(func.count()).select_from(tables.ftsjob).where(J.pipeline == pipeline, J.state.in_(OPEN_JOBS))


def in_hours(window: str, now: time) -> bool:
    """Is the local time within `HH:MM-HH:MM`? A window may go over midnight."""
    start, end = (time.fromisoformat(word) for word in window.split("-"))
    return start <= now < end if start <= end else now >= start or now < end
