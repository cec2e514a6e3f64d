"""Stretches without samples: whatever lacks, and wherever a window was cut into pieces, each moment is had or in a gap."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools.datalogger import gaps
from tests.datalogger.steps import NOW, Plant, when
from tests.support import run

NOTHING = np.empty(0)
START = 1_793_000_000.0


def joined(found: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that touch as one."""
    one: list[tuple[float, float]] = []
    for start, end in found:
        one.append((one.pop()[0], end) if one and start <= one[-1][1] else (start, end))
    return one


@given(
    st.sampled_from([0.1, 0.5, 1.0]),
    st.floats(0, 0.99),
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.lists(st.integers(1, 39), max_size=3, unique=True),
)
def test_each_moment_is_had_or_in_a_gap(hertz: float, phase: float, had: list[bool], cuts: list[int]) -> None:
    period = 1 / hertz
    edges = [0, *sorted(cut for cut in cuts if cut < len(had)), len(had)]
    found: list[gaps.Gap] = []
    last = None
    for first, end in pairwise(edges):
        there = START + np.array([(k + phase) * period for k in range(first, end) if had[k]])
        span = (START + first * period, START + end * period)
        found += gaps.within(there, NOTHING, span, hertz, last, torn=last is None and first > 0)
        last = float(there[-1]) if len(there) else last
    missing = []
    for k, is_had in enumerate(had):
        if not is_had:
            begin = (k + phase) * period if any(had[:k]) else 0.0
            missing.append((begin, (k + 1 + phase) * period if any(had[k:]) else len(had) * period))
    told = joined((round(one.start.timestamp() - START, 5), round(one.end.timestamp() - START, 5)) for one in found)
    wanted = joined(missing)
    least = max(1.0, period / 20)  # what lacks less than a second, or a twentieth of a period, may go unsaid
    assert all(one in [pytest.approx(other, abs=least) for other in wanted] for one in told)
    assert all(one in [pytest.approx(other, abs=least) for other in told] for one in wanted if one[1] - one[0] > least + 0.01)


def test_too_many_short_ones_are_told_together_and_stars_by_their_name() -> None:
    there = START + np.arange(2000.0)[np.arange(2000) % 2 == 0]
    stars = START + np.array([1.0, 1999.0])
    found = gaps.within(there, stars, (START, START + 2000), 1.0)
    assert len(found) == gaps.MOST + 1
    assert sum(one.seconds for one in found[:-1]) == gaps.MOST
    assert (found[-1].kind, found[-1].why) == (
        "scattered",
        f"{1000 - gaps.MOST} s in {1000 - gaps.MOST} stretches of at most 1 s, 1 of them *****, too many to list",
    )


def test_without_a_rate_only_nothing_at_all_is_a_gap() -> None:
    assert gaps.within(START + np.array([5.0]), NOTHING, (START, START + 3600), 0.0) == []
    (one,) = gaps.within(NOTHING, NOTHING, (START, START + 3600), 0.0)
    assert (one.kind, one.seconds) == ("empty", 3600.0)


def test_what_a_killed_pass_said_before_it_booked_is_of_no_account(plant: Plant) -> None:
    plant.log("B:VIMIN")
    plant.start("--gap", "B:VIMIN=2026-11-04T08:00Z/2026-11-04T09:00Z")
    plant.faults('op="say"; match="start=\\"2026-11-04+12:00"; reason="!down"')
    plant.cron(at=when("2026-11-05T09:00")).gave(1)
    ((number, upto),) = plant.sql("SELECT id, upto FROM datalogger_window WHERE state = 'incomplete'")
    stray = (number, "2026-11-04 20:00:00.000000", "2026-11-04 21:00:00.000000", "empty", "a kill came before the booking")
    with closing(sqlite3.connect(plant.home / "dmtools.db")) as raw, raw:
        raw.execute('INSERT INTO datalogger_gap (window_id, start, "end", kind, why) VALUES (?, ?, ?, ?, ?)', stray)
    told = run("dm-trace", "B:VIMIN 2026-11-04", home=plant.home, env=plant.clock(NOW)).ok().out
    assert "2026-11-04T08:00:00Z to 2026-11-04T09:00:00Z empty" in told
    assert f"{upto[:10]}T{upto[11:19]}Z to 2026-11-05T06:00:00Z owed: the logger said: !down" in told
    assert "a kill came" not in told
    plant.faults()
    plant.cron(at=NOW).ok()
    assert plant.sql("SELECT start, kind FROM datalogger_gap") == [("2026-11-04 08:00:00.000000", "empty")]
