"""The figures in words for people: one fact a line. `screen` makes tables of the same words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dmtools import clock
from dmtools.command.report import one_line
from dmtools.control import troubles
from dmtools.control.holds import Hold

if TYPE_CHECKING:
    from dmtools.control.entry import Trace

LONG = 100  # characters of a list that goes on a line
A_YEAR = 86400 * 365


def size(count: float) -> str:
    """Bytes as people say them: `1.5 GB` (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if abs(count) < 999.5 or unit == "PB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return ""


def lines(told: dict[str, Any]) -> Iterator[str]:
    """Plain lines of all that dm-monitoring tells (`figures.whole`): each begins with what it is about."""
    at = instant(told["at"]) or clock.now()
    for name, record in told["pipelines"].items():
        yield from pipeline_lines(name, record, at)
    for one in told["leases"]:
        yield f"leases {lease(one)}"


def pipeline_lines(name: str, record: dict[str, Any], at: datetime) -> Iterator[str]:
    """Plain lines that begin with the pipeline: what, then its figures."""
    yield f"{name} control {record['control']['state']}"
    for hold in record["control"]["holds"]:
        yield f"{name} hold {held(hold)}"
    for state, n in record["counts"].items():
        oldest = f" oldest {clock.age(record['oldest'][state])}" if state in record["oldest"] else ""
        came = f" last hour {record['came'][state]['files']}" if record["came"][state]["files"] else ""
        yield f"{name} {state} {n} files {size(record['bytes'][state])}{oldest}{came}"
    yield f"{name} rate {rate(record)}"
    yield f"{name} eta {eta(record, at)}"
    for one in record["buffers"]:
        yield f"{name} buffer {one_line(one['name'])} {room(one, at)}, {filling(one, at)}"
    for one in record["notes"]:
        yield note(one) if one["kind"].endswith("=") else f"{name} {note(one)}"
    for one in record["stuck"]:
        head, why, step = stuck(one, at)
        yield f"{name} stuck {head}: {why}{'; do: ' + step if step else ''}"
    yield f"{name} duplicates {twice(record)}"
    for component, row in record["components"].items():
        if row["last_start"] or row["control"] != "run":
            yield f"{name}/{component} {component_line(row, at)}"
    for sight in record["seen"]:
        yield f"{name} seen {seen(sight, at)}"
    for text in record["troubles"]:
        yield f"{name} trouble {one_line(text)}"


def component_line(row: dict[str, Any], at: datetime) -> str:
    """A component in one line."""
    words = [row["control"], f"last success {ago(row['last_success'], at)}", f"last start {ago(row['last_start'], at)}"]
    if row["last_error"]:
        words.append(f"last error {ago(row['last_error'], at)}: {one_line(row['error'] or '')}")
    return ", ".join(words)


def held(hold: dict[str, Any]) -> str:
    """A hold in one line."""
    since = instant(hold["since"])
    assert since is not None
    words = (hold["scope"], hold["state"], hold["kind"], hold["by"], hold["reason"])
    return Hold(*words, since, instant(hold["until"])).sentence()


def seen(sight: dict[str, Any], at: datetime) -> str:
    """A sighting in one line."""
    return one_line(f"{sight['name']}: {sight['what']} (since {ago(sight['since'], at)})")


def rate(record: dict[str, Any]) -> str:
    """The last hour's pace."""
    return f"{record['rate']['files_per_hour']} files/h, {size(record['rate']['bytes_per_hour'])}/h"


def eta(record: dict[str, Any], at: datetime) -> str:
    """When the open work is done, if nothing changes."""
    when = instant(record["eta"])
    if record["left"] <= 0:
        return "nothing is open"
    if when is None:
        return f"can't be told: nothing was done within the last hour, {record['left']:,} files are open"
    return f"{day(when, at)} (in {clock.age((when - at).total_seconds())})"


def day(when: datetime, at: datetime) -> str:
    """An instant to come, as exact as a forecast is: `today 14:00`, `Tuesday 14:00`, `Tuesday 2027-01-05`, `in 2041`."""
    ours, days = when.astimezone(), (when.astimezone().date() - at.astimezone().date()).days
    if days > 3650:
        return f"in {ours:%Y}"
    name = {0: "today", 1: "tomorrow"}.get(days, f"{ours:%A}")
    return f"{name} {ours:%H:%M}" if days < 7 else f"{name} {ours:%Y-%m-%d}"


def room(one: dict[str, Any], at: datetime) -> str:
    """What is free in a buffer."""
    posted = f", posted {ago(one['posted'], at)}" if one["posted"] else ""
    if one["free_bytes"] is None:
        return one_line(f"{one['trouble']}{posted}")
    share = "" if one["free_percent"] is None else f" ({one['free_percent']:.0f} %)"
    return f"{size(one['free_bytes'])} free of {size(one['total_bytes'])}{share}{posted}"


def filling(one: dict[str, Any], at: datetime) -> str:
    """When a buffer is full, if the last hour goes on."""
    when, net = instant(one["full_at"]), one["net_bytes_per_hour"]
    if when is not None:
        left = (when - at).total_seconds()
        if left > A_YEAR:
            return "not full within a year"
        return f"full {day(when, at)} (in {clock.age(left)})" if left > 0 else "full"
    if one["free_bytes"] is None or net is None:
        return "when it is full can't be told"
    return "not filling" if net == 0 else f"emptied by {size(-net)}/h"


def stuck(one: dict[str, Any], at: datetime) -> tuple[str, str, str]:
    """What doesn't move and for how long; why; what to do."""
    since = instant(one["since"])
    held_for = clock.age(max(0.0, (at - since).total_seconds())) if since else "?"  # a clock may have been set back
    return one_line(f"{one['subject']}, {one['state']} for {held_for}"), one_line(one["why"]), one_line(one["next"])


def note(one: dict[str, Any]) -> str:
    """How a disk, the jobs and the like stand; a kind that ends with = is a line of its own form: `NERSCStatus=   Run | ...`."""
    if one["kind"].endswith("="):
        return one_line(f"{one['kind']}{one['said']}")
    return one_line(f"{one['kind']} {one['name']} {one['state']}: {one['said']}")


def twice(record: dict[str, Any]) -> str:
    """The duplicate transfers."""
    found = record["duplicates"]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return one_line(f"{len(found)}: {', '.join(found[:3])}{more}") if found else "0"


def lease(one: dict[str, Any]) -> str:
    """Who holds how many leases."""
    count = "1 lease" if one["leases"] == 1 else f"{one['leases']} leases"
    over = f"; {one['overdue']} overdue, which the next pass takes over" if one["overdue"] else ""
    held_for = clock.age(one["oldest_seconds"])
    return one_line(f"{one['who']} ({one['holder']}) holds {count}, {one['first']} for {held_for}{over}")


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
            if isinstance(parts, list) and sum(map(len, map(str, parts))) > LONG:
                yield one_line(f"  {name}:")
                yield from (one_line(f"    {part}") for part in parts)
                continue
            yield one_line(f"  {name}: {', '.join(parts) if isinstance(parts, list) else parts}")
    for entry in one.history:
        move = f"{entry.start or ''} -> {entry.end}" if entry.end else "note"
        by = f" by {entry.by}" if entry.by else ""
        yield one_line(f"  {clock.local(entry.at)}  {move}{by}{': ' + entry.why if entry.why else ''}")
