"""What dqm-parser reads of a page: every job by its own id, every field as the page has it, and nothing that it doesn't say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtools.dqm import generations
from dmtools.dqm.generations import Generation
from dmtools.dqm.parsing import documents, dom
from dmtools.dqm.parsing.found import CELL, DIFFERS, LOG, NO_JOBS, NO_PAGE, ROW, RUN, TWICE, FoundJob, FoundPage, NotUnderstood
from dmtools.dqm.parsing.keys import Keys
from dmtools.dqm.parsing.making import Made, Maker, Of
from dmtools.dqm.parsing.redacting import Cleaner
from dmtools.dqm.parsing.understanding import understand
from dmtools.settings.dqm import Dqm
from tests.dqm.pages import AT, Job, Source, some_jobs
from tests.dqm.pages import RUN as NOW

SECOND = timedelta(seconds=1)


def raw(place: Path, source: Source, files: dict[str, bytes] | None = None, **facts: str) -> tuple[dict[str, bytes], Generation]:
    given = {"page.html": source.html()} | (files or {})
    made = generations.publish(place, given, {"grabbed": source.at.isoformat()} | facts)
    return given, made


def read(html: bytes | str) -> FoundPage:
    page = dom.read(html if isinstance(html, bytes) else html.encode())
    dom.in_utc(page, AT.timestamp(), None)
    return page


def by_pid(page: FoundPage) -> dict[int | None, FoundJob]:
    return {job.pid: job for job in page.jobs}


def make(page: FoundPage) -> Made:
    return Maker(Cleaner(Dqm()), Keys(b"k" * 32)).make(page, Of("production", True, AT), {})


def refused(html: bytes | str) -> set[str]:
    with pytest.raises(NotUnderstood) as problem:
        read(html)
    return {trouble.what for trouble in problem.value.troubles}


def test_each_field_is_read_and_hidden_twins_are_not() -> None:
    jobs = [
        Job(1, exit_code=None, events=2000, rate=12.5, lumi=23, megabytes=1229, tag="beam"),
        Job(2, exit_code=139, events=None, lumi=None, megabytes=980, tag="l1tstage2", seconds=700),
        Job(3, exit_code=0, events=7, rate=0.0, tag="ecal_v2", seconds=4000),
        Job(4, exit_code=-9),
    ]
    page = read(Source(jobs, runs=(NOW, 379998)).html())
    assert (page.run, page.runs, page.original_run, page.troubles) == (NOW, (NOW, 379998), None, [])
    assert [(link.uri, link.state, link.word) for link in page.links] == [
        ("ws://dqmrubu-c2a06-01-01.cms:9215/sync", "open", "live")
    ]
    one, two, three, four = page.jobs
    assert (one.id, one.host, one.pid) == (jobs[0].id, jobs[0].host, 4001)
    assert (one.state, one.exit_code, one.events, one.rate, one.lumi, one.rss_bytes, one.tag) == (
        *("running", None, 2000, 12.5, 23, 1229 << 20, "beam"),
    )
    assert (one.at, one.age, one.logs) == (AT - 2 * SECOND, 2, ("begin of job 1", "end of job 1"))
    assert (two.state, two.exit_code, two.events, two.rate, two.lumi) == ("crashed", 139, None, None, None)
    assert (three.state, three.exit_code, three.events, three.tag) == ("stopped", 0, 7, "ecal_v2")
    assert (four.state, four.exit_code) == ("crashed", -9)


def test_the_page_and_its_documents_give_the_same_record(tmp_path: Path) -> None:
    source = Source(some_jobs(25), original=379866, run=500101)
    for job in source.jobs:
        job.run = 500101
    page, twin = read(source.html()), documents.read(source.documents())
    assert page.original_run == twin.original_run == 379866
    order = sorted(page.jobs, key=lambda job: job.id)
    for one, other in zip(order, sorted(twin.jobs, key=lambda job: job.id), strict=True):
        assert replace_times(one) == replace_times(other)
    files, made = raw(tmp_path, source, {"documents.json": source.documents()})
    assert understand(files, made).troubles == []


def replace_times(job: FoundJob) -> FoundJob:
    return replace(job, age=None)


def test_line_11_a_log_is_the_log_of_the_job_whose_id_it_has() -> None:
    """Original: a log went to the row before it, and its file had the number of the row: a re-sorted table showed another's."""
    jobs = [Job(n, log=() if n == 2 else ("begin {n}", "end {n}")) for n in range(1, 6)]
    first = make(read(Source(jobs).html()))
    again = make(read(Source(jobs[::-1]).html()))
    for made in (first, again):
        for job in made.page.jobs:
            number = (job.at is not None) and next(n for n in range(1, 6) if Keys(b"k" * 32).of("job", jobs[n - 1].id) == job.key)
            assert (job.log is None) == (number == 2)
            if job.log:
                assert made.files[job.log] == f"begin {number}\n...\nend {number}\n".encode()
    assert {name for name in first.files if name.startswith("log-")} == {name for name in again.files if name.startswith("log-")}


def test_line_11_a_log_that_says_whose_it_is_goes_there_wherever_it_stands() -> None:
    jobs = [Job(1, log=()), Job(2, log=("of one",)), Job(3)]
    html = Source(jobs).html().decode()
    stray = html.replace("<tr ng-if=", f'<tr data-dm-log-of="{jobs[0].id}" ng-if=', 1)
    found = by_pid(read(stray))
    assert found[4001].logs == ("of one",)
    assert found[4002].logs == ()
    nobody = read(html.replace("<tr ng-if=", '<tr data-dm-log-of="another" ng-if=', 1))
    assert by_pid(nobody)[4002].logs == by_pid(nobody)[4001].logs == ()
    assert [trouble.what for trouble in nobody.troubles] == [LOG]


def test_two_logs_of_one_job_are_told_and_neither_is_shown() -> None:
    html = Source([Job(1), Job(2), Job(3), Job(4), Job(5)]).html().decode()
    log = re.findall(r"<tr ng-if=.*?</tr>", html, re.DOTALL)[0]
    page = read(html.replace(log, log + log.replace("begin of job 1", "something else"), 1))
    assert (by_pid(page)[4001].logs, by_pid(page)[4002].logs) == ((), ("begin of job 2", "end of job 2"))
    assert [trouble.what for trouble in page.troubles] == [LOG, LOG]


def test_an_unreadable_state_is_unknown_and_never_crashed() -> None:
    """Original: whatever was neither R nor 0 was crashed."""
    html = Source([Job(n) for n in range(1, 6)]).html().decode()
    for text in ("<span>R?</span>", "", "0x8b", "R 139", "1 2", "exit", "٣", "9" * 30):
        changed = re.sub(r'<span ng-show="dqm_number != 3">R</span>', text, html, count=1)
        page = read(changed.replace("dqm-refresh success", "dqm-refresh", 1))
        job = by_pid(page)[4001]
        assert (job.state, job.exit_code) == ("unknown", None), text
        assert [(one.what, "state" in one.subject) for one in page.troubles] == [(CELL, True)], text
        assert {one.state for one in page.jobs[1:]} == {"running"}


def test_colour_and_text_of_a_row_that_differ_make_no_state() -> None:
    html = Source([Job(n) for n in range(1, 6)]).html().decode()
    page = read(html.replace("dqm-refresh success", "dqm-refresh danger", 1))
    assert (page.jobs[0].state, page.troubles[0].what) == ("unknown", CELL)


def test_a_row_whose_document_has_not_come_is_unknown_and_no_trouble() -> None:
    html = Source([Job(1)]).html().decode()
    page = read(html.replace("dqm-refresh success", "dqm-refresh info", 1))
    assert (page.jobs[0].state, page.troubles) == ("unknown", [])


def test_a_field_that_is_not_understood_is_empty_and_told() -> None:
    html = Source([Job(n) for n in range(1, 6)]).html().decode()
    page = read(html.replace("1,229 mb", "1,22,9 mb", 1).replace("2000 (12.5 evt/s)", "2000 (12,5 evt/s", 1))
    assert (page.jobs[0].rss_bytes, page.jobs[0].events, page.jobs[1].rss_bytes) == (None, None, 1229 << 20)
    assert [trouble.what for trouble in page.troubles] == [CELL]
    assert "1,22,9 mb" in page.troubles[0].fragment


def test_columns_are_known_by_their_heads() -> None:
    html = Source([Job(n, lumi=5) for n in range(3)]).html().decode()
    swapped = html.replace("<th>LS</th><th>RSS</th>", "<th>RSS</th><th>LS</th>")
    assert refused(swapped) == {CELL}
    assert refused(html.replace("<th>RSS</th>", "<th>Memory</th>")) == {NO_JOBS}
    assert refused(html.replace("<th>Pid</th>", "")) == {NO_JOBS}
    assert refused(html.replace("<th>Actions</th>", "")) == {ROW}


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('<ol class="breadcrumb">', '<ol class="crumbs">', NO_PAGE),
        ("Known cmssw jobs", "Jobs", NO_PAGE),
        ("<tbody>\n", '<tbody role="rows">\n', NO_JOBS),
        (f">{NOW}</strong></span></li>\n<li>", ">many</strong></span></li>\n<li>", RUN),
        ("</html>", "", NO_PAGE),
        ("</tr>", "</tr><tr></tr>", ROW),
    ],
)
def test_another_markup_is_refused_with_the_place(old: str, new: str, what: str) -> None:
    html = Source([Job(1), Job(2)]).html().decode()
    assert old in html
    assert refused(html.replace(old, new)) == {what}


def test_two_rows_of_one_job_are_refused_and_so_is_a_row_with_the_id_of_another() -> None:
    assert refused(Source([Job(1), Job(1)]).html()) == {TWICE}
    assert refused(Source([Job(1), Job(2)]).html().replace(b"-pid4001", b"-pid4002")) == {ROW}


def test_a_page_nested_without_end_is_refused() -> None:
    html = Source([Job(1)]).html().replace(b"<tbody>\n", b"<div>" * 5000 + b"<tbody>\n")
    with pytest.raises(NotUnderstood):
        read(html)


def test_a_job_without_an_id_has_its_tag_pid_and_host() -> None:
    html = re.sub(r' (?:ng-)?href="[^"]*show_log[^"]*"', "", Source([Job(1), Job(2)]).html().decode())
    assert [job.id for job in read(html).jobs] == ["beam-4001-dqmfu-c2b01-45-01.cms", "beam-4002-dqmfu-c2b01-45-01.cms"]


@pytest.mark.parametrize("zone", [0, 3600, 7200, -18000, 20700])
def test_times_are_utc_wherever_the_browser_stands(zone: int, tmp_path: Path) -> None:
    source = Source([Job(1, seconds=2), Job(2, seconds=75), Job(3, seconds=5000)], zone=zone)
    files, made = raw(tmp_path, source)
    assert [AT - job.at for job in understand(files, made).jobs if job.at] == [2 * SECOND, 75 * SECOND, 5000 * SECOND]
    without = re.sub(rb"<dqm-timediff-field.*?</dqm-timediff-field>", b"", files["page.html"])
    files, made = raw(tmp_path, source, {"page.html": without}, zone=str(zone))
    assert [AT - job.at for job in understand(files, made).jobs if job.at] == [2 * SECOND, 75 * SECOND, 5000 * SECOND]


def test_where_page_and_documents_say_different_things_of_one_instant_nobody_knows(tmp_path: Path) -> None:
    source = Source([Job(1), Job(2, events=5), Job(3, seconds=9), Job(4)])
    twin = Source([Job(1, exit_code=139), Job(2, events=6), Job(3, exit_code=0, seconds=1), Job(4), Job(5, seconds=60)])
    files, made = raw(tmp_path, source, {"documents.json": twin.documents()})
    page = understand(files, made)
    found = by_pid(page)
    assert [found[pid].state for pid in (4001, 4002, 4003, 4004)] == ["unknown", "running", "running", "running"]
    assert (found[4002].events, found[4004].events) == (None, 2000)
    assert [(one.what, one.subject.partition(":")[0].rpartition("-")[2]) for one in page.troubles] == [
        (DIFFERS, "pid4001"),
        (DIFFERS, "pid4002"),
        (DIFFERS, "pid4005 is in the documents and not in the page"),
    ]


def test_documents_that_were_asked_for_a_moment_later_are_newer_within_the_same_second_and_no_contradiction(
    tmp_path: Path,
) -> None:
    files, made = raw(
        tmp_path, Source([Job(1, seconds=1)]), {"documents.json": Source([Job(1, seconds=1, events=2077)]).documents()}
    )
    page = understand(files, made)
    assert page.troubles == []
    assert by_pid(page)[4001].events == 2000


def test_an_old_run_that_is_another_run_is_refused(tmp_path: Path) -> None:
    files, made = raw(tmp_path, Source())
    assert understand(files, made, NOW).run == NOW
    with pytest.raises(NotUnderstood) as problem:
        understand(files, made, NOW - 1)
    assert problem.value.troubles[0].what == RUN


def test_graphs_have_the_names_of_what_they_show() -> None:
    assert read(Source().html()).graphs == ("file delivery delay", "accepted events")
    html = (
        Source()
        .html()
        .decode()
        .replace("<graph-dqm-timestamps-lumi>", '<canvas data-dm-graph="graph-1.png" data-graph="events"></canvas>')
    )
    html = html.replace("<graph-dqm-events-lumi>", '<graph-dqm-events-lumi><canvas data-dm-graph="graph-2.png"></canvas>')
    assert read(html.replace("</body>", "<canvas data-dm-graph='x'></canvas></body>")).graphs == (
        "accepted events",
        "accepted events",
        "",
    )


def test_states_of_links() -> None:
    links = (
        ("ws://a-b-1:9215/sync", "closed: disconnected"),
        ("ws://a-b-2:9215/sync", "sync: 40.0%"),
        ("ws://a-b-3/", "half open by jdoe"),
    )
    page = read(Source(links=links).html())
    assert [(link.state, link.word) for link in page.links] == [("closed", "closed"), ("other", "sync 40.0%"), ("other", "")]
    assert [trouble.what for trouble in page.troubles] == ["link"]


# ---- any input -----------------------------------------------------------------------------------------------------------

PAGE = Source([Job(1), Job(2, exit_code=139, seconds=100), Job(3, exit_code=0, events=None)], original=379866)
TOKENS = re.findall(r"<[^>]*>|[^<]+", PAGE.html().decode())
TRUE = {job.id: job for job in read(PAGE.html()).jobs}
FIELDS = ("state", "exit_code", "at", "tag", "lumi", "rss_bytes", "events", "rate")


def shows_nothing_wrong(page: FoundPage) -> None:
    for job in page.jobs:
        true = TRUE.get(job.id)
        if true is None:
            assert "-pid" not in job.id, "a job that there is not"
            continue
        for name in FIELDS:
            assert getattr(job, name) in (getattr(true, name), None, "unknown"), (name, job)
        shown = "\n".join(job.logs)
        assert not [other.id for other in TRUE.values() if other.id != job.id and any(part in shown for part in other.logs)]


@given(st.data())
@settings(max_examples=150)
def test_a_page_that_lost_or_doubled_or_moved_tags_shows_nothing_wrong(data: st.DataObject) -> None:
    tokens = list(TOKENS)
    tags = [place for place, token in enumerate(tokens) if token.startswith("<")]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(tags))
        how = data.draw(st.sampled_from(["lose", "double", "swap", "rename", "class"]))
        if how == "lose":
            tokens[place] = ""
        elif how == "double":
            tokens[place] *= 2
        elif how == "swap":
            other = data.draw(st.sampled_from(tags))
            tokens[place], tokens[other] = tokens[other], tokens[place]
        elif how == "rename":
            tokens[place] = re.sub(r"^<(/?)\w+", r"<\1div", tokens[place])
        else:
            tokens[place] = re.sub(r' class="[^"]*"', ' class="bound"', tokens[place])
    try:
        page = read("".join(tokens))
    except NotUnderstood:
        return
    shows_nothing_wrong(page)
    make(page)


@given(
    st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))),
    st.booleans(),
)
@settings(max_examples=120)
def test_any_bytes_give_a_page_or_a_refusal(data: bytes, inside: bool) -> None:
    if inside:
        html = PAGE.html()
        data = html[: len(data) * 7 % len(html)] + data + html[len(data) * 7 % len(html) :]
    for reader in (dom.read, documents.read):
        try:
            make(reader(data))
        except NotUnderstood:
            continue


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(["_id", "extra", "run", "x"]), below, max_size=3),
    max_leaves=6,
)
_document = json.loads(PAGE.documents())["documents"][0]


@given(
    st.dictionaries(st.sampled_from([*_document, "exit_code"]), _json),
    st.dictionaries(st.sampled_from([*_document["extra"]]), _json),
)
@settings(max_examples=150)
def test_documents_with_any_values_give_true_fields_or_none(changes: dict[str, Any], extra: dict[str, Any]) -> None:
    document = {**_document, "extra": {**_document["extra"], **extra}} | changes
    try:
        page = documents.read(
            json.dumps({"run": NOW, "documents": [document, *json.loads(PAGE.documents())["documents"][1:3]]}).encode()
        )
    except NotUnderstood:
        return
    for job in page.jobs:
        if job.id == _document["_id"] and "exit_code" not in changes:
            assert job.state in ("running", "unknown")
        changed = changes.get("events_total") if job.id == _document["_id"] and "events_total" in changes else 2000
        assert job.events is None or str(job.events) == str(changed)
    make(page)
