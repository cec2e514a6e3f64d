"""The page as the browser showed it -> a FoundPage. What is not where it must be is told, and never guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from dmtools.dqm.parsing import cells, harvest
from dmtools.dqm.parsing.found import (
    CELL,
    FRAGMENT,
    LINK,
    LOG,
    NO_JOBS,
    NO_PAGE,
    RUN,
    FoundLink,
    FoundPage,
    NotUnderstood,
    Trouble,
    unique,
)
from dmtools.dqm.parsing.nodes import fragment, shown
from dmtools.dqm.parsing.rows import COLUMNS, read_table

_BUTTON = b'ng-click="_show_inline = '
_BUTTON_BYTES = 400  # of one with its sign or its word
_GRAPHS = {"graph-dqm-timestamps-lumi": "file delivery delay", "graph-dqm-events-lumi": "accepted events"}
_CANVASES = {"timestamps": "file delivery delay", "events": "accepted events"}


def read(html: bytes) -> FoundPage:
    """Raises NotUnderstood."""
    text = _without_buttons(_whole(html))
    root = _tree(text)
    page = FoundPage(secrets=harvest.of_page(text))
    page.links = list(_links(root, page))
    page.run = _run(root)
    page.original_run = _original_run(root, page)
    page.runs = _runs(root)
    page.graphs = _graphs(root)
    for body, columns in _tables(root):
        read_table(body, columns, page)
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
            page.troubles.append(Trouble(LINK, link.uri, fragment(node)))
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
            raise NotUnderstood(Trouble(RUN, text, fragment(bar))) from None
    raise NotUnderstood(Trouble(NO_PAGE, "no bar says: Known cmssw jobs", _start(fragment(root).encode())))


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


def _graphs(root: Any) -> tuple[str, ...]:
    """What each graph is, in the order in which the grab has them; empty: the page does not say."""
    taken = [node for node in root.iter("canvas") if node.get("data-dm-graph")]
    if not taken:
        return tuple(_GRAPHS[node.tag] for node in root.iter(*_GRAPHS))
    return tuple(_graph(node) for node in taken)


def _graph(canvas: Any) -> str:
    around = next((_GRAPHS[node.tag] for node in canvas.iterancestors(*_GRAPHS)), "")
    return around or _CANVASES.get(canvas.get("data-graph") or "", "")


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
                heads = [*COLUMNS, "actions"]
            else:
                continue
        columns = {name: heads.index(name) for name in COLUMNS if name in heads}
        if {"hostname", "pid"} <= columns.keys():
            if lacking := [name for name in COLUMNS if name not in columns]:
                raise NotUnderstood(Trouble(NO_JOBS, f"no column {lacking[0]}", " | ".join(heads)[:FRAGMENT]))
            found.append((body, {**columns, "": len(heads)}))
    if not found:
        raise NotUnderstood(Trouble(NO_JOBS, "", fragment(root)))
    return found


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
