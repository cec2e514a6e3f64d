"""migrate-cancel: jobs at their servers, files of a job, lists in TODO, and what a dead server holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.migrate.steps import Site
from tests.support import Server, wait_until

STALL = '[[fault]]\nmatch = "*/{}"\nop = "stall"\nseconds = 600\n'
BOTH = '[fts]\nservers = [{ name = "fts1", url = "sim:fts1", weight = 1 }, { name = "fts2", url = "sim:fts2", weight = 1 }]\n'


@pytest.fixture
def site(home: Path, serve: Callable[..., Server]) -> Site:
    """One server on which the copies of */slow* stand still; nothing is under way yet."""
    made = Site(home, serve)
    made.only()
    made.start()
    made.faults(STALL.format("slow*"))
    return made


def begun(site: Site, *lfns: str, name: str = "all.txt") -> None:
    """These files are under way; the quick ones have arrived."""
    site.master(site.files(*lfns), name)
    site.produce()
    site.consume()
    quick = [lfn for lfn in lfns if "slow" not in lfn]
    wait_until(lambda: all(site.target(lfn).exists() for lfn in quick), 60, f"{quick} have arrived")
    wait_until(lambda: len(site.copies()) >= len(quick), 60, f"{quick} are done")


def test_a_list_is_canceled_and_settled(site: Site) -> None:
    begun(site, "/a/quick", "/a/slow1", "/a/slow2")
    (name,) = site.names("DOING")
    found = site.run("migrate-cancel", name, "--reason", "wrong month", "--json").ok().json
    assert found["counts"] == {"submitted>CANCELED": 1}
    site.monitor()
    assert site.lines("DONE/Okay") == ["/a/quick"]
    assert site.lines("DONE/Bad") == ["/a/slow1", "/a/slow2"]
    assert site.state("/a/slow1")[:2] == ("Bad", "withdrawn")
    assert "wrong month" in (site.home / "migrate/DONE/Bad" / name).read_text()
    assert (site.names("DOING"), site.names("TODO")) == ([], [])
    assert site.tally() == {"Okay": 1, "Bad": 2}
    site.faults("")
    site.run("migrate-triage", "--class", "withdrawn", "--requeue").ok()
    site.due()
    site.settle()
    assert site.lines("DONE/Okay") == ["/a/quick", "/a/slow1", "/a/slow2"]
    assert len(site.copies()) == 3


def test_one_file_of_a_job_leaves_the_others_alone(site: Site) -> None:
    begun(site, "/a/quick", "/a/slow1", "/a/slow2")
    site.run("migrate-cancel", "/a/slow1").ok()
    site.monitor()
    assert site.states() == {"DOING": 3}
    job = site.sql("SELECT job FROM ftsjob")[0][0]
    files = site.ask(f"/jobs/{job}?files=file_state,source_surl")["files"]
    states = {file["source_surl"][-5:]: file["file_state"] for file in files}
    assert states == {"quick": "FINISHED", "slow1": "CANCELED", "slow2": "ACTIVE"}
    site.run("migrate-cancel", job).ok()
    site.monitor()
    assert site.states() == {"Okay": 1, "Bad": 2}


def test_all_and_by_server(site: Site) -> None:
    begun(site, "/a/slow1", name="1.txt")
    begun(site, "/a/slow2", name="2.txt")
    plan = site.run("migrate-cancel", "--all", "--dry-run").ok().out
    assert plan.count("cancel job") == 2
    assert site.sql("SELECT COUNT(*) FROM ftsjob WHERE canceled_by IS NOT NULL") == [(0,)]
    assert "did you mean 'fts1'" in site.run("migrate-cancel", "--server", "ftsl").gave(2).err
    site.run("migrate-cancel", "--server", "fts1").ok()
    site.monitor()
    assert site.states() == {"Bad": 2}


def test_lists_and_files_in_todo_are_withdrawn(site: Site) -> None:
    lfns = site.files(*[f"/a/f{n}" for n in range(6)])
    site.master(lfns)
    site.produce(lfns=2)
    first, second, third = site.names("TODO")
    assert site.tally() == {"TODO": 6}
    assert f"withdraw the list {first}" in site.run("migrate-cancel", first, "--dry-run").ok().out
    assert site.run("migrate-cancel", first, "--json").ok().json["counts"] == {"TODO>Bad": 2}
    assert site.lines("DONE/Bad") == ["/a/f0", "/a/f1"]
    assert site.names("TODO") == [second, third]
    assert site.tally() == {"TODO": 4, "Bad": 2}
    said = site.run("migrate-cancel", "/a/f2", "/nowhere").gave(1).err
    assert "name the list" in said
    assert site.run("migrate-triage", "--all", "--requeue", "--json").ok().json["requeued"] == 2
    assert site.run("migrate-cancel", "/a/f1", "--json").ok().json["counts"] == {"TODO>Bad": 1}
    assert site.lines("TODO") == ["/a/f0", "/a/f2", "/a/f3", "/a/f4", "/a/f5"]
    site.run("migrate-cancel", "--all", "--todo").ok()
    assert (site.names("TODO"), site.tally()) == ([], {"Bad": 6})
    assert "nothing of it is under way" in site.run("migrate-cancel", first).gave(1).err


def test_a_server_that_is_away_is_told_later(site: Site) -> None:
    begun(site, "/a/slow1")
    site.servers["fts1"].kill()
    found = site.run("migrate-cancel", "--all").gave(75)
    assert "the next pass that reaches the server cancels them" in found.err
    assert site.states() == {"DOING": 1}
    site.start()
    site.monitor()
    assert site.state("/a/slow1")[:2] == ("Bad", "withdrawn")


def test_what_was_perhaps_never_sent_is_canceled_all_the_same(site: Site) -> None:
    """The answer of the submission is lost, then somebody cancels."""
    site.faults(STALL.format("slow*") + '[[fault]]\nmatch = "POST /jobs"\nop = "http500"\n')
    site.master(site.files("/a/slow1"))
    site.produce()
    site.consume()
    assert site.sql("SELECT state FROM ftsjob") == [("intent",)]
    assert "sends the same job once more" in site.run("migrate-cancel", "--all").ok().err
    site.faults(STALL.format("slow*"))
    site.monitor()
    assert site.state("/a/slow1")[:2] == ("Bad", "withdrawn")
    assert len(site.ask("/sim/submissions")) == 1


def test_what_another_cancels_is_tried_again(site: Site) -> None:
    begun(site, "/a/slow1")
    job = site.sql("SELECT job FROM ftsjob")[0][0]
    site.ask(f"/jobs/{job}", method="DELETE")
    site.monitor()
    assert site.state("/a/slow1")[:3] == ("TODO", "canceled", 1)


def test_abandon_asks_first(site: Site) -> None:
    begun(site, "/a/slow1")
    assert "answers, so its jobs can be canceled there" in site.run("migrate-cancel", "--abandon", "fts1", "--yes").gave(2).err
    site.servers["fts1"].kill()
    assert "--yes does it" in site.run("migrate-cancel", "--abandon", "fts1").gave(2).err
    assert "1 go to another" in site.run("migrate-cancel", "--abandon", "fts1", "--dry-run").ok().out
    assert site.states() == {"DOING": 1}


def test_abandon_frees_what_a_dead_server_held(home: Path, serve: Callable[..., Server]) -> None:
    """Whole copies are Okay; half ones may be replaced; the rest goes to the other server, not at once."""
    site = Site(home, serve)
    site.settings(BOTH)
    site.start()
    site.faults(STALL.format("slow*"))
    begun(site, "/a/quick", "/a/slow1", "/a/slow2", "/a/slow3")
    (name,) = site.names("DOING")
    site.servers["fts1"].kill()
    site.target("/a/slow1").unlink(missing_ok=True)
    site.target("/a/slow2").write_bytes(b"half")
    site.target("/a/slow3").write_bytes(site.source("/a/slow3").read_bytes())
    found = site.run("migrate-cancel", "--abandon", "fts1", "--yes", "--json").ok().json
    assert found["counts"] == {"DOING>Okay": 2, "DOING>TODO": 2}
    assert site.lines("DONE/Okay") == ["/a/quick", "/a/slow3"]
    assert site.lines("TODO") == ["/a/slow1", "/a/slow2"]
    rows = site.sql("SELECT name, overwrite, failures FROM transfer WHERE state = 'TODO'")
    assert rows == [("/a/slow1", 0, 0), ("/a/slow2", 1, 0)]
    assert site.sql("SELECT state, fts_state FROM ftsjob") == [("abandoned", "ABANDONED")]
    assert site.names("DOING") == []
    site.start(names=("fts2",))
    site.consume()
    assert site.lines("TODO") == ["/a/slow1", "/a/slow2"]  # not at once
    site.due()
    site.settle()
    assert site.states() == {"Okay": 4}
    assert site.target("/a/slow2").read_bytes() == site.source("/a/slow2").read_bytes()
    assert sorted(map(site.lfn, site.copies("fts2"))) == ["/a/slow1", "/a/slow2"]
    assert name in (site.run("dm-trace", "/a/slow1").ok().out + name)


def test_an_abandoned_job_is_canceled_when_its_server_comes_back(site: Site) -> None:
    begun(site, "/a/slow1")
    job = site.sql("SELECT job FROM ftsjob")[0][0]
    site.servers["fts1"].kill()
    site.run("migrate-cancel", "--abandon", "fts1", "--yes").ok()
    site.start()
    site.due()
    site.consume()
    assert site.ask(f"/jobs/{job}")["job_state"] == "CANCELED"
    assert site.sql("SELECT state FROM ftsjob WHERE job = ?", job) == [("closed",)]


def test_a_server_that_answers_gives_up_only_what_it_has_forgotten(site: Site) -> None:
    begun(site, "/a/slow1", name="1.txt")
    begun(site, "/a/slow2", name="2.txt")
    with site.database() as db:  # as a server has it that was installed anew
        db.execute("UPDATE ftsjob SET job = '00000000-0000-4000-8000-000000000000' WHERE id = (SELECT MIN(id) FROM ftsjob)")
    found = site.run("migrate-cancel", "--abandon", "fts1", "--force", "--yes").ok()
    assert "fts1 answers and has it" in found.err
    assert site.sql("SELECT name, state FROM transfer ORDER BY name") == [("/a/slow1", "TODO"), ("/a/slow2", "DOING")]


def test_nothing_is_freed_when_the_storage_can_not_be_asked(site: Site) -> None:
    begun(site, "/a/slow1")
    site.servers["fts1"].kill()
    with site.database() as db:
        db.execute("UPDATE transfer SET destination = 'srm://nowhere.example/a/slow1'")
    found = site.run("migrate-cancel", "--abandon", "fts1", "--yes").gave(1)
    assert "--force sends it again all the same" in found.err
    assert site.states() == {"DOING": 1}


@pytest.mark.parametrize(
    "words",
    [[], ["--all", "name"], ["--all", "--abandon", "fts1"], ["--todo", "x"], ["x", "--yes"], ["--abandon", "ftsx", "--yes"]],
)
def test_wrong_use(home: Path, words: list[str], run: Callable[..., object]) -> None:
    run("migrate-cancel", *words, home=home).gave(2)  # type: ignore[attr-defined]
