"""What the status page says: records and verdicts as the words, marks and plots of its templates."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from dmtools import clock
from dmtools.control import display
from dmtools.control.claims import OVER
from dmtools.control.entry import Pipeline
from dmtools.control.train_ok import Outcome
from dmtools.web import plots
from dmtools.web.hours import Hour
from dmtools.web.plots import Bar
from dmtools.web.snapshots import Snapshot

# A sign beside each word: nothing is told by its colour alone.
VERDICT_SIGNS = {"OK": "✓", "WARNING": "!", "CRITICAL": "✕", "UNKNOWN": "?"}
WORD_SIGNS = {"run": "▶", "drain": "◐", "halt": "■"}


def view(snapshot: Snapshot, entries: dict[str, Pipeline]) -> dict[str, Any]:
    """The values of the template `live` that come from the tables."""
    records, at = snapshot.told["pipelines"], snapshot.at
    leases = snapshot.told["leases"]
    return {
        "at": at,
        "holds": [(hold.state, WORD_SIGNS[hold.state], hold.sentence()) for hold in snapshot.holds],
        "planned": [hold.announcement(at) for hold in snapshot.planned[:3]],
        "pipelines": [pipeline(entry, records[name], snapshot.days[name], at) for name, entry in entries.items()],
        "leases": [display.lease(one) for one in leases],
        "dead": sum(one["holder"] in OVER for one in leases),
        "signs": WORD_SIGNS,
    }


def verdict(outcome: Outcome) -> dict[str, Any]:
    """dm-train-ok's word, what is not well (the worst first), and what is."""
    told = [one for one in outcome.figures if one.figure.warning or one.figure.critical or one.figure.state]
    return {
        "state": outcome.state,
        "sign": VERDICT_SIGNS[outcome.state],
        "text": outcome.text(),
        "bad": [(one.state, VERDICT_SIGNS[one.state], one.figure.said) for one in outcome.worst_first()],
        "good": [one.figure.said for one in told if one.state == "OK"],
    }


def pipeline(entry: Pipeline, record: dict[str, Any], day: list[Hour], at: datetime) -> dict[str, Any]:
    """One pipeline: its states as a flow, its plots, its components, what stands in its way."""
    states = [_state(entry, record, state.name, state.meaning) for state in entry.states.states]
    return {
        "name": entry.name,
        "meaning": entry.meaning,
        "site": entry.site and f"/{entry.name}/",
        "word": record["control"]["state"],
        "rate": display.rate(record),
        "eta": display.eta(record, at),
        "left": record["left"],
        "way": [state for state in states if state["kind"] != "bad"],
        "aside": [state for state in states if state["kind"] == "bad"],
        "plots": _plots(day, states),
        "components": [_component(name, row, at) for name, row in record["components"].items()],
        "seen": [display.seen(sight, at) for sight in record["seen"]],
        "stuck": [_stuck(one, at) for one in record["stuck"]],
        "buffers": [f"{one['name']}: {display.room(one, at)}, {display.filling(one, at)}" for one in record["buffers"]],
        "notes": [(display.note(one), one["well"]) for one in record["notes"]],
        "twice": display.twice(record) if record["duplicates"] else "",
        "troubles": record["troubles"],
    }


def _state(entry: Pipeline, record: dict[str, Any], name: str, meaning: str) -> dict[str, Any]:
    kind = "bad" if name in entry.bad else "done" if name in entry.done else "open"
    oldest = record["oldest"].get(name)
    return {
        "name": name,
        "meaning": meaning,
        "kind": kind,
        "files": f"{record['counts'][name]:,}",
        "empty": record["counts"][name] == 0,
        "bytes": display.size(record["bytes"][name]),
        "size": record["bytes"][name],
        "oldest": clock.age(oldest) if oldest is not None and kind != "done" else "",
        "age": oldest,
        "came": record["came"][name]["files"],
    }


def _plots(day: list[Hour], states: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(title, SVG)."""
    of_size = [Bar(one["name"], one["size"], one["bytes"], one["kind"]) for one in states]
    waiting = [one for one in states if one["kind"] != "done"]
    of_age = [Bar(one["name"], one["age"] or 0, clock.age(one["age"]), one["kind"]) for one in waiting]
    said = ", ".join(f"{bar.name} {bar.shown}" for bar in of_size)
    aged = ", ".join(f"{bar.name} {bar.shown}" for bar in of_age)
    return [
        ("Files done per hour", plots.per_hour(day, "files")),
        ("Bytes done per hour", plots.per_hour(day, "bytes")),
        ("Bytes by state", plots.bars(of_size, f"bytes by state: {said}")),
        ("Age of the oldest", plots.ages(of_age, f"age of the oldest: {aged}")),
    ]


def _component(name: str, row: dict[str, Any], at: datetime) -> dict[str, Any]:
    failed = row["last_error"] and (not row["last_success"] or row["last_error"] > row["last_success"])
    return {
        "name": name,
        "word": row["control"],
        "ran": bool(row["last_start"]),
        "success": display.ago(row["last_success"], at),
        "start": display.ago(row["last_start"], at),
        "error": f"{display.ago(row['last_error'], at)}: {row['error'] or ''}" if row["last_error"] else "",
        "failed": bool(failed),
    }


def _stuck(one: dict[str, Any], at: datetime) -> dict[str, str]:
    head, why, step = display.stuck(one, at)
    return {"head": head, "why": why, "step": step, "path": trace_path(one["subject"])}


def trace_path(subject: str) -> str:
    """Where the trace of a name is; /trace/a/b is that of the LFN /a/b."""
    if subject.startswith("/"):
        return "/trace" + quote(subject, safe="/", errors="surrogateescape")
    return "/trace/" + quote(subject, safe="", errors="surrogateescape")
