"""The rows of the table of jobs: each a job, by its own id; its log where that id says."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from dmtools.dqm import record
from dmtools.dqm.parsing import cells
from dmtools.dqm.parsing.found import CELL, LOG, ROW, FoundJob, FoundPage, NotUnderstood, Trouble, state_of
from dmtools.dqm.parsing.nodes import fragment, shown

COLUMNS = ("timestamp", "hostname", "pid", "state", "tag", "ls", "rss", "total ev.")
_CLASSES = {"success": record.RUNNING, "warning": record.STOPPED, "danger": record.CRASHED}
_HALF = "info"  # the class of a row whose document has not come yet
_LOG_ROW = "_show_inline == 'log'"
_NO_LOG = "logfile not available"
_PID = re.compile(r"pid(\d{1,10})$", re.ASCII)
_ID = re.compile(r"/show_?log/([^/?#]+)")


@dataclass(frozen=True)
class _Log:
    """A row with a log: the id that it has itself, and the job whose row stands before it."""

    named: str
    before: FoundJob | None
    row: Any


def read_table(body: Any, columns: dict[str, int], page: FoundPage) -> None:
    """Adds the jobs of one table to the page. `columns`: the place of each, and "" their number. Raises NotUnderstood."""
    if sum(1 for _ in body.iter("tr")) != sum(1 for _ in body.iterchildren("tr")):
        raise NotUnderstood(Trouble(ROW, "a row within a row", fragment(body)))
    job: FoundJob | None = None
    logs: list[_Log] = []
    for row in body:
        if row.tag != "tr":
            raise NotUnderstood(Trouble(ROW, f"<{row.tag}> among the rows", fragment(row)))
        condition = row.get("ng-if")
        if condition is None:
            job = _job(row, columns, page)
            page.jobs.append(job)
        elif condition == _LOG_ROW:
            logs.append(_Log(_id_of(row), job, row))
    _give_logs(logs, page)


def _give_logs(logs: list[_Log], page: FoundPage) -> None:
    """Each to the job whose id it has, or that stands just before it; of two for one job nobody knows which is its own."""
    by_id = {one.id: one for one in page.jobs}
    owners = [by_id.get(log.named) if log.named else log.before for log in logs]
    rivals = Counter(id(log.before) for log in logs if not log.named or log.named not in by_id)
    taken = Counter(map(id, owners))
    for log, owner in zip(logs, owners, strict=True):
        if owner is None or taken[id(owner)] > 1 or (not log.named and rivals[id(owner)] > 1):
            page.troubles.append(Trouble(LOG, log.named, fragment(log.row)))
        else:
            owner.logs = _parts(log.row)


def _id_of(row: Any) -> str:
    """The id of the document that a row shows: it is in the address of the whole log, or the grab wrote it there."""
    for name in ("data-dm-log-of", "data-dm-job", "data-id"):
        if row.get(name):
            return str(row.get(name))
    for link in row.iter("a"):
        if found := _ID.search(link.get("href") or link.get("ng-href") or ""):
            return unquote(found[1])
    return ""


def _parts(row: Any) -> tuple[str, ...]:
    parts = ["".join(node.itertext()).strip() for node in row.iter("dqm-log")]
    return tuple(dict.fromkeys(part for part in parts if part and part != _NO_LOG))


def _job(row: Any, columns: dict[str, int], page: FoundPage) -> FoundJob:
    places = list(row.iterchildren("td"))
    if len(places) != columns[""]:
        raise NotUnderstood(Trouble(ROW, f"{len(places)} cells, not {columns['']}", fragment(row)))
    text = {name: shown(places[columns[name]]) for name in COLUMNS}
    try:
        host = cells.host(text["hostname"])
        pid = cells.count(text["pid"])
    except ValueError:
        raise NotUnderstood(Trouble(ROW, "neither host nor pid", fragment(row))) from None
    job = FoundJob(id=_id_of(row) or f"{text['tag']}-{pid}-{host}", host=host, pid=pid)
    if (told := _PID.search(job.id)) and pid is not None and int(told[1]) != pid:
        raise NotUnderstood(Trouble(ROW, f"pid {pid} is not that of {job.id}", fragment(row)))
    wrong = []
    for name, read_it in (
        ("timestamp", _time),
        ("state", _state),
        ("tag", _tag),
        ("ls", _lumi),
        ("rss", _rss),
        ("total ev.", _events),
    ):
        try:
            read_it(job, text[name])
        except ValueError:
            wrong.append(name)
    if not _state_agrees(row, job):
        wrong.append("state")
    if wrong:
        page.troubles.append(Trouble(CELL, f"{', '.join(dict.fromkeys(wrong))} of {job.id}", fragment(row)))
    return job if len(wrong) < 2 else FoundJob(id=job.id, host=job.host, pid=job.pid)  # who knows whose cells the others are


def _time(job: FoundJob, text: str) -> None:
    job.at, job.age = cells.time_and_age(text)


def _state(job: FoundJob, text: str) -> None:
    job.exit_code = cells.exit_code(text)
    job.state = state_of(job.exit_code)


def _tag(job: FoundJob, text: str) -> None:
    job.tag = cells.tag(text)


def _lumi(job: FoundJob, text: str) -> None:
    job.lumi = cells.count(text, 1_000_000)


def _rss(job: FoundJob, text: str) -> None:
    job.rss_bytes = cells.rss(text)


def _events(job: FoundJob, text: str) -> None:
    job.events, job.rate = cells.events(text)


def _state_agrees(row: Any, job: FoundJob) -> bool:
    """The colour of the row says the state a second time; where both differ nobody knows it."""
    colours = set((row.get("class") or "").split()) & {*_CLASSES, _HALF}
    if not colours:
        return True
    if colours == {_HALF}:
        job.state, job.exit_code = record.UNKNOWN, None
        return True
    if job.state == record.UNKNOWN:
        return True  # told already
    if colours != {colour for colour, state in _CLASSES.items() if state == job.state}:
        job.state, job.exit_code = record.UNKNOWN, None
        return False
    return True
