"""Small plots as SVG, drawn here: no script, no picture from elsewhere; colours and patterns are classes of style.css."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from dmtools.control.display import size
from dmtools.web.hours import Hour

WIDTH, HEIGHT = 420, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 10, 22
_AGES = ((60, "1 min"), (3600, "1 h"), (86400, "1 d"), (604800, "1 w"), (2592000, "30 d"))


@dataclass(frozen=True)
class Bar:
    """One line of a plot of bars: its name, its length in the plot's unit, what stands behind it, the class of its colour."""

    name: str
    value: float
    shown: str
    kind: str


def per_hour(hours: Sequence[Hour], unit: str) -> str:
    """24 columns: files that were done (hatched above them: that turned bad), or bytes."""
    in_files = unit == "files"
    top = max((hour.done + hour.bad if in_files else hour.size for hour in hours), default=0)
    scale = _nice(top)
    total = sum(hour.done if in_files else hour.size for hour in hours)
    bad = sum(hour.bad for hour in hours)
    said = f"{_count(total)} files done and {_count(bad)} bad" if in_files else f"{size(total)} done"
    return _svg(f"{said} in the last 24 hours", [*_grid(scale, in_files), *_columns(hours, scale, in_files)])


def _columns(hours: Sequence[Hour], scale: float, in_files: bool) -> Iterator[str]:
    step = (WIDTH - _LEFT - _RIGHT) / len(hours)
    for number, hour in enumerate(hours):
        x, last = _LEFT + number * step + 1, number == len(hours) - 1
        local = hour.start.astimezone()
        value = hour.done if in_files else hour.size
        said = f"{_count(hour.done)} files done, {_count(hour.bad)} bad" if in_files else size(hour.size)
        yield f"<g><title>{_hour(local)}{' so far' if last else ''}: {said}</title>"
        tall = _tall(value, scale)
        base = HEIGHT - _BOTTOM
        kind = "now" if last else "done"
        yield f'<rect class="{kind}" x="{x:.1f}" y="{base - tall:.1f}" width="{step - 2:.1f}" height="{tall:.1f}"/>'
        if in_files and hour.bad:
            more = max(2.0, _tall(hour.bad, scale))
            yield f'<rect class="bad" x="{x:.1f}" y="{base - tall - more:.1f}" width="{step - 2:.1f}" height="{more:.1f}"/>'
        yield f'<rect class="hit" x="{x - 1:.1f}" y="{_TOP}" width="{step:.1f}" height="{base - _TOP}"/></g>'
        if local.hour % 6 == 0 and number < len(hours) - 1:
            yield f'<text class="tick" x="{x + step / 2 - 1:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{local:%H:%M}</text>'


def _hour(local: datetime) -> str:
    return f"{local:%a %H:00}"


def _grid(scale: float, in_files: bool) -> Iterator[str]:
    for part in (0, 0.5, 1):
        y = HEIGHT - _BOTTOM - _tall(scale * part, scale)
        shown = _count(scale * part) if in_files else size(scale * part)
        yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>'


def _tall(value: float, scale: float) -> float:
    return (HEIGHT - _TOP - _BOTTOM) * min(1.0, value / scale)


def bars(found: Sequence[Bar], said: str) -> str:
    """Lines of bars: the longest is as long as there is room."""
    longest = max((bar.value for bar in found), default=0) or 1
    return _svg(said, _lines(found, [bar.value / longest for bar in found]), 26 * len(found) + 6)


def ages(found: Sequence[Bar], said: str) -> str:
    """The same on a scale of ages: a minute, an hour, a day, a week are as far apart as one feels them to be."""
    ends = [_age_place(bar.value) for bar in found]
    tall = 26 * len(found) + 22
    marks = []
    for seconds, name in _AGES:
        x = _BAR_LEFT + _age_place(seconds) * (WIDTH - _BAR_LEFT - _BAR_RIGHT)
        marks.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{tall - 18}"/>')
        marks.append(f'<text class="tick" x="{x:.1f}" y="{tall - 4}" text-anchor="middle">{name}</text>')
    return _svg(said, [*marks, *_lines(found, ends)], tall)


def _age_place(seconds: float) -> float:
    least, most = math.log(10), math.log(2592000)
    return min(1.0, max(0.01, (math.log(max(seconds, 1)) - least) / (most - least)))


_BAR_LEFT, _BAR_RIGHT = 74, 74


def _lines(found: Sequence[Bar], shares: Sequence[float]) -> Iterator[str]:
    room = WIDTH - _BAR_LEFT - _BAR_RIGHT
    for number, (bar, share) in enumerate(zip(found, shares, strict=True)):
        y = 26 * number + 4
        yield f'<text class="name" x="{_BAR_LEFT - 6}" y="{y + 14}" text-anchor="end">{escape(bar.name)}</text>'
        wide = max(2.0, room * share) if bar.value else 0.0
        yield f'<rect class="{bar.kind}" x="{_BAR_LEFT}" y="{y}" width="{wide:.1f}" height="18"/>'
        yield f'<text class="value" x="{_BAR_LEFT + wide + 5:.1f}" y="{y + 14}">{escape(bar.shown)}</text>'


def _svg(said: str, parts: Iterable[str], tall: int = HEIGHT) -> str:
    inner = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {tall}" role="img" aria-label="{escape(said)}">{inner}</svg>'


def _nice(top: float) -> float:
    """The end of a scale: 1, 2 or 5 of a power of ten."""
    if top <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(top))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= top)


def _count(value: float) -> str:
    if value < 10000:
        return f"{value:g}"
    return f"{value / 1e6:.3g} M" if value >= 1e6 else f"{value / 1e3:.3g} k"
