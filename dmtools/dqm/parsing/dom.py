"""The page as the browser showed it -> a FoundPage. What is not where it must be is told, and never guessed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from dmtools.dqm import record
from dmtools.dqm.parsing import cells, harvest
from dmtools.dqm.parsing.found import (
    CELL,
    FRAGMENT,
    LINK,
    LOG,
    NO_JOBS,
    NO_PAGE,
    ROW,
    RUN,
    FoundJob,
    FoundLink,
    FoundPage,
    NotUnderstood,
    Trouble,
    state_of,
    unique,
)

_BUTTON = b'ng-click="_show_inline = '
_BUTTON_BYTES = 400  # of one with its sign or its word
_COLUMNS = ("timestamp", "hostname", "pid", "state", "tag", "ls", "rss", "total ev.")
_CLASSES = {"success": record.RUNNING, "warning": record.STOPPED, "danger": record.CRASHED}
_HALF = "info"  # the class of a row whose document has not come yet
_LOG_ROW = "_show_inline == 'log'"
_GRAPHS = {"graph-dqm-timestamps-lumi": "file delivery delay", "graph-dqm-events-lumi": "accepted events"}
_NO_LOG = "logfile not available"
_PID = re.compile(r"pid(\d{1,10})$", re.ASCII)
_ID = re.compile(r"/show_?log/([^/?#]+)")


@dataclass(frozen=True)
class _Log:
    """A row with a log: the id that it has itself, and the job whose row stands before it."""

    named: str
    before: FoundJob | None
    row: Any


def read(html: bytes) -> FoundPage:
    """Raises NotUnderstood."""
    text = _without_buttons(_whole(html))
    root = _tree(text)
    page = FoundPage(secrets=harvest.of_page(text))
    page.links = list(_links(root, page))
    page.run = _run(root)
    page.original_run = _original_run(root, page)
    page.runs = _runs(root)
    page.graphs = tuple(_GRAPHS[node.tag] for node in root.iter(*_GRAPHS))
    for body, columns in _tables(root):
        _read_table(body, columns, page)
    unique(page.jobs)
    _refuse_most_wrong(page)
    for job in page.jobs:
        page.secrets |= harvest.of_job(job.id, job.host)
    for link in page.links:
        page.secrets |= harvest.of_host(harvest.host_of(link.uri))
    return page


def _whole(html: bytes) -> bytes:
    """The page in good UTF-8, to its end."""
    text = _utf8(html)
    if b"<html" in text[:1000].lower() and not text[-500:].rstrip().lower().endswith(b"</html>"):
        raise NotUnderstood(Trouble(NO_PAGE, "the end is missing", text[-FRAGMENT:].decode("utf-8", "replace")))
    return text


def _tree(text: bytes) -> Any:
    from lxml import etree

    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, collect_ids=False)
    try:
        root = etree.fromstring(text, parser)
    except (etree.LxmlError, ValueError):
        root = None
    cut = [error for error in parser.error_log if error.level == etree.ErrorLevels.FATAL]
    if root is None or cut:
        raise NotUnderstood(Trouble(NO_PAGE, cut[0].message if cut else "no markup", _start(text)))
    return root


def _utf8(html: bytes) -> bytes:
    try:
        html.decode()
    except UnicodeDecodeError:
        html = html.decode("utf-8", "replace").encode()
    return html.replace(b"\0", b"") if b"\0" in html else html


def _without_buttons(html: bytes) -> bytes:
    """The buttons of a row hold no data and are most of the page. In texts and attributes their signs are written otherwise."""
    first, *anchors = html.split(b"<a ")
    kept = [first]
    for anchor in anchors:
        end = anchor.find(b"</a>", 0, _BUTTON_BYTES)
        is_button = end > 0 and anchor.find(_BUTTON, 0, end) >= 0
        kept.append(anchor[end + 4 :] if is_button else b"<a " + anchor)
    return b"".join(kept)


def _start(text: bytes) -> str:
    return text[:FRAGMENT].decode("utf-8", "replace")


def shown(node: Any) -> str:
    """The text that people see in a place: without what is hidden, and without buttons; blanks are one blank."""
    if len(node) == 0:
        return " ".join((node.text or "").split())
    return " ".join(" ".join(_visible(node)).split())


def _visible(node: Any) -> Iterator[str]:
    if node.text:
        yield node.text
    for child in node:
        if child.tag != "a" and not _hidden(child):
            yield from _visible(child)
        if child.tail:
            yield child.tail


def _hidden(node: Any) -> bool:
    classes = node.get("class")
    return classes is not None and "ng-hide" in classes.split()


def _fragment(node: Any) -> str:
    from lxml import etree

    text: str = etree.tostring(node, encoding="unicode", method="html", with_tail=False)
    return text[:FRAGMENT]


def _links(root: Any, page: FoundPage) -> Iterator[FoundLink]:
    """Anchors that lead nowhere: a websocket's URI, and its state in bold."""
    for node in root.iter("a"):
        if "ng-binding" not in (node.get("class") or "").split() or node.get("href") or node.get("ng-href"):
            continue
        bold = node.find("strong")
        words = (node.text or "").split()
        if bold is None or not words or "://" not in words[0]:
            continue
        link = FoundLink(words[0], shown(bold))
        if not link.word:
            page.troubles.append(Trouble(LINK, link.uri, _fragment(node)))
        yield link


def _run(root: Any) -> int | None:
    """The run that is shown: the bold number of the bar that speaks of the jobs. None: no run is chosen."""
    for bar in root.iter("ol"):
        if "breadcrumb" not in (bar.get("class") or "").split():
            continue
        if not any((span.text or "").strip() == "Known cmssw jobs" for span in bar.iter("span")):
            continue
        bold = next(bar.iter("strong"), None)
        text = shown(bold) if bold is not None else "-"
        if text in ("", "NaN"):
            return None
        try:
            return cells.run(text)
        except ValueError:
            raise NotUnderstood(Trouble(RUN, text, _fragment(bar))) from None
    raise NotUnderstood(Trouble(NO_PAGE, "no bar says: Known cmssw jobs", _start(_fragment(root).encode())))


def _original_run(root: Any, page: FoundPage) -> int | None:
    """Of playback: the map of lumi sections to files, in the title of a bold text, names the run that is played."""
    for place in root.iter("div"):
        if place.get("ng-controller") != "CachedDocumentCtrl":
            continue
        for bold in place.iter("strong"):
            if title := bold.get("title"):
                runs = {int(found) for found in re.findall(r"(?:^|/)run(\d{1,9})(?=/|$|\W)", title, re.ASCII)}
                if len(runs) == 1:
                    return runs.pop()
                page.troubles.append(Trouble(RUN, "of playback", title[:FRAGMENT]))
                return None
    return None


def _runs(root: Any) -> tuple[int, ...]:
    """The old runs that the page names, the newest first."""
    found = set()
    for node in root.iter("a"):
        if {"label-run", "label-info"} <= set((node.get("class") or "").split()):
            text = (node.text or "").strip()
            if re.fullmatch(r"\d{1,9}", text, re.ASCII) and int(text):
                found.add(int(text))
    return tuple(sorted(found, reverse=True))


def _tables(root: Any) -> list[tuple[Any, dict[str, int]]]:
    """The bodies of the tables of jobs, each with the places of its columns."""
    found = []
    for body in root.iter("tbody"):
        if body.attrib:
            continue
        table = body.getparent()
        heads = [shown(th).lower() for head in table.iterchildren("thead") for th in head.iter("th")]
        if not heads:
            if any(row.get("ng-repeat-start") for row in body.iterchildren("tr")):
                heads = [*_COLUMNS, "actions"]
            else:
                continue
        columns = {name: heads.index(name) for name in _COLUMNS if name in heads}
        if {"hostname", "pid"} <= columns.keys():
            if lacking := [name for name in _COLUMNS if name not in columns]:
                raise NotUnderstood(Trouble(NO_JOBS, f"no column {lacking[0]}", " | ".join(heads)[:FRAGMENT]))
            found.append((body, {**columns, "": len(heads)}))
    if not found:
        raise NotUnderstood(Trouble(NO_JOBS, "", _fragment(root)))
    return found


def _read_table(body: Any, columns: dict[str, int], page: FoundPage) -> None:
    if sum(1 for _ in body.iter("tr")) != sum(1 for _ in body.iterchildren("tr")):
        raise NotUnderstood(Trouble(ROW, "a row within a row", _fragment(body)))
    job: FoundJob | None = None
    logs: list[_Log] = []
    for row in body:
        if row.tag != "tr":
            raise NotUnderstood(Trouble(ROW, f"<{row.tag}> among the rows", _fragment(row)))
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
            page.troubles.append(Trouble(LOG, log.named, _fragment(log.row)))
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
        raise NotUnderstood(Trouble(ROW, f"{len(places)} cells, not {columns['']}", _fragment(row)))
    text = {name: shown(places[columns[name]]) for name in _COLUMNS}
    try:
        host = cells.host(text["hostname"])
        pid = cells.count(text["pid"])
    except ValueError:
        raise NotUnderstood(Trouble(ROW, "neither host nor pid", _fragment(row))) from None
    job = FoundJob(id=_id_of(row) or f"{text['tag']}-{pid}-{host}", host=host, pid=pid)
    if (told := _PID.search(job.id)) and pid is not None and int(told[1]) != pid:
        raise NotUnderstood(Trouble(ROW, f"pid {pid} is not that of {job.id}", _fragment(row)))
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
        page.troubles.append(Trouble(CELL, f"{', '.join(dict.fromkeys(wrong))} of {job.id}", _fragment(row)))
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


def _refuse_most_wrong(page: FoundPage) -> None:
    """When most rows have the same kind of trouble, it is the page that is another one."""
    wrong = [trouble for trouble in page.troubles if trouble.what in (CELL, LOG)]
    if page.jobs and len(wrong) > len(page.jobs) / 2:
        raise NotUnderstood(*wrong[:20])


def in_utc(page: FoundPage, grabbed_seconds: float, zone: float | None) -> None:
    """The page's texts of time are of its browser's clock: they are moved to UTC, by the ages that stand beside them.

    `grabbed_seconds`: the instant of the grab since 1970; `zone`: seconds east of UTC, where no age says better.
    """
    offsets = [
        job.at.timestamp() + job.age - grabbed_seconds for job in page.jobs if job.at and job.age is not None and job.age < 7200
    ]
    if offsets:
        middle = sorted(offsets)[len(offsets) // 2]
        quarters = round(middle / 900) * 900
        if abs(middle - quarters) < 240 and abs(quarters) <= 50400:
            zone = quarters
    for job in page.jobs:
        if job.at is not None and zone:
            job.at -= timedelta(seconds=zone)
