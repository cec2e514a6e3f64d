"""How good a page is, judged from what robber and parser say and the clock: never better than anybody knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools.dqm import freshness, record
from dmtools.dqm.freshness import BROKEN, DOWN, FRESH, STALE
from dmtools.dqm.record import SiteSays
from dmtools.settings import Dqm

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
LIMITS = Dqm()  # stale after 30 s, down after 120 s


def ago(seconds: float) -> datetime:
    return AT - timedelta(seconds=seconds)


def says(**changes: Any) -> SiteSays:
    well = SiteSays(
        site="production", title="Production", at=ago(0), heard=ago(1), confirmed=ago(1), link="open", data=ago(3), running=4
    )
    return msgspec.structs.replace(well, **changes)


CASES = [
    ("all is well", says(), FRESH, ""),
    ("a run that is over has old data and is true all the same", says(data=ago(90_000), running=0), FRESH, ""),
    ("a page that names no link", says(link=""), FRESH, ""),
    ("the page was not got for a while", says(confirmed=ago(40), trouble=record.SLOW), STALE, "last got 40 s ago: too slow"),
    ("running jobs are silent", says(data=ago(200)), STALE, "running jobs have told nothing for 3 min"),
    ("the source is gone and the page stands still", says(link="closed", data=ago(5)), STALE, "lost the link"),
    ("an unknown state of the link is no open link", says(link="other"), STALE, "lost the link"),
    ("the page can't be got", says(confirmed=ago(300), trouble=record.AWAY), DOWN, "not be got for 5 min: away"),
    ("it was never got", says(confirmed=None, trouble=record.NO_BROWSER), DOWN, "never got: no browser"),
    ("the robber is dead", says(heard=ago(200)), DOWN, "the robber has said nothing for 3 min"),
    ("the robber never lived", says(heard=None), DOWN, "nothing was heard of the robber yet"),
    ("the parser is dead", says(at=ago(200)), DOWN, "the parser has said nothing for 3 min"),
    ("it is not understood", says(broken_since=ago(10)), BROKEN, "not what this program understands"),
    ("not understood, and away since", says(broken_since=ago(500), confirmed=ago(300)), DOWN, "could not be got"),
    ("a clock is ahead", says(data=AT + timedelta(hours=1)), STALE, "a clock is wrong"),
    ("nobody has said anything", None, DOWN, "nothing is known of this page yet"),
]


@pytest.mark.parametrize(("told", "state", "why"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_verdicts(told: SiteSays | None, state: str, why: str) -> None:
    found = freshness.judge(told, LIMITS, AT)
    assert found.state == state
    assert why in found.why
    assert found.is_good == (state == FRESH)


def test_the_age_is_that_of_the_data_when_the_link_is_cut_and_that_of_the_grab_when_it_is_open() -> None:
    assert freshness.judge(says(link="closed", data=ago(77), running=0), LIMITS, AT).age == 77
    assert freshness.judge(says(data=ago(77), running=0), LIMITS, AT).age == 1
    assert freshness.judge(says(data=ago(77), running=2), LIMITS, AT).age == 77
    assert freshness.judge(says(broken_since=ago(50), running=0), LIMITS, AT).age == 50  # got since, and not understood


_instants = st.one_of(st.none(), st.integers(-1000, 100_000).map(ago))


_told = st.builds(
    lambda at, heard, confirmed, data, link, running: says(
        at=at or AT, heard=heard, confirmed=confirmed, data=data, link=link, running=running
    ),
    *[_instants] * 4,
    st.sampled_from(["", "open", "closed", "other"]),
    st.integers(0, 3),
)


@given(_told, st.integers(0, 9999))
def test_no_page_becomes_better_by_waiting(told: SiteSays, later: int) -> None:
    now, then = (freshness.judge(told, LIMITS, moment) for moment in (AT, AT + timedelta(seconds=later)))
    order = (FRESH, STALE, DOWN)
    in_future = any(one and one > AT + freshness.AHEAD for one in (told.at, told.confirmed, told.data))
    assert in_future or order.index(then.state) >= order.index(now.state)
    assert now.age is None or now.age >= 0
    if now.state == FRESH:
        assert told.confirmed is not None
        assert (AT - told.confirmed).total_seconds() <= LIMITS.stale_seconds
