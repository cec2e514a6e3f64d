"""A series as a Plotly figure: five curves that break where something is missing, bars that say why, marks at anomalies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from dmtools.datalogger.plots import series as series_of
from dmtools.datalogger.plots.anomalies import Anomaly
from dmtools.datalogger.plots.rows import UNDISTILLED, Row
from dmtools.datalogger.plots.series import MEANING, Run, Series, Slot
from dmtools.datalogger.states import ASKED, EMPTY, ERROR, INCOMPLETE, LOST, OWED
from dmtools.datalogger.windows import EVENT

# Colours of Okabe and Ito; dashes and patterns say the same to those who can't tell colours apart.
BLUE, ORANGE, GREEN, RED, GREY, PURPLE = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#6b7785", "#cc79a7"
_LINES: tuple[tuple[str, Callable[[Row], float | None], dict[str, Any]], ...] = (
    ("max", lambda row: row.max, {"color": RED, "width": 1, "dash": "dot"}),
    ("+1 sigma", lambda row: _sum(row.mode, row.std, 1), {"color": GREEN, "width": 1.2}),
    ("mode", lambda row: row.mode, {"color": GREY, "width": 2}),
    ("-1 sigma", lambda row: _sum(row.mode, row.std, -1), {"color": GREEN, "width": 1.2}),
    ("min", lambda row: row.min, {"color": BLUE, "width": 1, "dash": "dot"}),
)
_LOOK = {
    LOST: (RED, "x"),
    ERROR: (ORANGE, "/"),
    OWED: (BLUE, "."),
    ASKED: (BLUE, "."),
    INCOMPLETE: (BLUE, "\\"),
    EMPTY: (GREY, "-"),
    UNDISTILLED: (GREEN, "|"),
}


def of(series: Series, found: Sequence[Anomaly], zone: ZoneInfo) -> bytes:
    """The figure as JSON, {"data": [...], "layout": {...}}; numbers have nine digits."""
    drawn = list(_broken(series, zone))
    x = _raw(f'"{slot.x}"' for slot in drawn)
    data = [_line(name, of_row, line, x, drawn) for name, of_row, line in _LINES]
    data[2]["customdata"] = [_told(slot) for slot in drawn]
    data[2]["hovertemplate"] = "%{y}<br>%{customdata}"
    lacks = list(series_of.runs(series, zone))
    data.append(_bars(lacks))
    data.append(_marks(found))
    return msgspec.json.encode({"data": data, "layout": _layout(series, zone)})


def _broken(series: Series, zone: ZoneInfo) -> Iterator[Slot]:
    """The slots; where no window at all lies between two, one without statistics, so that the line breaks."""
    before: Slot | None = None
    for slot in series.slots:
        if before is not None and slot.start > before.end + 1 and before.row and slot.row:
            yield Slot(before.end, slot.start, series_of.wall(before.end, zone), "", "", None)
        yield slot
        before = slot


def _line(
    name: str, of_row: Callable[[Row], float | None], line: dict[str, Any], x: msgspec.Raw, drawn: Sequence[Slot]
) -> dict[str, Any]:
    values = (of_row(slot.row) if slot.row else None for slot in drawn)
    y = _raw("null" if value is None else f"{value:.9g}" for value in values)
    return {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "line": line, "connectgaps": False}


def _sum(mode: float | None, std: float | None, sign: int) -> float | None:
    return None if mode is None or std is None else mode + sign * std


def _raw(words: Iterable[str]) -> msgspec.Raw:
    return msgspec.Raw(f"[{','.join(words)}]".encode())


def _told(slot: Slot) -> str:
    if slot.row is None:
        return ""
    share = "" if slot.row.complete is None else f", {shown_share(slot.row.complete)} of what it should have"
    return f"{slot.row.samples} samples{share}" + (", the rest is lost" if slot.state == LOST else "")


def shown_share(share: float) -> str:
    """`99.98 %`, and never 100 % of what is not whole."""
    return "100 %" if share >= 1 else f"{min(99.99, share * 100):.2f} %"


def _bars(lacks: Sequence[Run]) -> dict[str, Any]:
    """What is missing, over the whole height; each says why."""
    looks = [_LOOK.get(run.state, (GREY, "")) for run in lacks]
    return {
        "type": "bar",
        "name": "missing",
        "x": [run.x for run in lacks],
        "y": [1] * len(lacks),
        "yaxis": "y2",
        "offset": 0,
        "width": [1000 * run.seconds for run in lacks],
        "hovertext": [_why(run) for run in lacks],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "customdata": [run.state for run in lacks],
        "marker": {
            "color": [colour for colour, _ in looks],
            "opacity": 0.45,
            "pattern": {"shape": [shape for _, shape in looks], "size": 6, "solidity": 0.35},
        },
    }


def _why(run: Run) -> str:
    long = f"{run.x} to {run.until}, {run.number} windows" if run.number > 1 else run.x
    words = f"{long}: {MEANING.get(run.state, run.state)}" + (f": {run.why}" if run.why else "")
    return "<br>".join(_wrapped(escape(words[:400], quote=False)))


def _wrapped(text: str) -> Iterator[str]:
    import textwrap

    yield from textwrap.wrap(text, 72) or [""]


def _marks(found: Sequence[Anomaly]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "anomaly",
        "x": [one.day.isoformat() for one in found],
        "y": [float(f"{one.at:.9g}") for one in found],
        "hovertext": ["<br>".join(_wrapped(escape(f"{one.rule}: {one.said}", quote=False))) for one in found],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {"symbol": "diamond-open", "size": 10, "color": PURPLE, "line": {"width": 2}},
    }


def title(series: Series) -> str:
    """How people call it."""
    return f"event ${series.key.name.upper()}: seconds between two" if series.key.kind == EVENT else series.key.name


def units(series: Series) -> str:
    """Of its values."""
    return "s" if series.key.kind == EVENT else series.units


def _layout(series: Series, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "title": {"text": escape(title(series), quote=False)},
        "height": 300,
        "margin": {"l": 64, "r": 16, "t": 40, "b": 40},
        "hovermode": "x unified",
        "bargap": 0,
        "xaxis": {"type": "date", "title": {"text": f"days of {zone.key}"}},
        "yaxis": {"title": {"text": escape(units(series), quote=False)}, "fixedrange": True},
        "yaxis2": {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
        "meta": {"device": series.key.name, "kind": series.key.kind, "timezone": zone.key},
    }
