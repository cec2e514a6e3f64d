"""Days unlike the thirty before them: the rule, its numbers, and what to say of each such day."""

from __future__ import annotations

import warnings
from datetime import date
from typing import Any, NamedTuple

from dmtools.datalogger.plots.series import Series

DAYS, LEAST = 30, 10
SPREADS, SIGMAS, RATIO = 5.0, 0.1, 3.0
MAD = 1.4826  # of a normal distribution: its standard deviation over its median absolute deviation
RULE = (
    f"A day is compared with the {DAYS} days before it, of which at least {LEAST} must be there. "
    f"Drift: its mean is further from the median of their means than {SPREADS:g} spreads. "
    f"A spread is {MAD} x the median absolute deviation of their means, "
    f"and at least {SIGMAS:g} of the median of their standard deviations. "
    f"Noise: its standard deviation is more than {RATIO:g} times the median of theirs, or less than a third of it. "
    "Stuck: all its values are one, and theirs were not. A setting that was changed on purpose is told as drift, until half of "
    f"the {DAYS} days have the new value."
)


class Anomaly(NamedTuple):
    """One day: drift, noise or stuck, and the numbers in words; `at`: where to mark it."""

    day: date
    rule: str
    said: str
    at: float


def of(series: Series) -> list[Anomaly]:
    """The anomalies of a device, by day."""
    days = [(day, slot.row) for day, slot in series.days if slot.row is not None and None not in (slot.row.mean, slot.row.std)]
    if len(days) <= LEAST:
        return []
    import numpy as np

    first = days[0][0]
    size = (days[-1][0] - first).days + 1
    mean, std = np.full(size, np.nan), np.full(size, np.nan)
    flat, place = np.zeros(size, bool), {}
    for day, row in days:
        n = (day - first).days
        mean[n], std[n], flat[n], place[n] = row.mean, row.std, row.min == row.max, row
    usual = _usual(mean, std)
    found = []
    for n, row in place.items():
        if usual.number[n] >= LEAST and (told := _judged(usual, n, float(mean[n]), float(std[n]), bool(flat[n]), series.units)):
            found.append(
                Anomaly(date.fromordinal(first.toordinal() + n), *told, float(mean[n]) if row.mode is None else row.mode)
            )
    return found


class _Usual(NamedTuple):
    """Of the thirty days before each day: how many are there, median mean, spread of the means, median standard deviation."""

    number: Any
    median: Any
    spread: Any
    std: Any


def _usual(mean: Any, std: Any) -> _Usual:
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    def before(values: Any) -> Any:
        return sliding_window_view(np.concatenate([np.full(DAYS, np.nan), values[:-1]]), DAYS)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # days with nothing before them
        means, stds = before(mean), before(std)
        median = np.nanmedian(means, axis=1)
        usual = np.nanmedian(stds, axis=1)
        spread = MAD * np.nanmedian(np.abs(means - median[:, None]), axis=1)
    return _Usual(np.isfinite(means).sum(axis=1), median, np.fmax(spread, SIGMAS * usual), usual)


def _judged(usual: _Usual, n: int, mean: float, std: float, flat: bool, units: str) -> tuple[str, str] | None:
    unit = f" {units}" if units else ""
    median, spread, known = float(usual.median[n]), float(usual.spread[n]), float(usual.std[n])
    if flat and known > 0:
        return "stuck", f"all values are {mean:.6g}{unit}; the usual standard deviation is {known:.3g}{unit}"
    far = abs(mean - median)
    if far > max(SPREADS * spread, 1e-9 * abs(median)):
        times = f"{far / spread:.3g} spreads of {spread:.3g}{unit}" if spread > 0 else "and the days before did not differ"
        return "drift", f"mean {mean:.6g}{unit} is {times} from {median:.6g}{unit}; {SPREADS:g} are allowed"
    if known > 0 and not known / RATIO <= std <= RATIO * known:
        return "noise", f"standard deviation {std:.3g}{unit} is {std / known:.3g} times the usual {known:.3g}{unit}"
    return None
