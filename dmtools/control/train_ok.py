"""The check of dm-train-ok: asks every probe, judges each figure by its ranges, and lets the worst win."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nagiosplugin import Performance, Range
from sqlalchemy import exc

from dmtools import clock
from dmtools.command.report import one_line
from dmtools.command.run import Refused
from dmtools.control import hindrances, probes, troubles
from dmtools.control.entry import Figure, Pipeline
from dmtools.control.probes import CRITICAL, OK, UNKNOWN, WARNING, Look
from dmtools.ledger import Ledger, open_ledger
from dmtools.settings import Settings

CODES = {OK: 0, WARNING: 1, CRITICAL: 2, UNKNOWN: 3}
RANK = (OK, WARNING, UNKNOWN, CRITICAL)  # the worst wins
UNITS = {"s": "seconds", "B": "bytes", "%": "percent", "": ""}
_RANGE = re.compile(r"@?((~|-?\d+(\.\d+)?):)?(-?\d+(\.\d+)?)?")


def checked_range(text: str, option: str) -> str:
    """The range, if nagios takes it. Raises Refused."""
    try:
        if not text.lstrip("@") or not _RANGE.fullmatch(text):
            raise ValueError(
                "write 10 (0 to 10 is well), 10: (10 and more), ~:10 (10 and less), 5:10, or @5:10 (an alarm inside)"
            )
        Range(text)
    except ValueError as problem:
        raise Refused(f"-{option} {text!r} is no range: {problem}") from None
    return text


@dataclass(frozen=True)
class Judged:
    """A figure and its verdict."""

    figure: Figure
    state: str

    @property
    def label(self) -> str:
        """The name of its performance data: no blank, no quote, no equals sign."""
        words = [*self.figure.labels.values(), self.figure.family]
        return re.sub(r"[^\w.:/-]+", "_", "_".join(words)).strip("_")

    def performance(self) -> str:
        """label=value;warning;critical with its unit; nothing when there is no value."""
        one = self.figure
        if one.value is None:
            return ""
        least, most = (0, 100) if one.unit == "%" else (0, "")
        return str(Performance(self.label, number(one.value), one.unit, one.warning, one.critical, least, most))

    @property
    def page(self) -> str:
        """The page that helps, when it is not well."""
        title = self.figure.see or troubles.OF_FIGURES.get(self.figure.family, "")
        return troubles.page(title) if title and self.state != OK else ""

    def record(self) -> dict[str, Any]:
        """For --json."""
        one = self.figure
        return {
            "name": self.label,
            "family": one.family,
            "labels": one.labels,
            "value": None if one.value is None else round(one.value, 3),
            "unit": one.unit,
            "warning": one.warning or None,
            "critical": one.critical or None,
            "state": self.state,
            "text": one.said,
            "see": self.page,
        }


def number(value: float) -> str:
    """Without an exponent, at most three places."""
    return f"{value:.3f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"


def judge(figure: Figure) -> Judged:
    """Its own verdict, else that of its ranges; without a value it can't be told."""
    state = figure.state
    if not state and figure.value is None:
        state = UNKNOWN
    if not state and figure.value is not None:
        state = OK
        for name, text in ((WARNING, figure.warning), (CRITICAL, figure.critical)):
            if text and figure.value not in Range(text):
                state = name
    return Judged(figure, state)


@dataclass
class Outcome:
    """What the check found: a verdict, the figures behind it, and a sentence for the first line."""

    home: str
    at: datetime
    figures: list[Judged] = field(default_factory=list)
    failure: str = ""  # why the check itself could not be made: UNKNOWN, whatever else

    @property
    def state(self) -> str:
        """The worst of all: CRITICAL over UNKNOWN over WARNING over OK."""
        if self.failure:
            return UNKNOWN
        return max((one.state for one in self.figures), key=RANK.index, default=OK)

    def worst_first(self) -> list[Judged]:
        """The figures that are not OK."""
        bad = [one for one in self.figures if one.state != OK]
        return sorted(bad, key=lambda one: -RANK.index(one.state))

    def text(self) -> str:
        """What the first line says."""
        bad = self.worst_first()
        if self.failure:
            return plain(self.failure)
        if not bad:
            judged = sorted({one.figure.labels["pipeline"] for one in self.figures if "pipeline" in one.figure.labels})
            return f"{', '.join(judged)}: all is well" if judged else "no pipeline ever ran here, so none is judged"
        more = f" (and {len(bad) - 3} more)" if len(bad) > 3 else ""
        return "; ".join(plain(one.figure.said) for one in bad[:3]) + more

    def lines(self) -> Iterator[str]:
        """The output of a plugin: the line with its performance data, then each figure that is judged, worst first."""
        data = " ".join(filter(None, (one.performance() for one in self.figures)))
        yield f"TRAINOK {self.state} - {self.text()}{' | ' + data if data else ''}"
        bad = self.worst_first()
        said = [one for one in self.figures if one.figure.warning or one.figure.critical or one.figure.state]
        good = [one for one in said if one.state == OK]
        for one in (*bad, *good):
            yield f"{one.state}: {plain(one.figure.said)}" + (f" ({one.page})" if one.page else "")

    def record(self) -> dict[str, Any]:
        """For --json."""
        return {
            "schema": 1,
            "at": clock.iso(self.at),
            "home": self.home,
            "state": self.state,
            "code": CODES[self.state],
            "text": self.text(),
            "figures": [one.record() for one in self.figures],
        }


def plain(text: str) -> str:
    """A text that can stand in a plugin's output: one line, without the bar that begins performance data."""
    return one_line(text).replace("|", "/")


class Deadline:
    """Ends the process with UNKNOWN when the check takes too long, whatever it hangs in; `doing` is then named."""

    def __init__(self, seconds: float, tell: Callable[[str], None]) -> None:
        """`tell` writes the last words and ends the process; it runs in a thread of its own."""
        self.doing = "the settings"
        self._begun = time.monotonic()
        self._tell = tell
        self._timer = self._start(seconds, seconds)

    def asks(self, what: str) -> None:
        """Says what is asked now."""
        self.doing = what

    def set(self, seconds: float) -> None:
        """The same deadline with another length, from the same beginning."""
        self._timer.cancel()
        self._timer = self._start(max(0.01, seconds - (time.monotonic() - self._begun)), seconds)

    def over(self) -> None:
        """The check is made."""
        self._timer.cancel()

    def _start(self, wait: float, seconds: float) -> threading.Timer:
        timer = threading.Timer(wait, lambda: self._tell(f"gave up after {seconds:g} s while asking {self.doing}"))
        timer.daemon = True
        timer.start()
        return timer


@dataclass(frozen=True)
class Wanted:
    """What of it is asked: a scope, and other ranges for the age of the last success."""

    scope: str = "all"
    warning: str | None = None
    critical: str | None = None
    dry_run: bool = False


def check(settings: Settings, entries: dict[str, Pipeline], wanted: Wanted, asks: Callable[[str], None]) -> Outcome:
    """Asks every probe; `asks` is told which, before each. Raises LedgerUnavailable: then nothing else counts."""
    outcome = Outcome(str(settings.home), clock.now())
    begun = time.monotonic()
    asks("the database")
    ledger = open_ledger(settings)
    try:
        with ledger.read() as connection:
            now = ledger.now(connection)
            look = Look(settings, connection, clock.now(), entries, wanted.scope, wanted.warning, wanted.critical)
            asked = time.monotonic() - begun
            for what, probe in _probes(look, now, entries):
                asks(what)
                outcome.figures += [judge(figure) for figure in _asked(what, probe)]
    finally:
        ledger.close()
    asks("the database's lock")
    outcome.figures.append(judge(_lag(settings, ledger, asked, wanted)))
    return outcome


def _probes(look: Look, now: datetime, entries: dict[str, Pipeline]) -> Iterator[tuple[str, Callable[[], Iterable[Figure]]]]:
    yield "the components", lambda: probes.components(look)
    yield "the items", lambda: probes.items(look)
    yield "the holds", lambda: probes.held(look)
    yield "the leases", lambda: probes.leases(look, now)
    yield "the servers", lambda: probes.servers(look)
    for entry, _ in look.judged():
        yield f"the probes of {entry.name}", lambda entry=entry: probes.own(look, entry)  # type: ignore[misc]
        yield f"the duplicates of {entry.name}", lambda entry=entry: probes.duplicates(look, entry)  # type: ignore[misc]
    yield "HOME's disk", lambda: probes.home(look)
    for entry, _ in look.judged():
        yield f"the disks of {entry.name}", lambda entry=entry: probes.space(look, entry)  # type: ignore[misc]


def _asked(what: str, probe: Callable[[], Iterable[Figure]]) -> list[Figure]:
    """A probe that fails is UNKNOWN for itself alone; a database that fails is so for the whole check."""
    try:
        return list(probe())
    except exc.DBAPIError:
        raise
    except Exception as problem:  # noqa: BLE001 - a check tells its own failure
        said = f"{what} can't be asked: {type(problem).__name__}: {problem}"
        return [Figure("failed", {"probe": what}, None, said, state=UNKNOWN)]


def _lag(settings: Settings, ledger: Ledger, asked: float, wanted: Wanted) -> Figure:
    """How long the database took to answer, and to give its write lock, without which no pass can work."""
    limits = settings.train_ok
    patience = min(limits.lag_warning_seconds, limits.deadline_seconds / 2)
    waited, locked = (0.0, "") if wanted.dry_run else hindrances.write_lock(settings, patience)
    said = f"the database answered within {asked + waited:.2f} s"
    if locked:
        said = f"the database {ledger.shown} has been locked by another command for {waited:.1f} s or more: {locked}"
    ranges = (probes.over(limits.lag_warning_seconds), probes.over(limits.lag_critical_seconds))
    return Figure("database_lag", {}, asked + waited, said, "s", *ranges, state=WARNING if locked else "")
