"""Settling: the outcome of an ended attempt goes into the tables in one transaction; the directories follow (project)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.ledger.journal import Move, States, advance
from dmtools.transfers import lists
from dmtools.transfers.lists import ListRow
from dmtools.transfers.submit import CLOSED, Intent
from dmtools.transfers.verdict import BAD, FILE_COLUMNS, OKAY, OPEN, RETRY, Verdict

J, T = tables.ftsjob.c, tables.transfer.c


@dataclass(frozen=True)
class Ended:
    """An attempt that ended: its list, its job's last word, the verdict on each file."""

    row: ListRow
    intent: Intent
    fts_state: str
    reason: str
    verdicts: Sequence[Verdict]

    @property
    def known(self) -> bool:
        """Is the outcome of every file known? Else nothing is settled."""
        return all(v.outcome != OPEN for v in self.verdicts)


def book(connection: Connection, ended: Sequence[Ended], states: States, *, by: str, at: datetime) -> None:
    """Files to their states, the attempts closed, the lists settling; what is to be tried again may get lists of its own."""
    jobs = [{"_id": e.intent.id, "fts_state": e.fts_state, "reason": e.reason[:500] or None} for e in ended]
    closed = update(tables.ftsjob).where(J.id == bindparam("_id"), J.state != CLOSED)
    new = {"state": CLOSED, "fts_state": bindparam("fts_state"), "reason": bindparam("reason"), "closed": at}
    if connection.execute(closed.values(new), jobs).rowcount != len(jobs):
        raise Stale("an attempt was closed by another command")
    moves: list[Move] = []
    changes: list[tuple[ListRow, str, dict[str, Any]]] = []
    for e in ended:
        homes = _homes_for_the_rest(connection, e, at)
        moves += [_move(v, homes) for v in e.verdicts]
        waits = [v.wait for v in e.verdicts if v.outcome == RETRY and homes.get(v.file.id, e.row.id) == e.row.id]
        next_try = at + timedelta(seconds=max(waits)) if waits else None
        changes.append(
            (e.row, lists.SETTLING, {"next_try": next_try, "waits_for": _reason_to_wait(e.verdicts) if waits else None})
        )
    if moves:
        advance(connection, tables.transfer, states, moves, by=by, at=at)
    lists.change_many(connection, changes, at)


def _move(v: Verdict, homes: dict[int, int]) -> Move:
    """Only what differs is written, beside what another command may have noted meanwhile: files that end alike go together."""
    size = v.size if v.size is not None else v.file.size
    checksum, list_id = v.checksum or v.file.checksum, homes.get(v.file.id, v.file.list_id)
    values: list[tuple[str, Any]] = [
        ("failures", v.failures if v.outcome != OKAY else v.file.failures),
        ("overwrite", int(v.overwrite) or min(0, v.file.overwrite)),  # once foreign, always
        ("error_class", v.error_class),
        ("reason", v.why if v.outcome != OKAY else None),
        ("verified_by", v.verified_by),
    ]
    new = {"list_id": list_id, "size": size, "checksum": checksum}
    values += [(name, value) for name, value in new.items() if value != getattr(v.file, name)]
    if v.error_class == "occupied":
        values.append(("tries", 0))  # no attempt of ours has touched what stands there: it is never overwritten
    return Move(v.file.id, "DOING", v.outcome, v.why, size or 0, size_before=v.file.size or 0, values=tuple(values))


def _reason_to_wait(verdicts: Sequence[Verdict]) -> str | None:
    reasons = sorted({f"{v.error_class}: {v.why}" for v in verdicts if v.outcome == RETRY})
    return "; ".join(reasons)[:500] or None


def _homes_for_the_rest(connection: Connection, ended: Ended, at: datetime) -> dict[int, int]:
    """Which list each file that is tried again belongs to from now on.

    All failed alike: they stay in their list (rule 5). Some finished, or only some may overwrite: lists with the prefix D.
    """
    groups = rest_groups(ended.verdicts)
    partly = any(v.outcome == OKAY for v in ended.verdicts)
    homes: dict[int, int] = {}
    for number, group in enumerate(groups):
        if number == 0 and not partly:
            continue
        row = ended.row
        name = _free_name(connection, row)
        wait = timedelta(seconds=max(v.wait for v in group))
        child = {"pipeline": row.pipeline, "home": row.home, "name": name, "state": lists.CUT, "since": at, "files": len(group)}
        child |= {"planned": 1, "next_try": at + wait, "waits_for": _reason_to_wait(group), "parent_id": row.id}
        lists.add(connection, [child])
        made = lists.by_names(connection, row.pipeline, row.home, [name])[name]
        homes |= {v.file.id: made.id for v in group}
    return homes


def rest_groups(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """The files to be tried again, by what their next job may do: one job has one overwrite flag."""
    rest = [v for v in verdicts if v.outcome == RETRY]
    groups = [[v for v in rest if not v.overwrite], [v for v in rest if v.overwrite]]
    return [group for group in groups if group]


def _free_name(connection: Connection, row: ListRow) -> str:
    name = "D" + row.name
    while name in lists.by_names(connection, row.pipeline, row.home, [name]):
        name = "D" + name
    return name


def split(connection: Connection, row: ListRow, intent: Intent, why: str, states: States, *, by: str, at: datetime) -> None:
    """The server refused the whole job: one bad line must not harm the others, so each half is tried by itself.

    A list of one file has no halves: that file is Bad, with the server's words.
    """
    files = list(connection.execute(select(*FILE_COLUMNS).where(T.job_id == intent.id, T.state == "DOING").order_by(T.id)))
    if len(files) <= 1:
        verdicts = [Verdict(f, BAD, f"the server refused it: {why}", "invalid", f.failures + 1) for f in files]
        book(connection, [Ended(row, intent, "REFUSED", why, verdicts)], states, by=by, at=at)
        return
    half = len(files) // 2
    name = _free_name(connection, row)
    child = {
        "pipeline": row.pipeline,
        "home": row.home,
        "name": name,
        "state": lists.CUT,
        "since": at,
        "files": len(files) - half,
    }
    lists.add(connection, [child | {"planned": 1, "parent_id": row.id}])
    made = lists.by_names(connection, row.pipeline, row.home, [name])[name]
    said = f"the server refused the job as a whole ({why}); its halves are tried apart"
    verdicts = [Verdict(f, RETRY, said, "invalid", f.failures, f.overwrite > 0) for f in files]
    connection.execute(
        update(tables.ftsjob).where(J.id == intent.id).values(state=CLOSED, fts_state="REFUSED", reason=why[:500], closed=at)
    )
    moves = [_move(v, {f.id: made.id for f in files[half:]}) for v in verdicts]
    advance(connection, tables.transfer, states, moves, by=by, at=at)
    lists.change(connection, row, lists.SETTLING, at, next_try=None, waits_for=said[:500])


def open_files(connection: Connection, list_ids: Sequence[int]) -> dict[int, int]:
    """How many files of each list are not terminal."""
    found: dict[int, int] = {}
    for part in chunks(list_ids):
        query = select(T.list_id, func.count()).where(T.list_id.in_(part), T.state.in_((RETRY, "DOING"))).group_by(T.list_id)
        found |= {row[0]: row[1] for row in connection.execute(query)}
    return found
