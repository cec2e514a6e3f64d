"""The figures, against plain Python and numpy, for any numbers, any pieces and any room."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtools.datalogger.stats.figures import QUANTILES, Disordered, Figures, Series

START = 1_793_800_800.0
VALUES = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf, -0.0]))
SAMPLES = st.lists(st.tuples(st.integers(0, 3_000_000), VALUES), max_size=60)


def made(seconds: list[float], values: list[float], place: Path, room: int, piece: int, hertz: float = 0.0) -> Figures:
    series = Series(START, START + 60, hertz, place, room)
    for first in range(0, len(seconds), piece):
        series.add(np.array(seconds[first : first + piece]), np.array(values[first : first + piece]))
    return series.figures()


@settings(deadline=None, max_examples=150)
@given(SAMPLES, st.integers(1, 70), st.integers(1, 70))
def test_any_numbers_in_any_pieces_and_room_have_the_figures_of_numpy(
    samples: list[tuple[int, float]], piece: int, room: int
) -> None:
    micros = np.cumsum([step for step, _ in samples], dtype=np.int64) if samples else np.empty(0, np.int64)
    seconds, values = [START + int(at) / 1e6 for at in micros], [value for _, value in samples]
    found = made(seconds, values, Path("/tmp"), room, piece)
    finite = [value for value in values if math.isfinite(value)]
    steps = np.diff(micros)
    for spread, numbers, unit in ((found.value, np.array(finite), 1.0), (found.interval, steps.astype(float), 1e6)):
        if not len(numbers):
            assert set(vars(spread).values()) == {None}
            continue
        counted = Counter(numbers.tolist())
        assert spread.mode == min(n for n in counted if counted[n] == max(counted.values())) / unit
        assert (spread.min, spread.max) == (numbers.min() / unit, numbers.max() / unit)
        assert spread.mean == pytest.approx(numbers.mean() / unit, rel=1e-9, abs=1e-9)
        wanted = {name: np.quantile(numbers, share) / unit for name, share in QUANTILES.items()}
        assert {name: getattr(spread, name) for name in QUANTILES} == pytest.approx(wanted, rel=1e-12)
        std = numbers.std(ddof=1) / unit if len(numbers) > 1 else None
        assert spread.std == (pytest.approx(std, rel=1e-6, abs=1e-6) if std is not None else None)
    longest = now = 0
    for before, value in zip([math.nan, *values], values, strict=False):
        now = now + 1 if value == before else 1
        longest = max(longest, now)
    assert (found.stuck, found.doubles) == (longest, int((steps == 0).sum()))
    assert (found.count, found.non_finite) == (len(values), len(values) - len(finite))


def test_gaps_are_long_intervals_and_what_lacks_at_both_ends(tmp_path: Path) -> None:
    seconds = [START + n for n in range(5, 50) if n not in (20, 30, 31)]
    found = made(seconds, [1.0] * len(seconds), tmp_path, 1000, 7, hertz=1.0)
    assert (found.gaps, found.gap_seconds) == (4, 5.0 + 2.0 + 3.0 + 11.0)
    assert (found.complete, found.cadence, found.stuck) == (42 / 60, 1.0, 42)
    by_itself = made(seconds, [1.0] * len(seconds), tmp_path, 5, 7)
    assert (by_itself.gaps, by_itself.complete) == (4, None)
    nothing = made([], [], tmp_path, 1000, 7, hertz=1.0)
    assert (nothing.gaps, nothing.gap_seconds, nothing.complete) == (1, 60.0, 0.0)
    assert made([], [], tmp_path, 1000, 7).gaps is None
    assert list(tmp_path.iterdir()) == []


def test_events_of_720_hertz_in_whole_milliseconds_have_no_gaps_and_their_cadence(tmp_path: Path) -> None:
    found = made([START + k * 1000 // 720 / 1000 for k in range(720 * 60)], [0.0] * 720 * 60, tmp_path, 10**6, 65536)
    assert (found.gaps, found.interval.median) == (0, 0.001)
    assert found.cadence == pytest.approx(720, rel=1e-4)


def test_times_that_are_not_known_give_no_interval_and_times_that_go_back_are_told(tmp_path: Path) -> None:
    seconds = [START, START + 1, math.nan, math.nan, START + 9, START + 10]
    for piece in (1, 2, 3, 10):
        found = made(seconds, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], tmp_path, 100, piece)
        assert (found.first, found.last, found.count) == (START, START + 10, 6)
        assert (found.interval.mean, found.interval.max) == (1.0, 1.0)
    with pytest.raises(Disordered):
        made([START + 1, START], [1.0, 2.0], tmp_path, 100, 1)


def test_equal_numbers_have_just_their_mean_and_huge_ones_no_infinity(tmp_path: Path) -> None:
    found = made([START + n / 10 for n in range(300)], [0.1] * 300, tmp_path, 50, 7)
    assert (found.value.mean, found.value.std, found.value.mode) == (0.1, 0.0, 0.1)
    huge = made([START, START + 1], [1.7e308, -1.7e308], tmp_path, 50, 1)
    assert all(value is None or math.isfinite(value) for value in vars(huge.value).values())
