"""The seven rules of the original monitor, each by name, with what belongs to it: the D prefix, DONE/Dirty, the reason in Bad."""

from __future__ import annotations

import re

import pytest

from dmtools.spool import listfile
from tests.transfers.conftest import Scripted, scripted, template, warm  # noqa: F401 - fixtures

NETWORK = "TRANSFER [104] Connection reset by peer"
MISSING = "500 No such file or directory"
NAME = re.compile(r"FTSList-\d{8}T\d{6}\.\d{6}Z-[\w.-]+-\d+\.txt")


def text(site: Scripted, folder: str, name: str) -> str:
    return (site.home / "migrate" / folder / name).read_text()


def test_rule_1_a_list_in_doing_without_a_record_of_a_job_goes_to_todo(scripted: Scripted) -> None:  # noqa: F811
    scripted.master(scripted.files("/a/1"))
    scripted.produce()
    (name,) = scripted.names("TODO")
    folder = scripted.home / "migrate"
    (folder / "TODO" / name).rename(folder / "DOING" / name)
    by_hand = f"file://{scripted.source('/a/2')}  file://{scripted.target('/a/2')}\n"
    scripted.files("/a/2")
    (folder / "DOING/by-hand.txt").write_text(by_hand)
    said = scripted.run("migrate-monitor", "--json").ok()
    assert scripted.names("TODO") == [name, "by-hand.txt"]
    assert scripted.names("DOING") == []
    assert said.json["errors"] == []
    assert scripted.fts.requests == []
    scripted.consume()
    for job in scripted.fts.jobs.values():
        job.finish()
    scripted.monitor()
    assert scripted.lines("DONE/Okay") == ["/a/1", "/a/2"]


def test_rule_2_finished_the_list_moves_to_okay(scripted: Scripted) -> None:  # noqa: F811
    scripted.begin("/a/1", "/a/2").finish()
    (name,) = scripted.names("DOING")
    assert NAME.fullmatch(name)
    said = scripted.run("migrate-monitor", "--json").ok()
    assert said.json["counts"] == {"DOING>Okay": 2}
    assert (scripted.names("DOING"), scripted.names("DONE/Okay")) == ([], [name])
    found = listfile.parse(text(scripted, "DONE/Okay", name).encode())
    assert [pair.destination for pair in found.pairs] == [f"file://{scripted.target(f'/a/{n}')}" for n in (1, 2)]
    assert scripted.names("DONE/Dirty") == []


def test_rule_3_finisheddirty_good_to_okay_missing_to_bad_the_rest_again_with_a_d(scripted: Scripted) -> None:  # noqa: F811
    job = scripted.begin("/a/good", "/a/gone", "/a/later", "/a/full", "/a/100%")
    (name,) = scripted.names("DOING")
    before = text(scripted, "DOING", name)
    job.finish("/a/good", "/a/100")
    job.fail(MISSING, "/a/gone")
    job.fail(NETWORK, "/a/later")
    job.fail("DESTINATION [28] No space left on device", "/a/full")
    assert job.state == "FINISHEDDIRTY"
    said = scripted.run("migrate-monitor", "--json").gave(1)
    assert said.json["counts"] == {"DOING>Okay": 2, "DOING>Bad": 1, "DOING>TODO": 2}
    assert scripted.lines("DONE/Okay") == ["/a/100%25", "/a/good"]
    assert (scripted.names("TODO"), scripted.lines("TODO")) == (["D" + name], ["/a/full", "/a/later"])
    assert (scripted.names("DONE/Bad"), scripted.lines("DONE/Bad")) == ([name], ["/a/gone"])
    assert scripted.names("DOING") == []
    # the original list, for the record, and counted nowhere
    kept = listfile.parse(text(scripted, "DONE/Dirty", name).encode()).pairs
    assert kept == listfile.parse(before.encode()).pairs
    assert scripted.tally() == {"Okay": 2, "Bad": 1, "TODO": 2}
    # the reason is a comment above its file
    lines = text(scripted, "DONE/Bad", name).splitlines()
    place = next(n for n, line in enumerate(lines) if "/a/gone" in line)
    assert lines[place - 1] == f"# missing: {MISSING} (1 failed attempts; find the file or take it off the list)"
    # a second dirty job of the rest: another D, another record
    job = scripted.again().finish("/a/full")
    job.fail(NETWORK, "/a/later")
    scripted.monitor()
    assert scripted.names("TODO") == ["DD" + name]
    assert scripted.names("DONE/Dirty") == ["D" + name, name]
    scripted.again().finish()
    scripted.monitor()
    assert scripted.tally() == {"Okay": 4, "Bad": 1}


def test_what_lies_in_bad_can_be_moved_to_todo_as_it_is(scripted: Scripted) -> None:  # noqa: F811
    scripted.begin("/a/good", "/a/gone").finish("/a/good").fail(MISSING, "/a/gone")
    scripted.monitor()
    (name,) = scripted.names("DONE/Bad")
    (scripted.home / "migrate/DONE/Bad" / name).rename(scripted.home / "migrate/TODO" / name)
    scripted.again().finish()
    scripted.monitor()
    assert scripted.lines("DONE/Okay") == ["/a/gone", "/a/good"]
    assert scripted.names("DONE/Bad") == []
    assert scripted.tally() == {"Okay": 2}
    why = [row[0] for row in scripted.sql("SELECT why FROM journal WHERE from_state = 'Bad'")]
    assert why == ["put into TODO again by hand"]


@pytest.mark.parametrize(("number", "state"), [(4, "ACTIVE"), (6, "SUBMITTED")])
def test_rules_4_and_6_active_and_submitted_nothing(number: int, state: str, scripted: Scripted) -> None:  # noqa: F811
    job = scripted.begin("/a/1")
    job.state = job.files[0].state = state
    before = scripted.snapshot()
    said = scripted.run("migrate-monitor", "--json").ok()
    assert (said.json["counts"], said.json["errors"], said.err) == ({}, [], "")
    assert scripted.snapshot() == before


def test_rule_5_failed_again_three_times_then_bad(scripted: Scripted) -> None:  # noqa: F811
    job = scripted.begin("/a/1", "/a/2")
    (name,) = scripted.names("DOING")
    for attempt in range(1, 5):
        job.fail(NETWORK)
        scripted.monitor()
        folder = "TODO" if attempt < 4 else "DONE/Bad"
        assert (scripted.names(folder), scripted.lines(folder)) == ([name], ["/a/1", "/a/2"]), attempt
        assert scripted.names("DOING") == []
        job = scripted.again() if attempt < 4 else job
    assert text(scripted, "DONE/Bad", name).count(f"# network: {NETWORK}") == 2
    assert len(scripted.fts.jobs) == 4
    assert len({job.params["sid"] for job in scripted.fts.jobs.values()}) == 4
    assert scripted.tally() == {"Bad": 2}


def test_rule_7_anything_else_is_told_and_nothing_is_done(scripted: Scripted) -> None:  # noqa: F811
    job = scripted.begin("/a/1")
    before = scripted.snapshot()
    job.state = job.files[0].state = "PARTLY_CLOUDY"
    said = scripted.run("migrate-monitor", "--json").ok()
    assert scripted.snapshot() == before
    assert "PARTLY_CLOUDY" in said.err, "the original printed a message"
    assert [e["left"] for e in said.json["errors"]]
    kept = scripted.fts.jobs.pop(job.id)
    said = scripted.run("migrate-monitor").ok()
    assert "job unknown at its server" in said.err
    assert scripted.snapshot() == before
    scripted.fts.jobs[job.id] = kept.finish()
    scripted.monitor()
    assert scripted.states() == {"Okay": 1}
