"""The figures on a terminal: tables as wide as it is, once or again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dmtools import clock
from dmtools.command.report import one_line
from dmtools.control import display

COLOURS = {"run": "green", "drain": "yellow", "halt": "red"}
EVERY = 3.0  # seconds


def show(told: dict[str, Any]) -> None:
    """Prints it once."""
    console = Console(highlight=False)
    for part in page(told):
        console.print(part)


def watch(look: Callable[[], dict[str, Any]], trouble: Callable[[Exception], str]) -> None:
    """Draws it anew every few seconds until the process is stopped.

    `look` gives what dm-monitoring tells. What it raises is raised the first time; later the last figures stay on the screen,
    and `trouble` puts into words why.
    """
    told, said = look(), ""
    with Live(console=Console(highlight=False), screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            live.update(Group(*_watched(told, said)), refresh=True)
            time.sleep(EVERY)
            try:
                told, said = look(), ""
            except Exception as problem:  # noqa: BLE001 - who watches wants to see when it is over
                said = trouble(problem)


def _watched(told: dict[str, Any], said: str) -> Iterator[RenderableType]:
    at = display.instant(told["at"])
    yield Text(f"{clock.local(at)}   {told['home']}   every {EVERY:g} s, Ctrl-C ends", style="dim")
    if said:
        yield Text(f"these figures are of {clock.local(at)}; since then: {said}", style="bold red")
    yield ""
    yield from page(told)


def page(told: dict[str, Any]) -> Iterator[RenderableType]:
    """All of it, piece by piece."""
    at = display.instant(told["at"]) or clock.now()
    for name, record in told["pipelines"].items():
        yield from _pipeline(name, record, at)
    for one in told["leases"]:
        yield Text(display.lease(one), style="red" if one["overdue"] else "")


def _pipeline(name: str, record: dict[str, Any], at: datetime) -> Iterator[RenderableType]:
    word = record["control"]["state"]
    yield Text.assemble((name, "bold"), "  ", (word, f"bold {COLOURS[word]}"), f"  {display.rate(record)}")
    yield Text(f"open work done: {display.eta(record, at)}")
    for hold in record["control"]["holds"]:
        yield _below(display.held(hold), COLOURS[hold["state"]])
    for table in (_states(record), _buffers(record, at), _components(record, at)):
        if table.row_count:
            yield Padding(table, (1, 0, 0, 0), expand=False)
    yield ""
    for one in record["notes"]:
        yield _below(display.note(one), "" if one["well"] else "yellow")
    for sight in record["seen"]:
        yield _below(display.seen(sight, at), "yellow")
    for one in record["stuck"]:
        yield _stuck(one, at)
    yield _below(f"duplicate transfers: {display.twice(record)}", "red" if record["duplicates"] else "dim")
    for text in record["troubles"]:
        yield _below(one_line(text), "red")
    yield ""


def _below(text: str, style: str, indent: int = 2) -> RenderableType:
    return Padding(Text(text, style=style), (0, 0, 0, indent), expand=False)


def _stuck(one: dict[str, Any], at: datetime) -> RenderableType:
    head, why, step = display.stuck(one, at)
    told = [_below(f"stuck: {head}", "yellow"), _below(why, "", 4)]
    return Group(*told, *([_below(f"do: {step}", "", 4)] if step else []))


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, side in columns:
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    return table


def _states(record: dict[str, Any]) -> Table:
    table = _table(("state", "left"), ("files", "right"), ("bytes", "right"), ("last hour", "right"), ("oldest", "right"))
    for state, n in record["counts"].items():
        style = "red" if state in record["bad"] and n else "" if n else "dim"
        came = record["came"][state]["files"]
        size, oldest = display.size(record["bytes"][state]), clock.age(record["oldest"].get(state))
        table.add_row(state, f"{n:,}", size, f"+{came:,}" if came else "-", oldest, style=style)
    return table


def _buffers(record: dict[str, Any], at: datetime) -> Table:
    table = _table(("buffer", "left"), ("room", "left"), ("at the last hour's rate", "left"))
    for one in record["buffers"]:
        style = "red" if one["trouble"] else ""
        table.add_row(Text(one_line(one["name"])), Text(display.room(one, at)), Text(display.filling(one, at)), style=style)
    return table


def _components(record: dict[str, Any], at: datetime) -> Table:
    table = _table(
        ("component", "left"), ("word", "left"), ("last success", "right"), ("last start", "right"), ("last error", "left")
    )
    for name, row in record["components"].items():
        if row["last_start"] or row["control"] != "run":
            error = f"{display.ago(row['last_error'], at)}: {one_line(row['error'] or '')}" if row["last_error"] else ""
            word = Text(row["control"], style=COLOURS[row["control"]])
            table.add_row(name, word, display.ago(row["last_success"], at), display.ago(row["last_start"], at), Text(error))
    return table
