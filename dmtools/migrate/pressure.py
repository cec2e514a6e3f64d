"""Back-pressure: how much more may be submitted now, in all and by rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from dmtools.control.entry import Question
from dmtools.ledger import tables
from dmtools.migrate.open_work import OPEN_JOBS
from dmtools.migrate.rules import Rules
from dmtools.settings import Rule
from dmtools.spool import folders as at
from dmtools.spool import listfile
from dmtools.spool.listfile import Pair

if TYPE_CHECKING:
    from dmtools.control.passes import Pass
    from dmtools.migrate.home import Home
    from dmtools.transfers.plan import ListPlan

J = tables.ftsjob.c


def room(this: Pass) -> int:
    """How many more jobs [migrate] max_open_jobs lets us open."""
    with this.ledger.read() as connection:
        return this.settings.migrate.max_open_jobs - int(connection.execute(_all_open()).scalar_one())


class Rooms:
    """What the rules with limits have left: asked of the tables once, then counted as lists go."""

    def __init__(self, this: Pass, home: Home, now: datetime) -> None:
        self._home, self._now = home, now
        rules = this.settings.migrate.rules
        self._limited = {rule.match for rule in rules if is_limited(rule)}
        self._open: dict[str, int] = {}
        self._bytes: dict[str, int] = {}
        if any(rule.max_open_jobs or rule.bytes_per_hour for rule in rules):
            with this.ledger.read() as connection:
                self._open, self._bytes = used(connection, self._limited, now)

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
        match = self._home.rules.match_of(pairs[0])
        return self._home.rules.by_match(match) if match in self._limited else None


def is_limited(rule: Rule) -> bool:
    """Has the rule a window, or a limit?"""
    return bool(rule.hours or rule.max_open_jobs or rule.bytes_per_hour)


def used(connection: Connection, matches: Iterable[str], now: datetime) -> tuple[dict[str, int], dict[str, int]]:
    """(open jobs, bytes submitted within the last hour) of these rules, by their `match`."""
    of_rules = (J.pipeline == "migrate", J.rule.in_(matches))
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


def why_not(q: Question, name: str) -> str:
    """Why this list in TODO could not be submitted now, for dm-trace; empty: it could."""
    opened = int(q.connection.execute(_all_open()).scalar_one())
    most = q.settings.migrate.max_open_jobs
    if opened >= most:
        return f"{opened} jobs are open, and no more than {most} may be ([migrate] max_open_jobs)"
    if not any(is_limited(rule) for rule in q.settings.migrate.rules):
        return ""
    try:
        pairs = listfile.read(q.settings.home / "migrate" / at.TODO / name).pairs
    except (OSError, listfile.ListUnreadable):
        return ""
    rules = Rules(q.settings)
    rule = rules.by_match(rules.match_of(pairs[0])) if pairs else None
    if rule is None or not is_limited(rule):
        return ""
    jobs, size = used(q.connection, [rule.match], q.at)
    return refusal(rule, jobs.get(rule.match, 0), size.get(rule.match, 0), q.at)


def _all_open() -> Any:
    return select(func.count()).select_from(tables.ftsjob).where(J.pipeline == "migrate", J.state.in_(OPEN_JOBS))


def in_hours(window: str, now: time) -> bool:
    """Is the local time within `HH:MM-HH:MM`? A window may go over midnight."""
    start, end = (time.fromisoformat(word) for word in window.split("-"))
    return start <= now < end if start <= end else now >= start or now < end
