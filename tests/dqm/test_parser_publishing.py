"""dqm-parser publishes: whole or not at all, only what is new, and tells what it does not understand without showing it."""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from dmtools import clock
from dmtools.dqm import generations
from dmtools.dqm.generations import Torn
from tests.dqm import pages
from tests.dqm.pages import Job, Source, some_jobs
from tests.dqm.parser_steps import Mirror
from tests.faults import calls
from tests.support import command, environment, wait_until


@pytest.fixture
def mirror(home: Path) -> Mirror:
    return Mirror(home)


def numbered(number: int) -> Source:
    """A page that holds its number in each of its files."""
    return Source([Job(n, events=1000 + number, log=(f"grab {1000 + number}",)) for n in range(3)], at=clock.now())


def numbers_in(files: dict[str, bytes]) -> set[int]:
    page = json.loads(files["page.json"])
    found = {job["events"] for job in page["jobs"]}
    found |= {int(row.split(" ")[0]) for row in files["page.html"].decode().split('class="events">')[1:]}
    return found | {int(files[job["log"]].decode().split()[1]) for job in page["jobs"]}


def test_line_1_a_reader_that_polls_sees_no_page_that_is_empty_cut_or_mixed(mirror: Mirror) -> None:
    """Original: pages were truncated and written in place, graphs deleted and written again."""
    live, seen, read = mirror.public / "production/live", set[int](), 0
    with mirror.loop() as process:
        for number in range(25):
            mirror.grab(numbered(number))
            wanted = clock.now() + timedelta(seconds=60)
            while max(seen, default=0) < 1000 + number and clock.now() < wanted:
                assert process.poll() is None
                newest = generations.newest(live)
                if newest is None:
                    continue
                try:
                    found = numbers_in(generations.load(newest))
                except Torn:
                    continue
                assert len(found) == 1, found
                seen |= found
                read += 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert 1024 in seen
    assert read >= len(seen)
    assert not list(mirror.public.rglob(".*"))


def test_a_pass_publishes_what_is_new_and_nothing_else(mirror: Mirror) -> None:
    source = Source(at=clock.now(), original=379866)
    mirror.grab(source, "playback")
    mirror.grab(numbered(1))
    first = mirror.parse("--json").json
    assert (first["state"], first["counts"]["raw>public"]) == ("done", 2)
    page, says = mirror.page(), mirror.says()
    assert [job.events for job in page.jobs] == [1001] * 3
    assert (says.link, says.running, says.data, says.broken_since) == ("open", 3, page.data, None)
    assert says.live == mirror.live()[0].mark
    assert mirror.page("playback").original_run == 379866
    # The same page, seen later: other ages, no news.
    later = Source(source.jobs, at=source.at + timedelta(seconds=9), original=379866)
    for job in later.jobs:
        job.seconds += 9
    again = mirror.grab(later, "playback")
    second = mirror.parse("--json").json
    assert second["counts"] == {}
    assert len(mirror.live("playback")) == 1
    assert mirror.says("playback").at > says.at
    assert mirror.says("playback").confirmed == later.at
    assert again.number == 2


def test_a_dry_run_writes_nothing(mirror: Mirror) -> None:
    mirror.grab()
    before = {path: path.stat().st_mtime_ns for path in mirror.home.rglob("*")}
    assert "would read production/live" in mirror.parse("--dry-run").out
    assert {path: path.stat().st_mtime_ns for path in mirror.home.rglob("*")} == before


def test_without_a_grab_it_says_that_nothing_was_heard(mirror: Mirror) -> None:
    mirror.parse("--site", "production")
    says = mirror.says()
    assert (says.heard, says.confirmed, says.live) == (None, None, None)
    assert not (mirror.public / "playback").exists()
    refused = mirror.parse("--site", "prodction", codes=(2,))
    assert "production, playback" in refused.err


def test_another_markup_is_broken_the_page_before_stays_and_the_fragment_stays_inside(mirror: Mirror) -> None:
    mirror.grab(numbered(1))
    mirror.parse()
    shown = mirror.live()[0]
    html = numbered(2).html().replace(b"Known cmssw jobs", b"Jobs known canary")
    source = Source(at=clock.now())
    mirror.grab(source, files={"page.html": html})
    told = mirror.parse("--json", codes=(1,)).json
    assert [(one["what"], one["subject"]) for one in told["errors"]] == [("not understood", "production/live")]
    says = mirror.says()
    assert says.broken_since == source.at
    assert (says.live, mirror.live()) == (shown.mark, [shown])
    broken = json.loads((mirror.raw / "production/broken.json").read_text())
    assert "canary" in broken["live"]["troubles"][0]["fragment"]
    assert "canary" in mirror.log()
    assert not [path for path in mirror.public.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]
    # Broken again: since the first time. Then it is understood again.
    mirror.grab(Source(at=clock.now()), files={"page.html": html + b" "})
    mirror.parse(codes=(1,))
    assert mirror.says().broken_since == source.at
    mirror.grab(numbered(3))
    mirror.parse()
    assert mirror.says().broken_since is None
    assert json.loads((mirror.raw / "production/broken.json").read_text()) == {}
    assert mirror.page().jobs[0].events == 1003


def test_line_10_one_bad_old_run_stops_no_other_and_is_not_tried_again_and_again(mirror: Mirror) -> None:
    """Original: a page of one old run that could not be read ended all; an error made a hot loop."""
    for run in (380000, 379999, 379998):
        mirror.grab(Source(some_jobs(2, run), run, clock.now()), run=run)
    mirror.grab(Source(run=379997, at=clock.now()), run=379997, files={"page.html": b"\xff\x00<tbody"})
    mirror.grab(Source(run=379996, at=clock.now()), run=379995)
    mirror.grab(numbered(1))
    with mirror.loop() as process:
        wait_until((mirror.public / "production/site.json").exists, what="site.json")
        first = mirror.says().at
        wait_until(lambda: (mirror.says().at - first).total_seconds() > 2, what="some more rounds")
        mirror.grab(numbered(2))
        wait_until(lambda: mirror.page().jobs[0].events == 1002, what="the live page")
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    says = mirror.says()
    assert says.old_runs == (380000, 379999, 379998)
    assert says.old_broken == (379997, 379995)
    lines = mirror.log().splitlines()
    for run in (379997, 379995):
        assert sum(f"production/runs/{run} g" in line for line in lines) == 1


def test_line_13_a_run_is_the_name_of_its_directory_and_nothing_else_is(mirror: Mirror) -> None:
    """Original: the number was what stood behind the first `run` of the path: a HOME with run in it broke it."""
    mirror.grab(numbered(1))
    runs = mirror.raw / "production/runs"
    for run in (380000, 379999):
        mirror.grab(Source(some_jobs(2, run), run, clock.now()), run=run)
    good = runs / "380000"
    for name in ("run380001", "380001x", "0380001", "-5", "٣", "3.8", "run"):
        (runs / name).symlink_to(good)
    mirror.parse()
    assert sorted(os.listdir(mirror.public / "production/runs")) == ["379999", "380000"]
    assert mirror.says().old_runs == (380000, 379999)
    assert mirror.page(run=380000).run == 380000


def test_old_runs_are_the_newest_and_are_read_again_when_they_change(mirror: Mirror) -> None:
    mirror.set("old_runs = 2")
    for run in (379998, 380000, 379999):
        mirror.grab(Source(some_jobs(2, run), run, clock.now()), run=run)
    mirror.grab(numbered(1))
    mirror.parse()
    assert mirror.says().old_runs == (380000, 379999)
    mirror.grab(Source(some_jobs(3, 379999), 379999, clock.now()), run=379999)
    assert mirror.parse("--json").json["counts"] == {"raw>public": 1}
    assert len(mirror.page(run=379999).jobs) == 3
    assert not (mirror.raw / "production/runs/379998").exists()


def test_a_page_that_lost_its_source_before_it_had_data_does_not_wipe_what_is_shown(mirror: Mirror) -> None:
    mirror.grab(numbered(1))
    mirror.parse()
    mirror.grab(Source([], None, clock.now(), links=(("ws://a-b-1:9215/sync", "closed"),)))
    mirror.parse()
    assert (len(mirror.page().jobs), mirror.says().link) == (3, "closed")
    mirror.grab(Source([], None, clock.now()))
    mirror.parse()
    assert (len(mirror.page().jobs), mirror.page().run, mirror.says().link) == (0, None, "open")


def test_a_torn_grab_is_passed_over_and_a_half_brought_one_waited_for(mirror: Mirror) -> None:
    mirror.grab(numbered(1))
    torn = mirror.grab(numbered(2))
    (torn.path / "page.html").write_bytes((torn.path / "page.html").read_bytes().replace(b"1002", b"9999"))
    mirror.parse()
    assert mirror.page().jobs[0].events == 1001
    half = mirror.grab(numbered(3))
    whole = (half.path / "page.html").read_bytes()
    (half.path / "page.html").write_bytes(whole[:-1])
    with mirror.loop():
        wait_until(lambda: mirror.says().at > half.made, what="a round")
        assert mirror.page().jobs[0].events == 1001
        (half.path / "page.html").write_bytes(whole)
        wait_until(lambda: mirror.page().jobs[0].events == 1003, what="the page that is whole now")


def test_a_log_that_can_t_be_cleaned_is_withheld_with_a_sentence(mirror: Mirror) -> None:
    mirror.grab(numbered(1), files={"graph-1.png": b"no picture"})
    mirror.parse()
    page = mirror.page()
    assert page.withheld == 1
    assert [graph.file for graph in page.graphs] == ["graph-2.png"]


# ---- killed anywhere -------------------------------------------------------------------------------------------------------


@pytest.mark.needs("strace")
@pytest.mark.parametrize("kind", ["mkdir", "write", "syncfs", "renameat2", "rename"])
def test_killed_at_a_call_of_a_pass_the_next_one_makes_it_good(mirror: Mirror, kind: str) -> None:
    """One call of each kind, in its middle; bench/dqm_parse.py --sweep takes all."""
    mirror.grab(numbered(1))
    mirror.parse()
    mirror.grab(numbered(2))
    killed_and_mended(mirror, calls.Call(kind, {"write": 3}.get(kind, 1), ""))


def killed_and_mended(mirror: Mirror, call: calls.Call) -> bool:
    """Kills a pass at the call, runs another, judges. Gives whether it was hit."""
    argv = [sys.executable, *command("dqm-parser")[1:]]
    log = mirror.home.parent / "trace"
    done = calls.disturbed(argv, environment(mirror.home), mirror.home, log, call, "signal=KILL")
    shown = generations.load_newest(mirror.public / "production/live")
    assert shown is not None
    assert numbers_in(shown[1]) in ({1001}, {1002})
    mirror.parse(codes=(0,))
    assert {job.events for job in mirror.page().jobs} == {1002}
    assert mirror.says().live == mirror.live()[0].mark
    assert mirror.says().broken_since is None
    return done.code == -9


def test_two_parsers_at_once_show_the_same(mirror: Mirror) -> None:
    with mirror.loop() as one, mirror.loop() as two:
        for number in range(3):
            mirror.grab(numbered(number))
            wait_until(lambda number=number: mirror.live() and mirror.page().jobs[0].events == 1000 + number, what="the page")  # type: ignore[misc]
        assert one.poll() is two.poll() is None


def test_documents_alone_are_a_page(mirror: Mirror) -> None:
    source = Source(some_jobs(5), at=clock.now())
    made = generations.publish(mirror.raw / "production/live", {"documents.json": source.documents()})
    pages.says(mirror.home, "production", made, source.at)
    mirror.parse()
    assert [job.state for job in mirror.page().jobs].count("running") == 4
    assert (mirror.says().link, mirror.says().confirmed) == ("", max(source.at, made.made))
