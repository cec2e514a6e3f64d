"""A published file that the tables don't know -> its rows, by what it says of itself: so that nothing is asked for twice."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from dmtools import clock
from dmtools.control.passes import Pass
from dmtools.datalogger import check_out, files, hdf5, windows
from dmtools.datalogger.files import F
from dmtools.datalogger.hdf5 import Damaged
from dmtools.datalogger.kinds import KINDS
from dmtools.datalogger.states import ASKED, DONE, EMPTY, FILE_STATES, LOST, OPEN, OWED, PUBLISHED, STATES
from dmtools.datalogger.windows import DEVICE, SCHEDULE, W
from dmtools.ledger import journal, tables
from dmtools.ledger.types import AnyRow

SETTLED = (DONE, EMPTY, LOST)
WHY = "its file was found in its place"


@dataclass(frozen=True)
class Recognised:
    """What a file says of itself: columns of its row, and of the windows that it holds."""

    file: dict[str, Any]
    windows: tuple[dict[str, Any], ...]


def read(path: Path, home: str) -> Recognised:
    """The whole file is read. Raises Damaged when it is none of the schedule's, or not whole; OSError."""
    match = check_out.NAME.fullmatch(path.name)
    kind = next((one.name for one in KINDS.values() if path.name.startswith(one.component)), "")
    hdf5.tables(path)  # is it of this kind?
    with hdf5.opened(path) as file:
        about = dict(file.attrs)
        start, end = _instant(about.get("start")), _instant(about.get("end"))
        series = int(match["series"] or 0) if match else -1
        if about.get("origin") != SCHEDULE or int(about.get("series", -1)) != series or not start or not end:
            raise Damaged(f"{path} says that it is another one: {about.get('origin')}, {about.get('start')}, {about.get('end')}")
        keys = {"kind": kind, "start": start, "end": end}
        held = tuple(_windows(path, file, {**keys, "origin": SCHEDULE}))
    if path.name != files.name(kind, start, end, series):
        raise Damaged(f"{path} says that it holds {start} to {end}")
    size, adler32 = hdf5.adler32(path)
    row = {"home": home, **keys, "origin": SCHEDULE, "series": series, "name": path.name, "state": PUBLISHED, "adopted": 0}
    row |= {"draft": files.text_of(path), "place": files.text_of(path), "dropped": clock.now()}
    return Recognised({**row, "rows": sum(one["rows"] for one in held), "bytes": size, "adler32": adler32}, held)


def _windows(path: Path, file: Any, keys: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, table in file.items():
        said = dict(table.attrs)
        state = said.get("state")
        if state not in SETTLED:
            raise Damaged(f"{path}: the table {name} says that it is {state!r}")
        times = table.dtype.names[0] if "epoch" not in table.dtype.names else "epoch"
        ends = [float(table[n][times]) for n in (0, len(table) - 1)] if len(table) else []
        first, last = (datetime.fromtimestamp(at, UTC) if math.isfinite(at) else None for at in ends) if ends else (None, None)
        yield {
            **keys,
            "name": str(said["device"]) if keys["kind"] == DEVICE else name.removeprefix("Event"),
            "node": str(said.get("node", "")),
            "state": state,
            "rows": len(table),
            "first": first,
            "last": last,
            "stars": int(said.get("stars", 0)),
            "doubles": int(said.get("doubles", 0)),
            "reason": str(said.get("why") or "") or None,
            "upto": _instant(said.get("complete_to")) or keys["end"],
            "forgotten": _instant(said.get("forgotten_before")),
            "asked": _instant(said.get("asked")),
        }
    bare = {"node": "", "state": EMPTY, "rows": 0, "first": None, "last": None, "stars": 0, "doubles": 0, "reason": None}
    for name in str(file.attrs.get("empty", "")).split():  # events that never came have no table
        yield {**keys, **bare, "name": name, "upto": keys["end"], "forgotten": None, "asked": None}


def _instant(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC) if text else None
    except ValueError:
        return None


def book(this: Pass, home: str, path: Path) -> None:
    """Books the file with those of its windows that no other file has. Raises Damaged, OSError."""
    found = read(path, home)
    at = clock.now()
    keys = [found.file[name] for name in ("kind", "start", "end")]
    with this.ledger.read() as connection:
        there = {row.name: row for row in connection.execute(_query(home, keys))}
    got = this.leases.claim([windows.resource(row.id) for row in there.values()])
    try:
        number = this.ledger.transact(lambda c: _book(c, this, home, found, list(got), at))
    finally:
        this.leases.release(list(got))
    if not number:
        raise Damaged(f"{path}: all that it holds is in other files of the tables, or asked for at this moment")


def _query(home: str, keys: list[Any]) -> Any:
    kind, start, end = keys
    mine = (W.home == home, W.kind == kind, W.start == start, W.end == end, W.origin == SCHEDULE)
    return select(tables.datalogger_window).where(*mine)


def _book(connection: Connection, this: Pass, home: str, found: Recognised, held: list[str], at: datetime) -> int:
    """How many windows are in it now; nothing is written for none."""
    keys = [found.file[name] for name in ("kind", "start", "end")]
    there = {row.name: row for row in connection.execute(_query(home, keys))}
    known = set(connection.execute(select(F.id).where(F.home == home)).scalars())
    free = [one for one in found.windows if _is_free(there.get(one["name"]), known, held)]
    series = connection.execute(select(func.count()).where(F.home == home, F.name == found.file["name"])).scalar()
    if not free or series:
        return 0
    done = connection.execute(insert(tables.datalogger_file).values({**found.file, "since": at}))
    number = int((done.inserted_primary_key or (0,))[0])
    journal.record(connection, FILE_STATES, [journal.Move(number, "", PUBLISHED, WHY)], by=this.by, at=at)
    for one in free:
        _window(connection, this, home, {**one, "file_id": number, "draft": None}, there.get(one["name"]), at)
    return len(free)


def _is_free(row: AnyRow | None, known: set[int], held: list[str]) -> bool:
    """May the file have this window? Not when another one has it, or a pass asks for it now."""
    return row is None or (row.file_id not in known and windows.resource(row.id) in held)


def _window(connection: Connection, this: Pass, home: str, one: dict[str, Any], row: AnyRow | None, at: datetime) -> None:
    state, size = one["state"], one["rows"] * KINDS[one["kind"]].row_bytes
    values = {key: value for key, value in one.items() if key not in ("state", "kind", "name", "start", "end", "origin")}
    if row is None:
        new = {"home": home, **one, "since": at, "ready": at, "failures": 0}
        done = connection.execute(insert(tables.datalogger_window).values(new))
        move = journal.Move(int((done.inserted_primary_key or (0,))[0]), "", state, WHY)
        journal.record(connection, STATES, [move], by=this.by, at=at)
        journal.count_new(connection, STATES.pipeline, state, 1, size, at)
        return
    before, had = row.state, 0 if row.state in OPEN else row.rows * KINDS[row.kind].row_bytes
    for between in _road(before, state):
        move = journal.Move(row.id, before, between, WHY, 0, had)
        journal.advance(connection, tables.datalogger_window, STATES, [move], by=this.by, at=at)
        before, had = between, 0
    if before == state:  # as it was: only its file lacked
        connection.execute(update(tables.datalogger_window).where(W.id == row.id).values(values))
        return
    move = journal.Move(row.id, before, state, WHY, size, had, tuple({**values, "error_class": None}.items()))
    journal.advance(connection, tables.datalogger_window, STATES, [move], by=this.by, at=at)


def _road(before: str, after: str) -> list[str]:
    """The states between."""
    if before == after:
        return []
    if before in SETTLED:
        return [OWED, ASKED]
    return [] if before == ASKED else [ASKED]
