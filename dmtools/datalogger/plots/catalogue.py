"""What the page knows of all devices before it has drawn one: names, files, each day's quality, anomalies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import msgspec

from dmtools.datalogger.plots import figure
from dmtools.datalogger.plots.anomalies import Anomaly
from dmtools.datalogger.plots.rows import UNDISTILLED
from dmtools.datalogger.plots.series import Series, Slot
from dmtools.datalogger.states import ASKED, EMPTY, ERROR, INCOMPLETE, LOST, OWED

# One letter a day and device. 0 to 5: the share of samples, by the least that it has; `?`: the rate isn't known.
SHARES = (0.5, 0.9, 0.99, 0.999, 1.0)
NOTHING, UNKNOWN = ".", "?"
LETTERS = {OWED: "o", ASKED: "o", INCOMPLETE: "o", ERROR: "e", LOST: "x", EMPTY: "z", UNDISTILLED: "s"}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One device: `file` is the stem of its files, `first` its first day, `days` a letter for each from then on.

    `why`: [day's number, reason] of what is missing; `odd`: [day's number, rule, words] of anomalies. `script`: its figure.
    """

    name: str
    title: str
    kind: str
    file: str
    units: str
    points: int
    first: str
    days: str
    why: list[tuple[int, str]]
    odd: list[tuple[int, str, str]]
    script: str = ""
    sha256: str = ""
    mark: str = ""


def entry(series: Series, found: Sequence[Anomaly], stem: str) -> Entry:
    """The entry of a device; a day of which there are several windows is as bad as the worst."""
    days = series.days
    first = days[0][0] if days else date(1970, 1, 1)
    size = (days[-1][0] - first).days + 1 if days else 0
    letters, why = [NOTHING] * size, dict[int, str]()
    for day, slot in days:
        n = (day - first).days
        letters[n] = min(letters[n], _letter(slot), key=_rank)
        if slot.why and slot.why != why.get(n - 1):
            why[n] = slot.why[:200]
    return Entry(
        name=series.key.name,
        title=figure.title(series),
        kind=series.key.kind,
        file=stem,
        units=figure.units(series),
        points=series.points,
        first=first.isoformat() if days else "",
        days="".join(letters),
        why=sorted(why.items()),
        odd=[((one.day - first).days, one.rule, one.said) for one in found],
    )


def _letter(slot: Slot) -> str:
    if slot.row is None or slot.state == LOST:
        return LETTERS.get(slot.state, NOTHING)
    if slot.row.complete is None:
        return UNKNOWN
    return str(sum(slot.row.complete >= least for least in SHARES))


def _rank(letter: str) -> int:
    return "xeozs012345?.".index(letter)


def script(entries: Sequence[Entry], zone: ZoneInfo, rule: str) -> bytes:
    """The file that tells the page of all devices."""
    told = [msgspec.structs.replace(one, mark="", sha256="") for one in entries]
    last = max((date.fromisoformat(one.first) + timedelta(days=len(one.days) - 1) for one in told if one.first), default=None)
    whole = {"timezone": zone.key, "last": last.isoformat() if last else "", "rule": rule, "devices": told}
    return b'"use strict";\nvar dmCatalogue = ' + msgspec.json.encode(whole) + b";\n"
