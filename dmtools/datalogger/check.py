"""dm-check for datalogger: windows, their drafts, files that are out, what killed passes left, the statistics. Reads only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from dmtools import clock
from dmtools.control import checking
from dmtools.control.checking import Counts, Finding, Inspection
from dmtools.control.passes import Pass
from dmtools.datalogger import files, wall, windows
from dmtools.datalogger.files import F, File, path_of
from dmtools.datalogger.kinds import KINDS, table
from dmtools.datalogger.states import ASKED, DONE, DRAFT, INCOMPLETE, LOST, OPEN
from dmtools.datalogger.windows import SCHEDULE, W, Window
from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow
from dmtools.spool.folders import known_id

SETTLED = timedelta(minutes=10)  # a hidden file that is older is written by nobody any more
ROWS = re.compile(r".+-(?P<home>[0-9a-f]{8})-(?P<window>\d+)\.rows")
DRAFTED = re.compile(r"\.?draft-(?P<home>[0-9a-f]{8})-.+\.h5(\.part)?")
HIDDEN = re.compile(r"\.(params|events)-\d{8}T.+\.h5(\.part|\.converted|\.converted\.part)")
AGAIN = "it is owed again, from its start"


def finding(rule: str, subject: str, says: str, mend: str = "", next: str = "", item: int = 0) -> Finding:
    """A disagreement of datalogger."""
    return Finding("datalogger", rule, subject, says, mend, next, item=item)


def note(rule: str, subject: str, says: str, next: str = "", mend: str = "", item: int = 0) -> Finding:
    """Something that a pass settles, or that nobody can mend."""
    return Finding("datalogger", rule, subject, says, mend, next, note=True, item=item)


def check(inspection: Inspection) -> Iterator[Finding]:
    """Every disagreement of this HOME's datalogger part; bytes of files that are out only as far as `storage` says."""
    from dmtools.datalogger import check_out, check_statistics

    this, home = inspection.this, known_id(inspection.this.home)
    if not home:
        return  # no pass was ever here
    with this.ledger.read() as connection:
        yield from checking.compare_counts("datalogger", checking.tally_of(connection, "datalogger"), counted(connection))
        yield from broken(connection, home)
        yield from _lost(connection, home)
        yield from _holes(connection, this, home)
        known = files_of(connection, home)
    busy = checking.held(this)
    for place in draft_places(this, known):
        yield from _drafts_unknown(this, home, place, busy)
    for place in out_places(this, known):
        yield from _hidden(place, known, busy)
    yield from check_out.check(inspection, known)
    yield from check_statistics.check(this, known)


def counted(connection: Connection) -> Counts:
    """The counts by the rows: bytes of windows that are over, as drafted rows."""
    found: Counts = {}
    query = select(W.state, W.kind, func.count(), func.coalesce(func.sum(W.rows), 0)).group_by(W.state, W.kind)
    for state, kind, number, rows in connection.execute(query):
        n, size = found.get(state, (0, 0))
        found[state] = (n + int(number), size + (0 if state in OPEN else int(rows) * KINDS[kind].row_bytes))
    return found


def files_of(connection: Connection, home: str) -> dict[str, File]:
    """The files of this HOME by their place, published or not."""
    found = (files.of(row) for row in connection.execute(select(tables.datalogger_file).where(F.home == home)))
    return {str(file.place): file for file in found}


def draft_places(this: Pass, known: dict[str, File]) -> list[Path]:
    """Where this HOME drafts: as the settings say, and where a file by hand still waits."""
    waiting = {file.draft.parent for file in known.values() if file.state == DRAFT}
    return _there({this.settings.path(this.settings.datalogger.draft), *waiting})


def out_places(this: Pass, known: dict[str, File]) -> list[Path]:
    """Where hidden copies may be: in the directory of the settings, and where a file by hand is to go."""
    waiting = {file.place.parent for file in known.values() if file.state == DRAFT}
    return _there({this.settings.path(this.settings.datalogger.out), *waiting})


def _there(places: set[Path]) -> list[Path]:
    return sorted(place for place in places if place.is_dir())


# ---- windows


def broken(connection: Connection, home: str) -> Iterator[Finding]:
    """Windows of which samples are booked that no draft and no file has."""
    query = select(tables.datalogger_window).join(tables.datalogger_file, W.file_id == F.id, isouter=True).where(W.home == home)
    for one in windows.read(connection, query.where(W.file_id.is_not(None), F.id.is_(None))):
        yield finding("file-unknown", one.shown, f"it is {one.state} in a file that the tables don't know", AGAIN, item=one.id)
    booked = query.where(W.rows > 0, W.state.in_((ASKED, INCOMPLETE, DONE, LOST)))
    for one in windows.read(connection, booked.where(W.file_id.is_(None), W.draft.is_(None))):
        yield finding(
            "in-no-file", one.shown, f"{one.rows} samples of it are booked, in no draft and no file", AGAIN, item=one.id
        )
    short = booked.where(W.draft.is_not(None), F.id.is_(None) | ((F.state == DRAFT) & F.adler32.is_(None)))
    for one in windows.read(connection, short):
        if is_short(one):
            says = f"{one.rows} samples of it are booked, and its draft {path_of(one.draft or '')} lacks some or all of them"
            yield finding("draft-short", one.shown, says, AGAIN, item=one.id)


def is_short(window: Window) -> bool:
    """Does the draft hold fewer samples than are booked?"""
    try:
        return window.draft is None or path_of(window.draft).stat().st_size < window.rows * window.of_kind.row_bytes
    except OSError:
        return True


def _lost(connection: Connection, home: str) -> Iterator[Finding]:
    """Not to be mended: told, so that it is known."""
    query = select(func.count(), func.min(W.start), func.max(W.end), func.min(W.name)).where(W.home == home, W.state == LOST)
    number, first, last, name = connection.execute(query).one()
    if number:
        says = f"{number} windows between {first:%Y-%m-%d} and {last:%Y-%m-%d} are lost, such as one of {name}"
        yield note("lost", "windows", says, f"nothing can bring them back; why it came so: dm-trace {name}")


def _holes(connection: Connection, this: Pass, home: str) -> Iterator[Finding]:
    """Days between those of a device that the tables don't have: no pass would ever ask for them."""
    for one in holes(connection, this, home):
        says = "the tables have the days before and after it, and not this one"
        yield finding("window-gone", f"{table(one['kind'], one['name'])} {wall.text(one['start'])}", says, "it is owed")


def holes(connection: Connection, this: Pass, home: str) -> Iterator[dict[str, Any]]:
    """What `windows.make` takes, of each such day; days before [datalogger] since are not owed."""
    found = this.settings.datalogger
    zone, since = ZoneInfo(found.timezone), date.fromisoformat(found.since or "1970-01-01")
    columns = (W.kind, W.name, W.node, W.start, W.end)
    query = select(*columns).where(W.home == home, W.origin == SCHEDULE).order_by(W.kind, W.name, W.start)
    before: AnyRow | None = None
    for row in connection.execute(query):
        if before is not None and (before.kind, before.name) == (row.kind, row.name) and before.end < row.start:
            for start, end in wall.days(max(since, before.end.astimezone(zone).date()), row.start, zone):
                keys = {"kind": row.kind, "name": row.name, "node": row.node, "origin": SCHEDULE}
                yield {**keys, "start": start, "end": end}
        before = row


# ---- directories


def _drafts_unknown(this: Pass, home: str, place: Path, busy: set[str]) -> Iterator[Finding]:
    """What this HOME drafted and no row speaks of any more."""
    for path in unknown_drafts(this, home, place, busy):
        yield note("draft-left", str(path), "a draft that no window and no file of the tables has", mend="it is removed")


def unknown_drafts(this: Pass, home: str, place: Path, busy: set[str]) -> list[Path]:
    """Drafts of this HOME in the directory that no row names and no living pass has under its hands."""
    with this.ledger.read() as connection:
        wanted = {path_of(text) for text in connection.execute(select(W.draft).where(W.draft.is_not(None))).scalars() if text}
        kept = select(F.id, F.draft).where(F.dropped.is_(None))
        drafts = {path_of(row.draft): f"datalogger-file/{row.id}" for row in connection.execute(kept)}
    found = []
    for name in sorted(os.listdir(place)):
        path, rows, drafted = place / name, ROWS.fullmatch(name), DRAFTED.fullmatch(name)
        match = rows or drafted
        if match is None or match["home"] != home[:8]:
            continue
        if rows and path not in wanted and windows.resource(int(rows["window"])) not in busy:
            found.append(path)
        whole = path.with_name(name.removeprefix(".").removesuffix(".part"))
        if drafted and (whole not in drafts or (whole != path and drafts[whole] not in busy)):
            found.append(path)
    return [path for path in found if is_settled(path)]


def is_settled(path: Path) -> bool:
    """Has nobody written there for a while?"""
    try:
        return path.lstat().st_mtime < (clock.now() - SETTLED).timestamp()
    except OSError:
        return False


def _hidden(place: Path, known: dict[str, File], busy: set[str]) -> Iterator[Finding]:
    for path in hidden(place, known, busy):
        says = "a hidden copy, left by a pass that is gone; no reader ever sees it"
        yield note("copy-left", str(path), says, mend="it is removed; the next pass copies what is to be copied")


def hidden(place: Path, known: dict[str, File], busy: set[str]) -> list[Path]:
    """Hidden copies of files of this HOME that no living pass makes, or of nobody's and old."""
    found = []
    for name in sorted(os.listdir(place)):
        if HIDDEN.fullmatch(name) is None:
            continue
        path = place / name
        file = known.get(str(path.with_name(name.removeprefix(".").partition(".h5")[0] + ".h5")))
        if (file is None or file.resource not in busy) and is_settled(path):
            found.append(path)
    return found
