"""Ten days of crons that are missed, a logger that is down, and answers that go wrong: what became of each second is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.datalogger.steps import Plant
from tests.datalogger.ten_days import HOLES, TenDays
from tests.support import Server, run


def test_of_every_second_the_tables_say_had_empty_or_lost_and_it_is_true(home: Path, sim: Callable[..., Server]) -> None:
    days = TenDays(Plant(home, sim), seed=1)
    days.run()
    sums = days.prove()
    assert all(sums.values()), sums
    assert len(days.missed) > 10
    start, _ = days.holes[0]
    told = run("dm-trace", f"{HOLES} {start.isoformat()}", home=home).ok().out
    assert "empty: the logger gave no samples of it" in told
