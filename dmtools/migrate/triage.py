"""Bad and Missing files by error class; those that a person chooses go back to TODO, in lists of their own.

Order: the rows in one transaction (files TODO in new lists, the new lists cut, the old ones settling) -> the directories,
durable -> the rows say where all is. A kill in between is taken on by the monitor, like that of any settling list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, func, or_, select

from dmtools import clock, names
from dmtools.command import Refused
from dmtools.control.orders import who
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.ledger.journal import Move, advance
from dmtools.ledger.leases import HOST
from dmtools.ledger.types import AnyRow
from dmtools.migrate.home import Home
from dmtools.migrate.states import BAD, MISSING, STATES, TODO
from dmtools.spool import folders as at
from dmtools.spool.listfile import Pair
from dmtools.transfers import lists, project
from dmtools.transfers.conclude import conclude
from dmtools.transfers.errors import CLASSES
from dmtools.transfers.lists import ListRow
from dmtools.transfers.plan import CONFLICT

T, F = tables.transfer.c, tables.filelist.c
BATCH = 1000  # files a transaction
EXAMPLES = 3
LATE_SECONDS = 60  # a copy that was canceled may still end at its server
_FILE = (
    *(T.id, T.name, T.source, T.destination, T.place_key, T.size, T.state, T.since, T.list_id, T.overwrite),
    *(T.error_class, T.reason),
)


@dataclass(frozen=True)
class Choice:
    """What a person chose: by class, by a part of the reason, by LFN; nothing: all. `missing`: Missing files too."""

    classes: tuple[str, ...] = ()
    match: str = ""
    lfns: tuple[str, ...] = ()
    missing: bool = False
    why: str = ""

    @property
    def states(self) -> tuple[str, ...]:
        """The states looked at; a file that is named may be in either."""
        return (BAD, MISSING) if self.missing or self.lfns else (BAD,)

    def where(self, home: Home) -> list[Any]:
        """The conditions on `transfer`, joined with `filelist`."""
        found = [T.pipeline == "migrate", T.state.in_(self.states), F.home == home.id]
        if self.classes:
            found.append(T.error_class.in_(self.classes))
        if self.match:
            found.append(func.lower(T.reason).contains(self.match.lower(), autoescape=True))
        return found


@dataclass
class Group:
    """The chosen files of one state and class."""

    state: str
    error_class: str
    files: int
    size: int
    hopeless: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)  # (LFN, reason)

    def record(self) -> dict[str, Any]:
        """For --json."""
        kind = CLASSES.get(self.error_class)
        return {
            "state": self.state,
            "class": self.error_class,
            "meaning": kind.meaning if kind else "",
            "advice": kind.advice if kind else "",
            "files": self.files,
            "bytes": self.size,
            "cannot_be_requeued": self.hopeless,
            "examples": [{"lfn": lfn, "reason": reason} for lfn, reason in self.examples],
        }


def check_classes(wanted: Sequence[str]) -> tuple[str, ...]:
    """The names of error classes as the tables have them. Raises Refused with the near one."""
    from difflib import get_close_matches

    for name in wanted:
        if name.lower() not in CLASSES:
            near = get_close_matches(name.lower(), CLASSES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(CLASSES)}"
            raise Refused(f"there is no error class {name!r}; {hint}")
    return tuple(name.lower() for name in wanted)


def groups(this: Pass, choice: Choice) -> list[Group]:
    """The chosen files by state and class, the most frequent first, with examples of their reasons."""
    home = Home.of(this)
    with this.ledger.read() as connection:
        if choice.lfns:
            return _groups_of_named(_named(connection, home, choice))
        found = _counted(connection, home, choice)
        for group in found:
            where = [*choice.where(home), T.state == group.state, T.error_class == group.error_class]
            query = select(T.name, func.min(T.reason).label("reason")).join(tables.filelist, F.id == T.list_id)
            some = query.where(*where).group_by(T.reason).order_by(func.count().desc()).limit(EXAMPLES)
            group.examples = [(names.shown(row.name), row.reason or "") for row in connection.execute(some)]
    return found


def _counted(connection: Connection, home: Home, choice: Choice) -> list[Group]:
    size = func.coalesce(func.sum(T.size), 0).label("size")
    no_job = or_(T.destination == "", T.reason.startswith(CONFLICT))
    hopeless = func.sum(case((no_job, 1), else_=0)).label("hopeless")
    query = select(T.state, T.error_class, func.count().label("n"), size, hopeless).join(tables.filelist, F.id == T.list_id)
    rows = connection.execute(query.where(*choice.where(home)).group_by(T.state, T.error_class))
    found = [Group(r.state, r.error_class or "other", int(r.n), int(r.size), int(r.hopeless or 0)) for r in rows]
    return sorted(found, key=lambda group: (group.state, -group.files, group.error_class))


def _groups_of_named(files: Sequence[AnyRow]) -> list[Group]:
    found: dict[tuple[str, str], Group] = {}
    for file in files:
        key = (file.state, file.error_class or "other")
        group = found.setdefault(key, Group(*key, 0, 0))
        group.files += 1
        group.size += file.size or 0
        group.hopeless += not can_go(file)
        if len(group.examples) < EXAMPLES:
            group.examples.append((names.shown(file.name), file.reason or ""))
    return list(found.values())


def can_go(file: AnyRow) -> bool:
    """Does the row name a file that a job could move? Rejected lines and second sources of one destination do not."""
    return bool(file.destination) and file.place_key == names.key(file.destination)


def _named(connection: Connection, home: Home, choice: Choice) -> list[AnyRow]:
    """The rows of the LFNs, as they were typed or percent-encoded."""
    keys = {names.key(text) for lfn in choice.lfns for text in names.spellings(lfn)}
    found: list[AnyRow] = []
    for part in chunks(sorted(keys)):
        query = select(*_FILE).join(tables.filelist, F.id == T.list_id).where(*choice.where(home), T.name_key.in_(part))
        found += connection.execute(query.order_by(T.id))
    return found


def requeue(this: Pass, choice: Choice, *, lfns: int) -> int:
    """Puts the chosen files back to TODO, at most `lfns` a list. Gives how many went."""
    home = Home.of(this)
    by = f"{who()} (migrate-triage)"
    done, last = 0, 0
    if choice.lfns:
        with this.ledger.read() as connection:
            chosen = _named(connection, home, choice)
        _tell_unknown(this, home, choice, chosen)
        for start in range(0, len(chosen), BATCH):
            done += _requeue(this, home, chosen[start : start + BATCH], choice, by, lfns)
        return done
    while True:
        with this.ledger.read() as connection:
            query = select(*_FILE).join(tables.filelist, F.id == T.list_id).where(*choice.where(home), T.id > last)
            chosen = list(connection.execute(query.order_by(T.id).limit(BATCH)))
        if not chosen:
            return done
        last = chosen[-1].id
        done += _requeue(this, home, chosen, choice, by, lfns)


def _requeue(this: Pass, home: Home, chosen: Sequence[AnyRow], choice: Choice, by: str, lfns: int) -> int:
    ready = [file for file in chosen if can_go(file)]
    for file in chosen:
        if not can_go(file):
            _tell_hopeless(this, file)
    if this.dry_run:
        _plan(this, home, ready, lfns)
        return len(ready)
    granted = this.leases.claim([f"list/{i}" for i in sorted({file.list_id for file in ready})])
    try:
        with this.ledger.read() as connection:
            old = lists.by_ids(connection, sorted({file.list_id for file in ready}))
        free = {row.id for row in old.values() if row.resource in granted and _is_still(home, row)}
        for row in old.values():
            if row.id not in free:
                _tell_busy(this, home, row, sum(file.list_id == row.id for file in ready))
        ready = [file for file in ready if file.list_id in free]
        if not ready:
            return 0
        cut = _plan(this, home, ready, lfns)
        now = clock.now()
        rows = [old[i] for i in sorted({file.list_id for file in ready})]
        try:
            new = this.ledger.transact(lambda c: _book(c, home, rows, cut, choice, by, now))
        except Stale as problem:
            this.problem("left as it is", f"{len(ready)} files", why=str(problem), left="they stay Bad", next="call again")
            return 0
        with this.ledger.read() as connection:
            fresh = list(lists.by_ids(connection, [row.id for row in rows] + new).values())
        project.rows(this, home.folders, fresh)
        this.ledger.transact(lambda c: conclude(c, fresh, clock.now()))
        for state in (BAD, MISSING):
            this.moved(state, TODO, sum(file.state == state for file in ready))
        return len(ready)
    finally:
        this.leases.release(list(granted))


def _is_still(home: Home, row: ListRow) -> bool:
    """May files leave this list now? Not while a job of it is under way, nor while a person has put it into TODO."""
    by_hand = row.state == lists.DONE and home.folders.has(at.TODO, row.name)
    return (row.state == lists.DONE or (row.state == lists.TODO and bool(row.planned))) and not by_hand


def _cut(home: Home, ready: Sequence[AnyRow], lfns: int) -> list[list[AnyRow]]:
    """One rule a list, and one word on overwriting: a job has no more than one of each."""
    parts: dict[tuple[str, int], list[AnyRow]] = {}
    for file in ready:
        rule = home.rules.match_of(Pair(file.source, file.destination)) or ""
        parts.setdefault((rule, file.overwrite), []).append(file)
    return [part[i : i + lfns] for _, part in sorted(parts.items()) for i in range(0, len(part), lfns)]


def _plan(this: Pass, home: Home, ready: Sequence[AnyRow], lfns: int) -> list[list[AnyRow]]:
    """Which lists will be made; the same words in a dry run and in a real one."""
    cut = _cut(home, ready, lfns)
    for part in cut:
        classes = ", ".join(sorted({file.error_class or "other" for file in part}))
        this.plan(f"a new list in TODO with {len(part)} files that were {part[0].state} ({classes}), from {_first(part)} on")
    return cut


def _first(part: Sequence[AnyRow]) -> str:
    return names.shown(part[0].name)


def _book(
    connection: Connection,
    home: Home,
    old: Sequence[ListRow],
    cut: list[list[AnyRow]],
    choice: Choice,
    by: str,
    now: datetime,
) -> list[int]:
    """The files' and the lists' rows, all or nothing. Gives the ids of the new lists."""
    stamp = clock.stamp(now)
    said = f"requeued by {by}" + (f": {choice.why}" if choice.why else "")
    named = [(f"FTSList-{stamp}-{HOST}-{number}.txt", part) for number, part in enumerate(cut, 1)]
    shared: dict[str, Any] = {"pipeline": "migrate", "home": home.id, "state": lists.CUT, "since": now, "planned": 1}
    lists.add(
        connection,
        [
            {**shared, "name": name, "files": len(part), "parent_id": part[0].list_id, "next_try": _not_before(part, now)}
            for name, part in named
        ],
    )
    made = lists.by_names(connection, "migrate", home.id, [name for name, _ in named])
    moves = [
        Move(
            file.id,
            file.state,
            TODO,
            f"{said} (was {file.error_class}: {file.reason})"[:500],
            file.size or 0,
            values=(("list_id", made[name].id), ("failures", 0), ("error_class", None), ("reason", None)),
        )
        for name, part in named
        for file in part
    ]
    advance(connection, tables.transfer, STATES, moves, by=by, at=now)
    for row in old:
        lists.change(connection, row, lists.SETTLING, now)
    return [row.id for row in made.values()]


def _not_before(part: Sequence[AnyRow], now: datetime) -> datetime | None:
    """What was canceled may still be written for a while by its server."""
    late = [file.since + timedelta(seconds=LATE_SECONDS) for file in part if file.error_class in ("withdrawn", "canceled")]
    return max(late) if late and max(late) > now else None


def _tell_hopeless(this: Pass, file: AnyRow) -> None:
    step = "append the corrected name to a master list"
    this.problem(
        "can't be requeued",
        names.shown(file.name),
        why=f"{file.error_class}: {file.reason}",
        left=f"it stays {file.state}",
        next=step if not file.destination else "give it another destination: a rule of its own, or another name",
        failed=False,
    )


def _tell_busy(this: Pass, home: Home, row: ListRow, files: int) -> None:
    if row.state == lists.DONE and home.folders.has(at.TODO, row.name):
        why, step = "the list was put into TODO by hand already", "nothing: the consumer takes it"
    elif row.state in (lists.DOING, lists.SETTLING):
        why, step = f"the list is {row.state}: a job of it is under way", "call again when the monitor has settled it"
    else:
        why, step = "another command has the list under its hands", "call again in a moment"
    left = f"its {files} chosen files stay as they are"
    this.problem("left for later", row.name, why=why, left=left, next=step, failed=False)


def _tell_unknown(this: Pass, home: Home, choice: Choice, chosen: Sequence[AnyRow]) -> None:
    """Names that chose nothing: what they are instead."""
    known = {file.name for file in chosen}
    for lfn in choice.lfns:
        if known.intersection(names.spellings(lfn)):
            continue
        with this.ledger.read() as connection:
            keys = [names.key(text) for text in names.spellings(lfn)]
            where = (T.pipeline == "migrate", T.name_key.in_(keys), F.home == home.id)
            query = select(T.state, T.error_class).join(tables.filelist, F.id == T.list_id).where(*where)
            row = connection.execute(query).first()
        why = f"it is {row.state}, class {row.error_class}" if row else "no file of this name is Bad or Missing"
        this.problem("not requeued", lfn, why=why, left="nothing was changed", next=f"see: dm-trace {lfn}")
