"""Unknown is never failed, never done: odd answers and silence leave everything as it was, and no call lasts for ever."""

from __future__ import annotations

import json

import pytest

from tests.transfers import fake_fts as odd
from tests.transfers.conftest import Scripted

ANSWERS = {
    "a page of HTML": odd.HTML,
    "truncated JSON": odd.TRUNCATED,
    "JSON of another shape": (200, b'{"hello": [1, 2]}'),
    "a list of nothing": (200, b"[]"),
    "a number": (200, b"7"),
    "400 by something before the server": odd.HTML_400,
    "404 by something before the server": (404, b"<html>Not Found</html>"),
    "413": (413, b""),
    "500": odd.BROKEN,
    "503": odd.BUSY,
    "a redirect": (302, b""),
    "no answer": odd.nothing,
}
SECONDS = 2  # call_seconds of the tests of time


def test_a_poll_that_tells_nothing_changes_nothing(scripted: Scripted) -> None:
    job = scripted.begin("/a/1", "/a/2")
    before = scripted.snapshot()
    for how, answer in ANSWERS.items():
        scripted.fts.odd.clear()
        scripted.fts.answers("GET /jobs/", answer)
        said = scripted.run("migrate-monitor")
        assert scripted.snapshot() == before, how
        assert said.code == 0, (how, said)
        assert "a list of nothing" in how or "a number" in how or "another shape" in how or said.err, (how, said)
    scripted.fts.odd.clear()
    job.finish()
    scripted.monitor()
    assert scripted.lines("DONE/Okay") == ["/a/1", "/a/2"]
    assert len(scripted.fts.jobs) == 1


@pytest.mark.parametrize("kept", [True, False], ids=["the job was made", "it was not"])
def test_a_submission_that_tells_nothing_is_sent_again_and_only_there(kept: bool, scripted: Scripted) -> None:
    scripted.master(scripted.files("/a/1", "/a/2"))
    scripted.produce()
    scripted.fts.answers("POST /jobs", odd.nothing, 1, act=kept)
    said = scripted.consume()
    assert "the answer of fake was lost" in said.err
    assert scripted.lines("DOING") == ["/a/1", "/a/2"]
    booked = scripted.sql("SELECT sid, job, server, state FROM ftsjob")
    assert booked[0][3] == "intent"
    for how, answer in ANSWERS.items():
        scripted.fts.odd.clear()
        scripted.fts.answers("POST /jobs", answer)
        scripted.run("migrate-monitor").gave(0)
        assert scripted.sql("SELECT sid, job, server, state FROM ftsjob") == booked, how
        assert scripted.states() == {"DOING": 2}, how
    scripted.fts.odd.clear()
    scripted.monitor()
    assert list(scripted.fts.jobs) == [booked[0][1]]
    scripted.fts.job().finish()
    scripted.monitor()
    assert scripted.states() == {"Okay": 2}
    assert scripted.state("/a/1") == ("Okay", None, 0, 1)


SLOW = {"silence": odd.silence, "a byte now and then": odd.drip, "a head that never ends": odd.drip_head}


@pytest.mark.parametrize("how", SLOW)
def test_no_call_lasts_longer_than_its_time(how: str, scripted: Scripted) -> None:
    scripted.configure(seconds=SECONDS)
    job = scripted.begin("/a/1")
    before = scripted.snapshot()
    scripted.fts.answers("GET /jobs/", SLOW[how])
    said = scripted.run("migrate-monitor").gave(0)
    assert said.seconds < 2 * SECONDS + 20, "the poll"
    assert "FTS server away" in said.err
    assert scripted.snapshot() == before
    scripted.master(scripted.files("/a/2"), "2.txt")
    scripted.produce()
    scripted.fts.answers("POST /jobs", SLOW[how], act=True)
    said = scripted.run("migrate-consumer").gave(0)
    assert said.seconds < 2 * SECONDS + 20, "the submission"
    assert [state for (state,) in scripted.sql("SELECT state FROM ftsjob ORDER BY id")] == ["submitted", "intent"]
    scripted.fts.odd.clear()
    scripted.fts.job().finish()
    job.finish()
    scripted.monitor()
    assert scripted.states() == {"Okay": 2}
    assert len(scripted.fts.jobs) == 2


def test_a_server_that_accepts_and_says_nothing_is_away(scripted: Scripted) -> None:
    scripted.configure(seconds=1)
    scripted.begin("/a/1")
    before = scripted.snapshot()
    for place in ("GET /$", "GET /whoami"):
        scripted.fts.odd.clear()
        scripted.fts.answers(place, odd.silence)
        scripted.master(scripted.files("/a/2"), "2.txt")
        scripted.produce()
        said = scripted.run("migrate-consumer", "--json").gave(75)
        assert said.json["state"] == "unavailable"
        assert said.seconds < 25
    assert scripted.sql("SELECT state FROM ftsjob") == [("submitted",)]
    assert before["transfer"] == scripted.sql("SELECT * FROM transfer")


def test_207_the_good_ones_are_taken_the_unknown_ones_told(scripted: Scripted) -> None:
    jobs = [scripted.begin(f"/a/{n}") for n in range(3)]
    jobs[0].finish()
    del scripted.fts.jobs[jobs[1].id]
    jobs[2].finish()
    said = scripted.run("migrate-monitor", "--json").gave(0)
    assert scripted.states() == {"Okay": 2, "DOING": 1}
    assert [e["what"] for e in said.json["errors"]] == ["job unknown at its server"]
    assert f"{jobs[1].id} at fake" in said.json["errors"][0]["subject"]
    assert len(scripted.fts.requests) == len([r for r in scripted.fts.requests if r[0] != "POST"]) + 3


def test_404_is_neither_done_nor_failed(scripted: Scripted) -> None:
    job = scripted.begin("/a/1")
    before = scripted.snapshot()
    kept = scripted.fts.jobs.pop(job.id)
    for _ in range(2):
        said = scripted.run("migrate-monitor").gave(0)
        assert "job unknown at its server" in said.err
        assert "--abandon fake" in said.err
        assert scripted.snapshot() == before
    scripted.fts.jobs[job.id] = kept.finish()
    scripted.monitor()
    assert scripted.states() == {"Okay": 1}


def test_404_after_a_lost_answer_proves_nothing(scripted: Scripted) -> None:
    """The same sid again, to the same server, never elsewhere."""
    scripted.master(scripted.files("/a/1"))
    scripted.produce()
    scripted.fts.answers("POST /jobs", odd.nothing, 1)
    scripted.consume()
    (sid, job) = scripted.sql("SELECT sid, job FROM ftsjob")[0]
    assert scripted.fts.jobs == {}
    scripted.consume()
    assert list(scripted.fts.jobs) == [job]
    assert scripted.fts.job().params["sid"] == sid
    assert len(scripted.fts.asked("POST /jobs")) == 2


STATES = ["SUBMITTED", "READY", "ACTIVE", "STAGING", "ARCHIVING", "QOS_TRANSITION", "WHATEVER"]


@pytest.mark.parametrize("state", STATES)
def test_states_in_between_and_states_nobody_knows_change_nothing(state: str, scripted: Scripted) -> None:
    job = scripted.begin("/a/1", "/a/2")
    before = scripted.snapshot()
    job.state = state
    for file in job.files:
        file.state = state
    said = scripted.run("migrate-monitor").gave(0)
    assert ("WHATEVER" in said.err) == (state == "WHATEVER") == bool(said.err)
    assert scripted.snapshot() == before
    job.files[0].state = "FINISHED"
    scripted.monitor()
    assert scripted.snapshot() == before, "one file is under way still"
    job.files[0].state = state
    job.state = "FINISHED"
    scripted.monitor()
    assert scripted.snapshot() == before, "the job's own word does not count while a file is under way"


def test_an_ended_job_that_says_nothing_of_its_files_is_unknown(scripted: Scripted) -> None:
    job = scripted.begin("/a/1", "/a/2")
    before = scripted.snapshot()
    job.finish()
    for files in ([], job.files[:1]):
        shown = job.shown(False) | {"files": [file.shown() for file in files]}
        scripted.fts.odd.clear()
        scripted.fts.answers("GET /jobs/", (200, json.dumps(shown).encode()))
        scripted.run("migrate-monitor").gave(0)
        assert scripted.snapshot() == before, f"{len(files)} of 2 files"
    scripted.fts.odd.clear()
    scripted.monitor()
    assert scripted.states() == {"Okay": 2}
