"""What dm-monitoring asks of datalogger: where files go, how many days are left for what is owed, what doesn't come and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import func, select

from dmtools import clock
from dmtools.control.entry import Buffer, Note, Probing, Question, Stuck
from dmtools.datalogger import declared, files, looking, traces, windows
from dmtools.datalogger.files import F
from dmtools.datalogger.kinds import KINDS
from dmtools.datalogger.states import DRAFT, ERROR, INCOMPLETE, OPEN
from dmtools.datalogger.stats import watching
from dmtools.datalogger.windows import SCHEDULE, W, Window
from dmtools.ledger import tables

FEW = 3


def buffers(look: Probing) -> Iterator[Buffer]:
    """HOME's disk, and those of drafts and finished files."""
    found = look.settings.datalogger
    yield Buffer("HOME", look.settings.home)
    yield Buffer("drafts", look.settings.path(found.draft))
    yield Buffer("files", look.settings.path(found.out))


def endangered(look: Probing) -> Window | None:
    """The open window of the schedule that the logger forgets first."""
    query = select(tables.datalogger_window).where(W.state.in_(OPEN), W.origin == SCHEDULE).order_by(W.start, W.id).limit(1)
    return next(iter(windows.read(look.connection, query)), None)


def left(look: Probing, window: Window) -> timedelta:
    """How long the logger has all of it still."""
    return window.start + timedelta(days=look.settings.datalogger.keep_days) - look.at


def notes(look: Probing) -> Iterator[Note]:
    """The oldest that is owed and the time that is left for it; the newest file; files that wait to go out."""
    oldest = endangered(look)
    if oldest is not None:
        rest = left(look, oldest).total_seconds()
        said = f"{oldest.shown} is {oldest.state}; "
        said += f"the logger has it for {clock.age(rest)} more" if rest > 0 else "the logger has begun to forget it"
        said += f": {oldest.reason}" if oldest.reason else ""
        yield Note("owed", oldest.called, oldest.state, said, rest > 86_400)
    newest = look.connection.execute(select(tables.datalogger_file).order_by(F.id.desc()).limit(1)).first()
    if newest is not None:
        file = files.of(newest)
        yield Note(
            "file",
            file.place.name,
            file.state,
            f"{newest.rows} {KINDS[file.kind].noun}, {clock.age(look.age(file.since))} ago",
        )
    waits = look.connection.execute(select(func.count(), func.min(F.since)).where(F.state == DRAFT)).one()
    if waits[0]:
        said = f"{waits[0]} files wait to go out, the oldest for {clock.age(look.age(waits[1]))}"
        yield Note("file", "drafts", DRAFT, said, look.age(waits[1]) < 86_400)
    yield from looking.notes(look)
    yield from watching.notes(look)
    yield from declared.notes(look)


def stuck(look: Probing) -> Iterator[Stuck]:
    """The oldest windows that did not come whole, and why."""
    query = select(tables.datalogger_window).where(W.state.in_((INCOMPLETE, ERROR))).order_by(W.start, W.id).limit(FEW)
    question = Question("", look.settings, look.connection, look.at, entry=look.entry)
    for window in windows.read(look.connection, query):
        stands = traces.stands(question, window)
        yield Stuck(window.shown, "window", window.state, window.since, stands.said, stands.step)
    yield from declared.stuck(look)
