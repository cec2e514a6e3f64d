"""documents.json, what the page's own endpoint gave -> the same FoundPage as the page itself gives."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from dmtools.dqm.parsing import cells, harvest
from dmtools.dqm.parsing.found import (
    CELL,
    DOCUMENT,
    FRAGMENT,
    RUN,
    FoundJob,
    FoundPage,
    NotUnderstood,
    Trouble,
    state_of,
    unique,
)

_JOB, _PLAYBACK = "dqm-source-state", "dqm-playback"
_FIELDS = ("state", "timestamp", "tag", "cmssw_lumi", "rss", "events_total", "events_rate", "log")
_RSS = re.compile(r"(\d{1,12}) kB", re.ASCII)


def read(data: bytes) -> FoundPage:
    """Raises NotUnderstood."""
    text = data.decode("utf-8", "replace")
    try:
        said = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise NotUnderstood(Trouble(DOCUMENT, "no JSON", text[:FRAGMENT])) from None
    documents = said.get("documents") if isinstance(said, dict) else said
    if not isinstance(documents, list) or not all(isinstance(one, dict) for one in documents):
        raise NotUnderstood(Trouble(DOCUMENT, "no list of documents", text[:FRAGMENT]))
    page = FoundPage(secrets=harvest.of_page(data))
    page.run, page.runs = _runs(said if isinstance(said, dict) else {}, documents)
    for one in documents:
        if _run(one.get("run")) != page.run:
            continue
        if one.get("type") == _JOB:
            page.jobs.append(_job(one, page))
        elif one.get("type") == _PLAYBACK:
            _playback(one, page)
    unique(page.jobs)
    if len(page.troubles) > max(1, len(page.jobs)) / 2:
        raise NotUnderstood(*page.troubles[:20])
    page.jobs.sort(key=lambda job: (job.tag or "", job.pid or 0, job.id))
    for job in page.jobs:
        page.secrets |= harvest.of_job(job.id, job.host)
    return page


def _runs(said: dict[str, Any], documents: list[dict[str, Any]]) -> tuple[int | None, tuple[int, ...]]:
    """The run that is shown, and all that are named, the newest first."""
    named = said.get("runs")
    known = {run for one in documents if (run := _run(one.get("run")))}
    runs = {run for one in named if (run := _run(one))} if isinstance(named, list) else known
    run = _run(said.get("run"))
    return run or max(known, default=None), tuple(sorted(runs, reverse=True))


def _run(value: Any) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value, re.ASCII):
        value = int(value)
    return value if _is_count(value, cells.RUN_MOST) and value else None


def _job(one: dict[str, Any], page: FoundPage) -> FoundJob:
    identity = one.get("_id")
    try:
        if not isinstance(identity, str) or not identity:
            raise ValueError("no _id")
        host = cells.host(_text(one.get("hostname")))
    except ValueError:
        raise NotUnderstood(Trouble(DOCUMENT, "neither _id nor host", _fragment(one))) from None
    pid = one.get("pid")
    job = FoundJob(id=identity, host=host, pid=pid if _is_count(pid, 10**9) else None)
    wrong = []
    for name in _FIELDS:
        try:
            _READ[name](job, one)
        except ValueError:
            wrong.append(name)
    if wrong:
        page.troubles.append(Trouble(CELL, f"{', '.join(wrong)} of {identity}", _fragment(one)))
    return job


def _state(job: FoundJob, one: dict[str, Any]) -> None:
    code = one.get("exit_code")
    if isinstance(code, str):
        code = cells.exit_code(code)
    if code is not None and (isinstance(code, bool) or not isinstance(code, int) or abs(code) > 999_999):
        raise ValueError("no exit code")
    job.exit_code, job.state = code, state_of(code)


def _time(job: FoundJob, one: dict[str, Any]) -> None:
    at = one.get("timestamp")
    if at is None:
        return
    if not _is_number(at) or not 0 < at < 4_000_000_000:
        raise ValueError("no instant")
    job.at = datetime.fromtimestamp(math.floor(at), UTC)


def _tag(job: FoundJob, one: dict[str, Any]) -> None:
    job.tag = cells.tag(_text(one.get("tag")))


def _lumi(job: FoundJob, one: dict[str, Any]) -> None:
    job.lumi = _count(one.get("cmssw_lumi"), 1_000_000)


def _rss(job: FoundJob, one: dict[str, Any]) -> None:
    size = _of(one.get("extra"), "ps_info").get("VmRSS")
    if size is None:
        return
    found = _RSS.fullmatch(size) if isinstance(size, str) else None
    if not found:
        raise ValueError("no memory")
    job.rss_bytes = int(found[1]) << 10


def _events(job: FoundJob, one: dict[str, Any]) -> None:
    job.events = _count(one.get("events_total"), 10**15)


def _rate(job: FoundJob, one: dict[str, Any]) -> None:
    rate = one.get("events_rate")
    if rate is not None and (not _is_number(rate) or not 0 <= rate < 10**9):
        raise ValueError("no rate")
    job.rate = None if rate is None else float(rate)


def _log(job: FoundJob, one: dict[str, Any]) -> None:
    extra = one.get("extra")
    parts = []
    for name in ("stdlog_start", "stdlog_end"):
        lines = extra.get(name) if isinstance(extra, dict) else None
        if lines is None:
            continue
        if isinstance(lines, str):
            lines = [lines]
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise ValueError("no log")
        parts.append("\n".join(line.rstrip("\n") for line in lines).strip())
    job.logs = tuple(dict.fromkeys(filter(None, parts)))


_READ = dict(zip(_FIELDS, (_state, _time, _tag, _lumi, _rss, _events, _rate, _log), strict=True))


def _playback(one: dict[str, Any], page: FoundPage) -> None:
    files = _of(one.get("extra"), "ls_map").values()
    runs = {
        int(run) for file in files if isinstance(file, str) for run in re.findall(r"(?:^|/)run(\d{1,9})(?=/|$)", file, re.ASCII)
    }
    if len(runs) == 1:
        page.original_run = runs.pop()
    elif runs:
        page.troubles.append(Trouble(RUN, "of playback", _fragment(one)))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError("no text")
    return value


def _of(value: Any, name: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _count(value: Any, most: int) -> int | None:
    if isinstance(value, str):
        return cells.count(value, most)
    if value is None or value == -1:
        return None
    if not _is_count(value, most):
        raise ValueError("no number")
    return int(value)


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _fragment(one: dict[str, Any]) -> str:
    return json.dumps(one, default=str)[:FRAGMENT]
