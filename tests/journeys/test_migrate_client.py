"""The unmodified client of FTS3 and its command-line tools see and cancel the jobs that migrate made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.migrate.steps import Site
from tests.simulators.fts_client import Fts, tool
from tests.support import Server, wait_until

STALL = '[[fault]]\nmatch = "*/slow*"\nop = "stall"\nseconds = 600\n'


@pytest.fixture
def site(home: Path, serve: Callable[..., Server]) -> Site:
    """A job with one file that has arrived, and two that stand still."""
    made = Site(home, serve)
    made.only()
    made.settings("[migrate]\nretry_seconds = 1\n")
    made.start()
    made.faults(STALL)
    made.master(made.files("/a/quick", "/a/slow1", "/a/slow2"))
    made.produce()
    made.consume()
    wait_until(lambda: made.copies() and len(made.ask("/sim/copies")) == 3, 60, "one is there, two are under way")
    return made


@pytest.fixture
def fts(site: Site) -> Fts:
    """The server, as its own client sees it."""
    return Fts(site.home)


def job_of(site: Site) -> str:
    return str(site.sql("SELECT job FROM ftsjob ORDER BY id DESC")[0][0])


def files_of(fts: Fts, job: str) -> dict[str, dict[str, Any]]:
    """The files of a job by the last part of their names."""
    found = json.loads(tool(fts, "fts-rest-transfer-status", "-j", job).stdout)["files"]
    return {file["dest_surl"].rpartition("/")[2]: file for file in found}


def later(site: Site, seconds: float) -> int:
    """A consumer so many seconds later; gives how many jobs were ever submitted."""
    site.run("migrate-consumer", env={"DMTOOLS_CLOCK_OFFSET": str(seconds)}).ok()
    return len(site.ask("/sim/submissions"))


def test_they_see_our_jobs(site: Site, fts: Fts) -> None:
    import fts3.rest.client.easy as easy

    job = job_of(site)
    listed = tool(fts, "fts-rest-transfer-list").stdout
    assert f"Request ID: {job}" in listed
    assert listed.count("Request ID") == 1
    assert "Status: ACTIVE" in tool(fts, "fts-rest-transfer-status", job).stdout
    assert {name: file["file_state"] for name, file in files_of(fts, job).items()} == {
        "quick": "FINISHED",
        "slow1": "ACTIVE",
        "slow2": "ACTIVE",
    }
    ((sid, checksum),) = site.sql(
        "SELECT j.sid, t.checksum FROM ftsjob j JOIN transfer t ON t.job_id = j.id WHERE t.name = '/a/quick'"
    )
    status = easy.get_job_status(fts.context, job, list_files=True)
    assert status["job_metadata"]["dmtools"] == sid[:16]
    assert {file["dest_surl"]: file["checksum"] for file in status["files"]}[f"file://{site.target('/a/quick')}"] == checksum


def test_what_they_cancel_is_an_attempt_and_not_tried_again_before_60_seconds(site: Site, fts: Fts) -> None:
    job = job_of(site)
    assert tool(fts, "fts-rest-transfer-cancel", job).stdout.strip() == "CANCELED"
    site.over()
    said = site.run("migrate-monitor", "-v").ok()
    assert site.sql("SELECT fts_state, canceled_by FROM ftsjob") == [("CANCELED", None)]
    assert site.lines("DONE/Okay") == ["/a/quick"], "what had arrived counts, whatever its job is called"
    assert site.state("/a/slow1") == site.state("/a/slow2") == ("TODO", "canceled", 1, 1)
    told = said.err + site.run("dm-trace", "/a/slow1").ok().out + site.run("dm-trace", job).ok().out
    assert "CANCELED" in told
    assert "CANCELLED" not in told
    site.faults("")
    assert later(site, 0) == 1
    assert later(site, 25) == 1, "the copy may die late"
    assert later(site, 62) == 2
    site.over()
    site.monitor()
    assert site.lines("DONE/Okay") == ["/a/quick", "/a/slow1", "/a/slow2"]
    assert sorted(map(site.lfn, site.copies())) == ["/a/quick", "/a/slow1", "/a/slow2"]


def test_one_file_that_they_cancel(site: Site, fts: Fts) -> None:
    job = job_of(site)
    number = files_of(fts, job)["slow1"]["file_id"]
    assert tool(fts, "fts-rest-transfer-cancel", f"{job}:{number}").stdout.strip() == "CANCELED"
    site.monitor()
    assert site.states() == {"DOING": 3}, "the job is under way"
    assert files_of(fts, job)["slow2"]["file_state"] == "ACTIVE"
    assert tool(fts, "fts-rest-transfer-cancel", job).stdout.strip() == "CANCELED"
    site.over()
    site.monitor()
    assert site.state("/a/slow1")[:3] == site.state("/a/slow2")[:3] == ("TODO", "canceled", 1)


def test_what_we_cancel_they_see(site: Site, fts: Fts) -> None:
    job = job_of(site)
    site.run("migrate-cancel", "--all").ok()
    assert "Status: CANCELED" in tool(fts, "fts-rest-transfer-status", job).stdout
    assert job not in tool(fts, "fts-rest-transfer-list").stdout
    assert tool(fts, "fts-rest-transfer-cancel", job).stdout.strip() == "CANCELED", "a second cancel says what it is"
    site.over()
    site.monitor()
    assert site.state("/a/slow1")[:2] == ("Bad", "withdrawn")
    assert later(site, 7200) == 1


def test_a_job_that_they_submit_to_our_destination_is_not_taken_for_ours(site: Site, fts: Fts) -> None:
    """Somebody else's job is never polled, canceled or adopted."""
    job = job_of(site)
    source, target = f"file://{site.source('/a/quick')}", f"file://{site.target('/theirs')}"
    tokens = ("--src-access-token", "x", "--dst-access-token", "x")
    theirs = tool(fts, "fts-rest-transfer-submit", *tokens, source, target).stdout.partition("Job id: ")[2].strip()
    wait_until(lambda: files_of(fts, theirs)["theirs"]["file_state"] == "FINISHED", 60, "their copy")
    site.run("migrate-cancel", "--all").ok()
    site.over()
    site.monitor()
    assert site.sql("SELECT job FROM ftsjob") == [(job,)]
    assert site.sql("SELECT COUNT(*) FROM transfer WHERE name = '/theirs'") == [(0,)]
    assert "Status: FINISHED" in tool(fts, "fts-rest-transfer-status", theirs).stdout
