"""Why a list in TODO could not be submitted now, for dm-trace."""

from __future__ import annotations

from dmtools.control.entry import Question
from dmtools.migrate.rules import Rules
from dmtools.spool import folders as at
from dmtools.spool import listfile
from dmtools.transfers import pressure


def why_not(q: Question, name: str) -> str:
    """Why this list in TODO could not be submitted now, for dm-trace; empty: it could."""
    opened = int(q.connection.execute(pressure.all_open("migrate")).scalar_one())
    most = q.settings.migrate.max_open_jobs
    if opened >= most:
        return f"{opened} jobs are open, and no more than {most} may be ([migrate] max_open_jobs)"
    if not any(pressure.is_limited(rule) for rule in q.settings.migrate.rules):
        return ""
    try:
        pairs = listfile.read(q.settings.home / "migrate" / at.TODO / name).pairs
    except (OSError, listfile.ListUnreadable):
        return ""
    rules = Rules(q.settings)
    rule = rules.by_match(rules.match_of(pairs[0])) if pairs else None
    if rule is None or not pressure.is_limited(rule):
        return ""
    jobs, size = pressure.used(q.connection, "migrate", [rule.match], q.at)
    return pressure.refusal(rule, jobs.get(rule.match, 0), size.get(rule.match, 0), q.at)
