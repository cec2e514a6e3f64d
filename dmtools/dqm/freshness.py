"""The one judge of how good a mirrored page is: Fresh, Stale, Down or Broken, and since when it is not known to be true."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from dmtools import clock
from dmtools.dqm import record
from dmtools.dqm.record import SiteSays
from dmtools.settings import Dqm

FRESH, STALE, DOWN, BROKEN = "Fresh", "Stale", "Down", "Broken"
AHEAD = timedelta(seconds=120)  # that clocks of hosts may differ


@dataclass(frozen=True)
class Verdict:
    """`true_at`: until when what is shown is known to be what the source had; None: never. `why` is for shifters."""

    state: str
    true_at: datetime | None
    age: float | None  # seconds since then
    why: str

    @property
    def is_good(self) -> bool:
        """May it be shown without a warning?"""
        return self.state == FRESH


def judge(says: SiteSays | None, limits: Dqm, at: datetime) -> Verdict:
    """How the live page of a site stands at an instant. Only instants that somebody measured count, never a file's own."""
    if says is None:
        return Verdict(DOWN, None, None, "nothing is known of this page yet: the parser has not written of it")
    true_at = true_until(says)
    age = max(0.0, (at - true_at).total_seconds()) if true_at else None
    state, why = _judged(says, limits, at, age)
    return Verdict(state, true_at, age, why)


def true_until(says: SiteSays) -> datetime | None:
    """Until when the shown page is known to be true: while its link was open and its jobs told news, else its data's time.

    What was got and not understood says nothing of what is shown.
    """
    if says.confirmed is None:
        return None
    known = [says.confirmed]
    if says.broken_since is not None:
        known.append(says.broken_since)
    if says.data is not None and (says.running or says.link not in ("", record.OPEN)):
        known.append(says.data)
    return min(known)


def _judged(says: SiteSays, limits: Dqm, at: datetime, age: float | None) -> tuple[str, str]:
    silent = _silence(says, limits, at)
    if silent:
        return DOWN, silent
    if says.confirmed is None or age is None:
        return DOWN, f"the page was never got{_of(says)}"
    unseen = (at - says.confirmed).total_seconds()
    if unseen > limits.down_seconds:
        return DOWN, f"the page could not be got for {clock.age(unseen)}{_of(says)}"
    if says.broken_since is not None:
        return BROKEN, "the page was got, and it is not what this program understands; what is shown is from before that"
    if max(filter(None, (says.at, says.confirmed, says.data))) > at + AHEAD:
        return STALE, "its times lie in the future: a clock is wrong, so nobody can say how old it is"
    if says.link not in ("", record.OPEN):
        return STALE, f"the page inside has lost the link to its data; the newest are {clock.age(age)} old"
    if age > limits.stale_seconds:
        return STALE, _old(says, age, unseen > limits.stale_seconds)
    return FRESH, ""


def _silence(says: SiteSays, limits: Dqm, at: datetime) -> str:
    for what, heard in (("parser", says.at), ("robber", says.heard)):
        if heard is None:
            return f"nothing was heard of the {what} yet"
        if (silent := (at - heard).total_seconds()) > limits.down_seconds:
            return f"the {what} has said nothing for {clock.age(silent)}"
    return ""


def _of(says: SiteSays) -> str:
    return f": {says.trouble}" if says.trouble else ""


def _old(says: SiteSays, age: float, unseen: bool) -> str:
    if unseen:
        return f"the page was last got {clock.age(age)} ago{_of(says)}"
    return f"its running jobs have told nothing for {clock.age(age)}"
