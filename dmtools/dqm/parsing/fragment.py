"""page.html: the record for people, as a fragment. All text is escaped; no script, no style, no address of another place."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from dmtools import clock
from dmtools.dqm import record
from dmtools.dqm.record import Job, Page

_COLUMNS = ("Time (UTC)", "Age", "Host", "State", "Tag", "LS", "RSS", "Events", "Log")
_DASH = "–"


def of(page: Page) -> bytes:
    """UTF-8; docs/dqm.md has its shape."""
    return "\n".join([*_head(page), *_servers(page), *_jobs(page), *_graphs(page), "</article>", ""]).encode()


def _head(page: Page) -> Iterator[str]:
    run = _DASH if page.run is None else str(page.run)
    number = "" if page.run is None else str(page.run)
    grabbed = f'data-grabbed="{_instant(page.grabbed)}"'
    yield f'<article class="dqm-page" data-site="{escape(page.site)}" data-run="{number}" {grabbed}>'
    original = f' <span class="original">replay of run {page.original_run}</span>' if page.original_run else ""
    yield f"<h2>Run <strong>{run}</strong>{original}</h2>"


def _servers(page: Page) -> Iterator[str]:
    yield '<table class="servers"><caption>Servers</caption><thead><tr><th scope="col">Server</th><th scope="col">Link</th></tr>'
    yield "</thead><tbody>"
    for link in page.links:
        said = escape(link.said) or _DASH
        yield f'<tr class="{_one_of(link.state, (record.OPEN, record.CLOSED))}"><td>{escape(link.name)}</td><td>{said}</td></tr>'
    yield "</tbody></table>"


def _one_of(word: str, words: tuple[str, ...]) -> str:
    return word if word in words else record.OTHER


def _jobs(page: Page) -> Iterator[str]:
    told = " ".join(f'<span class="{state}">{state} {n}</span>' for state, n in record.counts(page.jobs).items())
    yield f'<p class="counts"><strong>{len(page.jobs)}</strong> jobs: {told}</p>'
    heads = "".join(f'<th scope="col">{column}</th>' for column in _COLUMNS)
    yield f'<table class="jobs"><caption>Jobs</caption><thead><tr>{heads}</tr></thead><tbody>'
    yield from map(_row, page.jobs)
    yield "</tbody></table>"


def _row(job: Job) -> str:
    state = job.state if job.state in record.JOB_STATES else record.UNKNOWN
    code = f" {job.exit_code}" if job.exit_code else ""
    at = "" if job.at is None else f' data-at="{_instant(job.at)}"'
    events = _DASH if job.events is None else f"{job.events}{'' if job.rate is None else f' ({job.rate:g}/s)'}"
    cells = (
        ("at", _DASH if job.at is None else f"{job.at:%Y-%m-%d %H:%M:%S}"),
        ("age", _DASH if job.age is None else clock.age(job.age)),
        ("host", escape(job.host)),
        ("state", state + code),
        ("tag", _DASH if job.tag is None else escape(job.tag)),
        ("lumi", _DASH if job.lumi is None else str(job.lumi)),
        ("rss", _DASH if job.rss_bytes is None else f"{job.rss_bytes >> 20} MB"),
        ("events", events),
        ("log", _DASH if job.log is None else f'<a href="{escape(job.log)}">log</a>'),
    )
    texts = "".join(f'<td class="{name}">{text}</td>' for name, text in cells)
    return f'<tr class="{state}" data-key="{escape(job.key)}"{at}>{texts}</tr>'


def _graphs(page: Page) -> Iterator[str]:
    if not page.graphs:
        return
    yield '<section class="graphs">'
    for graph in page.graphs:
        name = escape(graph.name)
        yield f'<figure><img src="{escape(graph.file)}" alt="graph: {name}"><figcaption>{name}</figcaption></figure>'
    yield "</section>"


def _instant(at: object) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
