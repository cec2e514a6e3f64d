"""migrate-triage: what is Bad and why, and back to TODO by class, by reason, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.migrate.steps import Site
from tests.support import Server

GOOD = ["/a/good1", "/a/good2"]
FAILING = ["/a/bad1", "/a/bad2", "/a/bad3"]
FAULT = '[[fault]]\nmatch = "*/{}"\nop = "fail"\nreason = "{}"\n'
NAME = "DESTINATION [36] File name too long"
LOST = "SOURCE [2] No such file or directory"


@pytest.fixture
def site(home: Path, serve: Callable[..., Server]) -> Iterator[Site]:
    """Two good files, two Bad by their names, one Bad by missing, one line that names no file."""
    made = Site(home, serve)
    made.only()
    made.start()
    made.faults(FAULT.format("bad[12]", NAME) + FAULT.format("bad3", LOST))
    made.master([*made.files(*GOOD, *FAILING), "/a/../b"])
    made.produce()
    made.settle()
    assert made.states() == {"Okay": 2, "Bad": 4}
    return made


def test_lists_the_bad_files_by_class(site: Site) -> None:
    found = site.run("migrate-triage", "--json").ok().json
    classes = {one["class"]: one for one in found["classes"]}
    assert {name: one["files"] for name, one in classes.items()} == {"name": 2, "missing": 1, "invalid": 1}
    assert NAME in classes["name"]["examples"][0]["reason"]
    assert classes["invalid"]["cannot_be_requeued"] == 1
    assert (found["pipeline"], found["component"], found["requeued"]) == ("migrate", "triage", 0)
    said = site.run("migrate-triage", "--class", "NAme").ok().out
    assert "2  Bad, name" in said
    assert NAME in said
    assert "invalid" not in said


def test_a_class_goes_back_and_succeeds(site: Site) -> None:
    site.faults("")
    before = site.copies()
    done = site.run("migrate-triage", "--class", "name", "--requeue", "--reason", "the disk is mended", "--json").ok().json
    assert done["requeued"] == 2
    assert done["counts"] == {"Bad>TODO": 2}
    assert site.lines("TODO") == ["/a/bad1", "/a/bad2"]
    assert site.lines("DONE/Bad") == ["/a/bad3"]
    assert site.state("/a/bad1")[:3] == ("TODO", None, 0)
    assert site.tally() == {"Okay": 2, "TODO": 2, "Bad": 2}
    (why,) = site.sql("SELECT why FROM journal WHERE from_state = 'Bad' AND to_state = 'TODO' LIMIT 1")[0]
    assert "the disk is mended" in why
    assert NAME in why
    site.settle()
    assert site.lines("DONE/Okay") == ["/a/bad1", "/a/bad2", *GOOD]
    assert sorted(map(site.lfn, site.copies())) == sorted([*map(site.lfn, before), "/a/bad1", "/a/bad2"])


def test_by_reason_and_by_name(site: Site) -> None:
    assert site.run("migrate-triage", "--match", "no such FILE", "--requeue", "--json").ok().json["requeued"] == 1
    assert site.lines("TODO") == ["/a/bad3"]
    assert site.run("migrate-triage", "/a/bad2", "--requeue", "--json").ok().json["requeued"] == 1
    assert site.lines("TODO") == ["/a/bad2", "/a/bad3"]
    assert site.lines("DONE/Bad") == ["/a/bad1"]


def test_a_name_that_is_not_bad_is_told(site: Site) -> None:
    found = site.run("migrate-triage", "/a/good1", "/a/bad1", "/nowhere", "--requeue", "--json").gave(1)
    assert found.json["requeued"] == 1
    assert [(e["subject"], e["why"]) for e in found.json["errors"]] == [
        ("/a/good1", "it is Okay, class None"),
        ("/nowhere", "no file of this name is Bad or Missing"),
    ]


def test_what_can_not_succeed_is_told_and_left(site: Site) -> None:
    found = site.run("migrate-triage", "--all", "--requeue", "--json").ok().json
    assert found["requeued"] == 3
    assert [(e["what"], e["subject"]) for e in found["errors"]] == [("can't be requeued", "/a/../b")]
    assert site.states() == {"Okay": 2, "TODO": 3, "Bad": 1}


def test_a_dry_run_prints_the_plan_and_changes_nothing(site: Site) -> None:
    before = site.sql("SELECT * FROM transfer"), site.sql("SELECT * FROM component"), site.names("DONE/Bad")
    found = site.run("migrate-triage", "--class", "name", "--requeue", "--dry-run").ok()
    assert "a new list in TODO with 2 files that were Bad (name), from /a/bad1 on" in found.out
    assert (site.sql("SELECT * FROM transfer"), site.sql("SELECT * FROM component"), site.names("DONE/Bad")) == before
    said = site.run("migrate-triage", "--class", "name", "--requeue", "-v").ok().err
    assert "a new list in TODO with 2 files that were Bad (name), from /a/bad1 on" in said


def test_wrong_use_is_told(site: Site) -> None:
    assert "did you mean 'name'?" in site.run("migrate-triage", "--class", "nmae").gave(2).err
    assert "which files" in site.run("migrate-triage", "--requeue").gave(2).err


def test_a_halt_does_not_stop_a_person(site: Site) -> None:
    site.run("dm-command", "halt", "migrate").ok()
    assert site.run("migrate-triage", "--class", "name", "--requeue", "--json").ok().json["requeued"] == 2
    assert site.lines("TODO") == ["/a/bad1", "/a/bad2"]


def test_missing_files_go_back_too(home: Path, serve: Callable[..., Server]) -> None:
    site = Site(home, serve)
    site.only()
    site.start()
    site.master(["/late/file"])
    site.produce()
    site.settle()
    assert site.states() == {"Missing": 1}
    assert site.run("migrate-triage", "--all", "--requeue", "--json").ok().json["requeued"] == 0
    site.files("/late/file")
    assert site.run("migrate-triage", "--missing", "--class", "missing", "--requeue", "--json").ok().json["requeued"] == 1
    assert site.names("DONE/Missing") == []
    site.settle()
    assert site.lines("DONE/Okay") == ["/late/file"]


def test_lists_have_at_most_so_many_files(site: Site) -> None:
    site.run("migrate-triage", "--all", "--requeue", "--lfns", 2).ok()
    assert len(site.names("TODO")) == 2
    assert len(site.lines("TODO")) == 3


@pytest.mark.parametrize("calls", ["fdatasync,fsync", "rename,renameat,renameat2,unlink,unlinkat"])
def test_killed_anywhere_it_is_taken_on(site: Site, calls: str) -> None:
    """strace kills the command at its 1st, 2nd, ... call; the next passes finish what was begun, then it is as before again."""
    bad = ["/a/bad1", "/a/bad2"]
    survived = False
    for number in range(1, 40):
        kill = ("strace", "-f", "-o", "/dev/null", "-e", f"inject={calls}:signal=KILL:when={number}")
        survived = site.run("migrate-triage", "--class", "name", "--requeue", prefix=kill).code == 0
        site.monitor()
        left = site.states()
        assert left in ({"Okay": 2, "Bad": 4}, {"Okay": 2, "TODO": 2, "Bad": 2}), left
        assert site.lines("TODO") == (bad if "TODO" in left else [])
        assert site.lines("DONE/Bad") == (["/a/bad3"] if "TODO" in left else FAILING)
        assert site.tally() == left
        if survived:
            break
        if "TODO" in left:  # they fail again, the same way
            site.settle()
            assert site.states() == {"Okay": 2, "Bad": 4}
    assert survived, "it was killed at each of 39 calls"
