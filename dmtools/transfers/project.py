"""Tables -> directories: writes for each list the files that its rows say, and takes away what they don't say. Repeatable."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.types import AnyRow
from dmtools.names import encode
from dmtools.spool import folders as at
from dmtools.spool import listfile
from dmtools.spool.folders import Folders
from dmtools.spool.listfile import Pair
from dmtools.transfers import lists
from dmtools.transfers.lists import ListRow
from dmtools.transfers.submit import ABANDONED, CLOSED

J, T, M = tables.ftsjob.c, tables.transfer.c, tables.master.c
_FOLDER = {"TODO": at.TODO, "DOING": at.DOING, "Okay": at.OKAY, "Bad": at.BAD, "Missing": at.MISSING}


@dataclass
class Content:
    """All that the tables know of one list."""

    row: ListRow
    files: list[AnyRow] = field(default_factory=list)
    job: AnyRow | None = None  # the newest attempt
    dirty: list[AnyRow] = field(default_factory=list)  # every file of a FINISHEDDIRTY job
    master: AnyRow | None = None


def load(connection: Connection, rows: Sequence[ListRow]) -> list[Content]:
    """Reads what the tables know of these lists: four queries, however many lists."""
    found = {row.id: Content(row) for row in rows}
    columns = (T.id, T.source, T.destination, T.state, T.list_id, T.job_id, T.error_class, T.reason, T.failures, T.overwrite)
    for part in chunks(list(found)):
        for file in connection.execute(select(*columns).where(T.list_id.in_(part)).order_by(T.id)):
            found[file.list_id].files.append(file)
        jobs = select(J.id, J.list_id, J.attempt, J.server, J.sid, J.job, J.vo, J.state, J.fts_state).where(J.list_id.in_(part))
        for job in connection.execute(jobs.order_by(J.list_id, J.attempt)):
            found[job.list_id].job = job
    dirty = {
        c.job.id: c for c in found.values() if c.job is not None and c.job.state == CLOSED and c.job.fts_state == "FINISHEDDIRTY"
    }
    for part in chunks(list(dirty)):
        for file in connection.execute(select(*columns).where(T.job_id.in_(part)).order_by(T.id)):
            dirty[file.job_id].dirty.append(file)
    masters = {row.master_id for row in rows if row.master_id is not None}
    names = {m.id: m for m in connection.execute(select(M.id, M.name).where(M.id.in_(masters)))} if masters else {}
    for content in found.values():
        content.master = names.get(content.row.master_id) if content.row.master_id is not None else None
    return list(found.values())


def rows(this: Pass, folders: Folders, found: Sequence[ListRow]) -> None:
    """Directories after tables, for these lists."""
    with this.ledger.read() as connection:
        contents = load(connection, found)
    write(folders, contents)


def write(folders: Folders, contents: Sequence[Content]) -> None:
    """Writes first, durable; only then removes what is no longer said: a crash leaves a file too many, never too few."""
    put: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    drop: dict[str, list[str]] = defaultdict(list)
    for content in contents:
        for folder in (at.DIRTY, at.OKAY, at.BAD, at.MISSING, at.DOING, at.TODO):
            data = text(content, folder)
            if folder == at.DIRTY and data is not None and is_recorded(folders, content):
                continue
            if data is not None:
                put[folder].append((content.row.name, data))
            elif folder != at.DIRTY and not _unplanned(content.row, folder):
                drop[folder].append(content.row.name)
    for folder, files in put.items():
        folders.put_many(folder, files)
    for folder, names in drop.items():
        folders.drop_many(folder, names)


def _unplanned(row: ListRow, folder: str) -> bool:
    """A list in TODO without rows for its files: its content is its file (or the master list), not the tables."""
    return folder == at.TODO and not row.planned


def is_recorded(folders: Folders, content: Content) -> bool:
    """Does DONE/Dirty hold this job's record already? Later its files belong to other jobs, so it is not written again."""
    try:
        found = listfile.read(folders.path(at.DIRTY, content.row.name))
    except (FileNotFoundError, listfile.ListUnreadable):
        return False
    return found.notes.get("job") == content.job.job if content.job is not None else False


def text(content: Content, folder: str) -> bytes | None:
    """What the tables say a folder holds for this list; None: nothing."""
    if folder == at.DIRTY:
        if not content.dirty or content.job is None:
            return None
        return listfile.text([_pair(f) for f in content.dirty], [_origin(content, job=content.job.job)])
    files = [f for f in content.files if _FOLDER[f.state] == folder]
    if folder == at.DOING and not is_open(content):
        files = []
    if not files:
        return None
    notes = [_origin(content)]
    if folder == at.DOING and content.job is not None:
        job = content.job
        intent = {
            "attempt": job.attempt,
            "server": job.server,
            "sid": job.sid,
            "job": job.job,
            "vo": encode(job.vo.encode("utf-8")),
        }
        notes = [_origin(content, **intent, **_before(files))]
    elif folder == at.TODO:
        notes = [_origin(content, attempt=content.row.attempt, **_before(files))]
    pairs = [_pair(f) for f in files if f.destination]
    reasons = {_pair(f): f"{f.error_class}: {f.reason}" for f in files if f.reason and folder in (at.BAD, at.MISSING)}
    tail = [line for f in files if not f.destination for line in (f"{f.error_class}: {f.reason}", f"! {f.source}")]
    return listfile.text(pairs, notes, reasons, tail)


def _before(files: Sequence[AnyRow]) -> dict[str, Any]:
    """What earlier attempts left, for tables that are rebuilt: how often at most a file failed, and may it be replaced."""
    failures = max(f.failures for f in files)
    return {"failures": failures or None, "overwrite": 1 if any(f.overwrite > 0 for f in files) else None}


def is_open(content: Content) -> bool:
    """Is its newest attempt open?"""
    return content.job is not None and content.job.state not in (CLOSED, ABANDONED) and content.row.state == lists.DOING


def _origin(content: Content, **intent: Any) -> str:
    """The note from which lost tables are rebuilt: which bytes of which master list these files were."""
    row = content.row
    words: dict[str, Any] = {"list": row.name}
    if content.master is not None and row.start is not None and row.length is not None:
        words |= {"master": content.master.name, "bytes": f"{row.start}-{row.start + row.length}"}
    return listfile.note(**words, **intent)


def _pair(file: AnyRow) -> Pair:
    return Pair(file.source, file.destination)
