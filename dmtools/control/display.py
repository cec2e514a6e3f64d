"""The figures for people: tables on a terminal, one fact a line in a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dmtools import clock
from dmtools.command.report import one_line
from dmtools.control import troubles

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from dmtools.control.entry import Trace

_COLOURS = {"run": "green", "drain": "yellow", "halt": "red"}


def size(count: float) -> str:
    """Bytes as people say them: `1.5 GB` (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if abs(count) < 999.5 or unit == "PB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return ""


def lines(name: str, record: dict[str, Any], at: datetime) -> Iterator[str]:
    """Plain lines that begin with the pipeline: what, then its figures."""
    yield f"{name} control {record['control']['state']}"
    for hold in record["control"]["holds"]:
        yield f"{name} hold {held(hold)}"
    for state, n in record["counts"].items():
        oldest = f" oldest {clock.age(record['oldest'][state])}" if state in record["oldest"] else ""
        yield f"{name} {state} {n} files {size(record['bytes'][state])}{oldest}"
    yield f"{name} rate {rate(record)}"
    yield f"{name} eta {eta(record, at)}"
    for component, row in record["components"].items():
        if row["last_start"] or row["control"] != "run":
            yield f"{name}/{component} {component_line(row, at)}"
    for sight in record["seen"]:
        yield f"{name} seen {seen(sight, at)}"


def component_line(row: dict[str, Any], at: datetime) -> str:
    """A component in one line."""
    words = [row["control"], f"last success {ago(row['last_success'], at)}", f"last start {ago(row['last_start'], at)}"]
    if row["last_error"]:
        words.append(f"last error {ago(row['last_error'], at)}: {one_line(row['error'] or '')}")
    return ", ".join(words)


def held(hold: dict[str, Any]) -> str:
    """A hold in one line."""
    until = f" until {clock.local(instant(hold['until']))}" if hold["until"] else ""
    since = clock.local(instant(hold["since"]))
    return one_line(
        f"{hold['state']} of {hold['scope']} by {hold['by']} since {since}{until}: {hold['reason'] or 'no reason given'}"
    )


def seen(sight: dict[str, Any], at: datetime) -> str:
    """A sighting in one line."""
    return one_line(f"{sight['name']}: {sight['what']} (since {ago(sight['since'], at)})")


def rate(record: dict[str, Any]) -> str:
    """The last hour's pace."""
    return f"{record['rate']['files_per_hour']} files/h, {size(record['rate']['bytes_per_hour'])}/h"


def eta(record: dict[str, Any], at: datetime) -> str:
    """When the open work is done, if nothing changes."""
    if record["eta"] is None:
        return "no telling" if record["left"] > 0 else "nothing is open"
    when = instant(record["eta"])
    return f"{clock.local(when)} (in {clock.age((when - at).total_seconds())})" if when else ""


def instant(text: str | None) -> datetime | None:
    """The instant of an ISO text."""
    return None if text is None else datetime.fromisoformat(text)


def ago(text: str | None, at: datetime) -> str:
    """How long ago."""
    when = instant(text)
    if when is None:
        return "never"
    seconds = (at - when).total_seconds()
    return f"{clock.age(seconds)} ago" if seconds >= 0 else f"{clock.age(-seconds)} in the future"


def show(records: dict[str, dict[str, Any]], at: datetime) -> None:
    """Tables on the terminal."""
    from rich.console import Console

    console = Console(highlight=False)
    for name, record in records.items():
        for part in _blocks(name, record, at):
            console.print(part)


def _blocks(name: str, record: dict[str, Any], at: datetime) -> Iterator[RenderableType]:
    from rich.text import Text

    word = record["control"]["state"]
    yield Text.assemble((name, "bold"), "  ", (word, f"bold {_COLOURS[word]}"), f"  {rate(record)}  done: {eta(record, at)}")
    for hold in record["control"]["holds"]:
        yield Text(f"  {held(hold)}", style=_COLOURS[hold["state"]])
    yield _states(record)
    yield _components(record, at)
    for sight in record["seen"]:
        yield Text(f"  {seen(sight, at)}", style="yellow")
    yield ""


def _table(*columns: tuple[str, str]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name, side in columns:
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    return table


def _states(record: dict[str, Any]) -> Table:
    table = _table(("state", "left"), ("files", "right"), ("bytes", "right"), ("oldest", "right"))
    for state, n in record["counts"].items():
        style = "red" if state in record["bad"] and n else "" if n else "dim"
        table.add_row(state, f"{n:,}", size(record["bytes"][state]), clock.age(record["oldest"].get(state)), style=style)
    return table


def _components(record: dict[str, Any], at: datetime) -> Table:
    from rich.text import Text

    table = _table(
        ("component", "left"), ("word", "left"), ("last success", "right"), ("last start", "right"), ("last error", "left")
    )
    for name, row in record["components"].items():
        if row["last_start"] or row["control"] != "run":
            error = f"{ago(row['last_error'], at)}: {one_line(row['error'] or '')}" if row["last_error"] else ""
            word = Text(row["control"], style=_COLOURS[row["control"]])
            table.add_row(name, word, ago(row["last_success"], at), ago(row["last_start"], at), Text(error))
    return table


def trace(one: Trace) -> Iterator[str]:
    """The life of one thing, line by line."""
    yield one_line(f"{one.pipeline} {one.kind} {one.subject}: {one.state}")
    yield one_line(f"why: {one.why}")
    if one.next:
        yield one_line(f"do: {one.next}")
    if one.see:
        yield f"see: {troubles.page(one.see)}"
    for name, value in one.facts.items():
        if value not in (None, "", [], {}):
            parts = [f"{n} {state}" for state, n in value.items()] if isinstance(value, dict) else value
            yield one_line(f"  {name}: {', '.join(parts) if isinstance(parts, list) else parts}")
    for entry in one.history:
        move = f"{entry.start or ''} -> {entry.end}" if entry.end else "note"
        by = f" by {entry.by}" if entry.by else ""
        yield one_line(f"  {clock.local(entry.at)}  {move}{by}{': ' + entry.why if entry.why else ''}")
