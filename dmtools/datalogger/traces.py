"""The life of a device or event, of one of its windows, or of a file: `B:VIMIN`, `Event0c 2026-11-25`, `params-....h5`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import and_, func, select

from dmtools import clock, names
from dmtools.control import hindrances, traces
from dmtools.control.entry import Match, Question, Trace
from dmtools.control.hindrances import Hindrance
from dmtools.datalogger import declared, files, gaps, kinds, wall, windows
from dmtools.datalogger.files import F
from dmtools.datalogger.kinds import DEVICE, EVENT, KINDS
from dmtools.datalogger.states import DONE, EMPTY, LOST, OPEN, PUBLISHED
from dmtools.datalogger.windows import W, Window
from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow


def trace(q: Question) -> Iterator[Trace]:
    """What has just this name: a file, a window of a device, or the device."""
    last = q.text.rpartition("/")[2]
    for text in names.spellings(last):
        for row in q.connection.execute(select(tables.datalogger_file).where(F.name == text).order_by(F.id.desc())):
            yield _of_file(q, row)
    name, _, when = q.text.partition(" ")
    if not name.isascii():
        return
    kind = DEVICE
    if event := re.fullmatch(r"Event([0-9a-f]{2})", name):
        kind, name = EVENT, event[1]
    query = select(tables.datalogger_window).where(W.kind == kind, W.name == name).order_by(W.start.desc(), W.id.desc())
    at = _instant(q, when.partition(" to ")[0]) if when else None
    if at is not None:
        for window in windows.read(q.connection, query.where(W.start <= at, W.end > at).limit(q.limit)):
            yield _of_window(q, window)
    elif not when:
        yield from _of_device(q, kind, name)


def _instant(q: Question, text: str) -> datetime | None:
    """A day of the logger's zone, or an instant within a window."""
    zone = ZoneInfo(q.settings.datalogger.timezone)
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return wall.midnight(date.fromisoformat(text), zone) + timedelta(hours=12)
        return wall.parse(text, zone)
    except ValueError:
        return None


def _of_device(q: Question, kind: str, name: str) -> Iterator[Trace]:
    """How the windows of a device or event stand, and what becomes of the oldest that is not had."""
    mine = and_(W.kind == kind, W.name == name)
    counts = {row[0]: row[1] for row in q.connection.execute(select(W.state, func.count()).where(mine).group_by(W.state))}
    if not counts:
        return
    query = select(tables.datalogger_window).where(mine)
    open_ = windows.read(q.connection, query.where(W.state.in_(OPEN)).order_by(W.start, W.id).limit(1))
    newest = windows.read(q.connection, query.order_by(W.start.desc(), W.id.desc()).limit(1))[0]
    first = open_[0] if open_ else newest
    found = stands(q, first)
    said = f"{first.shown}: {found.said}"
    facts = {"windows": counts, "node": newest.node, "newest": clock.iso(newest.end)}
    facts["oldest_open"] = first.shown if open_ else None
    history = traces.journal(q, "datalogger-window", first.id)
    yield Trace(newest.called, "datalogger", kind, first.state, said, found.step, facts, history, found.see)


def _of_window(q: Question, window: Window) -> Trace:
    row = None
    if window.file_id is not None:
        row = q.connection.execute(select(tables.datalogger_file).where(F.id == window.file_id)).first()
    facts: dict[str, Any] = {
        "node": window.node,
        "start": clock.iso(window.start),
        "end": clock.iso(window.end),
        "origin": window.origin,
        "complete_to": clock.iso(window.upto),
        "forgotten_before": clock.iso(window.forgotten),
        "rows": window.rows,
        "first": clock.iso(window.first),
        "last": clock.iso(window.last),
        "stars": window.stars,
        "doubles": window.doubles,
        "failures": window.failures,
        "file": str(files.of(row).place) if row is not None and row.state == PUBLISHED else None,
    }
    holes = gaps.of(q.connection, window)
    facts["gaps"] = [gaps.line(one) for one in holes]
    found = stands(q, window)
    said = f"{found.said}; without samples: {gaps.said(holes)}" if holes else found.said
    history = traces.journal(q, "datalogger-window", window.id)
    return Trace(window.shown, "datalogger", "window", window.state, said, found.step, facts, history, found.see)


def _of_file(q: Question, row: AnyRow) -> Trace:
    file = files.of(row)
    held = files.held_by(q.connection, file)
    facts = {
        "place": str(file.place),
        "draft": str(file.draft) if row.dropped is None else None,
        "origin": file.origin,
        "series": file.series,
        "rows": row.rows,
        "bytes": file.bytes,
        "adler32": file.adler32,
        "devices" if file.kind == DEVICE else "events": [one.name for one in held],
        "distilled": clock.iso(row.distilled),
        "reason": row.reason,
        "declared": clock.iso(row.declared),
        "catalogues": declared.of_file(q.connection, file.id),
    }
    out = file.state == PUBLISHED
    said = f"it is {file.place}" if out else "its windows are chosen; it is not out yet"
    component = KINDS[file.kind].component
    step = f"nothing: the next pass of datalogger-{component} brings it out"
    if not out and file.origin == windows.HAND:
        step = f"give the same datalogger-{component} again"
    history = traces.journal(q, "datalogger-file", file.id)
    return Trace(file.place.name, "datalogger", "file", file.state, said, "" if out else step, facts, history)


def stands(q: Question, window: Window) -> Hindrance:
    """Why it is where it is, and what to do."""
    noun, component = window.of_kind.noun, window.of_kind.component
    if window.state in (DONE, EMPTY):
        said = f"{window.rows} {noun}" if window.state == DONE else f"the logger has no {noun} of it"
        where = "it is in its file" if window.file_id is not None else "it waits for its file"
        return Hindrance(f"{said}; {where}{'; ' + window.reason if window.reason else ''}", "")
    if window.state == LOST:
        return Hindrance(f"{window.reason}; {window.rows} {noun} are kept", "nothing can bring it back")
    for one in hindrances.of_component(q.connection, q.settings, q.at, "datalogger", component, q.cron_of(component)):
        return Hindrance(f"{window.reason}; {one.said}" if window.reason else one.said, one.step, one.see)
    row = q.connection.execute(select(W.ready).where(W.id == window.id)).scalar_one()
    said = window.reason or "it was not asked for yet"
    if window.origin == windows.HAND:
        return Hindrance(said, f"give the same datalogger-{component} again: it asks for what lacks")
    if row.replace(tzinfo=UTC) > q.at:
        return Hindrance(said, f"nothing: it is asked for again after {clock.local(row)}")
    return Hindrance(said, f"nothing: the next pass of datalogger-{component} asks for it")


def search(q: Question) -> list[Match]:
    """Devices and files whose name holds the text."""
    if not q.text.isascii():
        return []
    text = q.text.removeprefix("Event")
    devices = (
        select(W.kind, W.name, func.max(W.state)).where(func.instr(W.name, text) > 0).group_by(W.kind, W.name).limit(q.limit)
    )
    named = select(F.name, F.state).where(func.instr(F.name, q.text) > 0).order_by(F.id.desc()).limit(q.limit)
    found = [Match(kinds.table(row[0], row[1]), row[0], row[2]) for row in q.connection.execute(devices)]
    return [*found, *(Match(names.shown(row[0]), "file", row[1]) for row in q.connection.execute(named))][: q.limit]


def near(q: Question) -> list[Match]:
    """Names that look like one that was not found."""
    return traces.near(q, search)
