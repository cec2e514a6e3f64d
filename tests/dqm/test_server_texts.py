"""Whatever a person asks and whatever a page holds: an answer in a sentence, every text escaped, no error of the program."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtools import clock
from dmtools.command.report import one_line
from dmtools.dqm import generations
from dmtools.dqm.record import Job, Link, Page
from dmtools.dqm.serving import api, logs, runs
from dmtools.dqm.serving.application import Application
from dmtools.dqm.serving.faces import COLUMNS, ordered
from dmtools.dqm.serving.watching import Watcher
from dmtools.settings import Dqm

AT = clock.now()
MARKUP = re.compile(r"</?(?:span|mark)[^<>]*>")
PIECES = [
    *("<script>", "<b>", "</pre>", "\0", "&amp;", "\u202e", "{{x}}", "% end", "'\"", "\x1b[0m"),
    *("mark", "a", " ", "=1+1", "@x", "-2", "+3"),
]
evil = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=4).map("".join)
logs_of = st.lists(st.sampled_from([*PIECES, "\n", "\r\n"]) | st.text(max_size=10), max_size=12).map("".join)
whole = st.integers(0, 10**12) | st.none()


@st.composite
def jobs(draw: Callable[..., Any]) -> Job:
    return Job(
        key=draw(st.text(max_size=20)),
        host=draw(evil),
        state=draw(st.sampled_from(["running", "stopped", "crashed", "unknown", "else"])),
        at=draw(st.none() | st.just(AT)),
        age=draw(st.none() | st.floats(-1e5, 1e5)),
        exit_code=draw(st.none() | st.integers(-9, 300)),
        tag=draw(st.none() | evil),
        lumi=draw(whole),
        rss_bytes=draw(whole),
        events=draw(whole),
        rate=draw(st.none() | st.floats(0, 1e9)),
    )


pages = st.builds(
    Page,
    site=st.just("production"),
    live=st.just(True),
    run=st.none() | st.integers(1, 10**6),
    grabbed=st.just(AT),
    jobs=st.lists(jobs(), max_size=6).map(tuple),
    links=st.lists(st.builds(Link, name=evil, state=evil, said=evil), max_size=2).map(tuple),
)


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Application:
    place = tmp_path_factory.mktemp("public")
    page = Page(site="production", live=True, run=1, grabbed=AT)
    generations.publish(place / "production/live", {"page.json": msgspec.json.encode(page)})
    said: list[str] = []
    watcher = Watcher(place, Dqm(), said.append)
    watcher.look()
    return Application(Dqm(), watcher, said.append)


def ask(application: Application, path: str, query: str = "", method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    told: list[Any] = []
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
    body = b"".join(application.wsgi(environ, lambda status, headers: told.extend((status, headers))))
    return int(told[0][:3]), dict(told[1]), body


@settings(max_examples=150)
@given(
    path=st.text(st.characters(max_codepoint=255), max_size=40).map(lambda text: f"/{text}")
    | st.sampled_from(["/sites/production", "/sites/production/compare", "/sites/production/runs", "/api/v1/sites/production"]),
    query=st.text(st.characters(max_codepoint=255), max_size=80),
    method=st.sampled_from(["GET", "HEAD", "POST", "TRACE"]),
)
def test_any_question_gets_an_answer(application: Application, path: str, query: str, method: str) -> None:
    status, headers, body = ask(application, path, query, method)
    assert status in (200, 400, 404, 405)
    assert method == "HEAD" or int(headers["Content-Length"]) == len(body)


@settings(max_examples=80)
@given(page=pages, order=st.sampled_from(["", "nix", *COLUMNS, *(f"-{one}" for one in COLUMNS)]))
def test_any_record_makes_a_page_whose_texts_are_escaped(application: Application, page: Page, order: str) -> None:
    site = application._watcher.sites["production"]
    assert site.live
    shown = type(site.live)(site.live.generation, page, {})
    face = application._faces._face(site, shown, order)
    text = face.at((AT + timedelta(seconds=5)).timestamp(), 900).decode()
    assert "<script" not in text
    assert "</pre>" not in text
    assert text.count("<tr class=") == len(page.jobs) + len(page.links)
    for job in page.jobs:
        assert one_line(job.host).strip() in unescape(text)
    assert sorted(map(id, ordered(page.jobs, order))) == sorted(map(id, page.jobs))
    assert len(runs.compared(page, page)) == len(page.jobs)
    assert not any(runs.differs(one, other) for _, _, one, other in runs.compared(page, page))
    rows = list(csv.reader(io.StringIO(api.table(page).decode(), newline="")))
    assert len(rows) == len(page.jobs) + 1
    assert all(len(row) == len(rows[0]) and not row[2].startswith(("=", "+", "-", "@")) for row in rows[1:])


@settings(max_examples=100)
@given(log=logs_of, q=st.text(max_size=5) | st.sampled_from(["<", "&", "a", "mark", "span"]), only=st.booleans())
def test_any_log_is_shown_as_it_is_with_what_was_found_marked(application: Application, log: str, q: str, only: bool) -> None:
    site = application._watcher.sites["production"]
    data = log.encode("utf-8", "replace")
    page = logs.page(site, application._faces, "log", data, "/raw", q, only=only).decode()
    text = page.partition('aria-label="log">')[2].partition("</pre>")[0]
    lines = data.decode("utf-8", "replace").splitlines()
    wanted = [line for line in lines if q.lower() in line.lower()] if q and only else lines
    shown = [unescape(MARKUP.sub("", re.sub(r'<span class="no"[^>]*>\d+</span> ', "", line))) for line in text.split("\n")]
    if all(line.lower() == line.casefold() and line.isascii() for line in [*lines, q]):
        assert shown == ([one_line(line) for line in wanted] or [""])
    assert not re.search(r"<(?!/?(?:span|mark)\b)", text)


def test_old_pages_and_answers_are_kept_in_bounds(application: Application, tmp_path: Path) -> None:
    for number in range(300):
        ask(application, "/sites/production", f"sort={list(COLUMNS)[number % 8]}&x={number}")
        ask(application, f"/sites/production/{number}")
    assert len(application._finished._kept) < 60
    assert len(application._faces._kept) <= 100
