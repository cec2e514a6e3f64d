"""design.md section 4, line by line: who wins when a hand or a crash made directories and tables disagree. Plain passes only."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.migrate.steps import Site
from tests.support import Server, port_base, run

SLOW = '[[fault]]\nmatch = "*/slow*"\nop = "stall"\nseconds = 600\n'


@pytest.fixture
def site(home: Path, serve: Callable[..., Server]) -> Site:
    """One server, on which */slow* stands still."""
    made = Site(home, serve)
    made.only()
    made.start()
    made.faults(SLOW)
    return made


def under_way(site: Site) -> str:
    """A list with one file, under way. Gives its name."""
    site.master(site.files("/a/slow1"))
    site.produce()
    site.consume()
    (name,) = site.names("DOING")
    return name


def ends_well(site: Site, *lfns: str) -> None:
    """All goes on: each file arrives, copied once, submitted once."""
    site.faults("")
    for name in list(site.servers):  # a stalled copy begins anew
        site.servers[name].stop()
        site.start(names=(name,))
    site.monitor()
    site.settle()
    assert site.lines("DONE/Okay") == sorted(lfns)
    assert sorted(map(site.lfn, site.copies())) == sorted(lfns)
    site.agrees()


def test_a_list_in_todo_with_an_open_attempt_goes_to_doing_and_is_not_submitted_again(site: Site) -> None:
    name = under_way(site)
    site.move("DOING", "TODO", name)
    site.consume()
    site.monitor()
    assert (site.names("TODO"), site.names("DOING")) == ([], [name])
    assert len(site.ask("/sim/submissions")) == 1
    ends_well(site, "/a/slow1")


def test_a_list_in_todo_whose_files_are_all_terminal_is_a_persons_requeue(site: Site) -> None:
    """New attempts; the journal says so; what is Okay is skipped and told."""
    site.faults('[[fault]]\nmatch = "*/b"\nop = "fail"\nreason = "SOURCE [2] No such file or directory"\n')
    site.master(site.files("/a/a", "/a/b"))
    site.produce()
    site.settle()
    (name,) = site.names("DONE/Bad")
    site.faults("")
    text = (site.home / "migrate/DONE/Okay" / name).read_text() + (site.home / "migrate/DONE/Bad" / name).read_text()
    (site.home / "migrate/DONE/Bad" / name).unlink()
    (site.home / "migrate/TODO" / name).write_text(text)
    found = site.consume()
    assert "/a/a: is at the destination already, proved equal" in found.err
    site.settle()
    assert site.lines("DONE/Okay") == ["/a/a", "/a/b"]
    assert site.names("DONE/Bad") == []
    assert sorted(map(site.lfn, site.copies())) == ["/a/a", "/a/b"]
    whys = [why for (why,) in site.sql("SELECT why FROM journal WHERE from_state = 'Bad'")]
    assert whys == ["put into TODO again by hand"]
    site.agrees()


def test_a_list_in_doing_with_no_intent_row_goes_to_todo(site: Site) -> None:
    """The seed's rule 1."""
    site.files("/a/x", "/a/y")
    site.put("DOING", "by-hand.txt", "/a/x")
    site.master(["/a/y"])
    site.produce()
    (name,) = site.names("TODO")
    site.move("TODO", "DOING", name)
    site.monitor()
    assert site.names("TODO") == sorted([name, "by-hand.txt"])
    assert site.names("DOING") == []
    ends_well(site, "/a/x", "/a/y")


def test_a_list_in_doing_with_an_attempt_that_the_tables_have_lost_is_not_sent_again(site: Site) -> None:
    """Tables older than the directories: rule 1 would submit the running job's files a second time."""
    site.master(site.files("/a/slow1"))
    site.produce()
    older = {path: path.read_bytes() for path in site.home.glob("dmtools.db*")}
    site.consume()
    for path in site.home.glob("dmtools.db*"):
        path.unlink()
    for path, data in older.items():
        path.write_bytes(data)
    (name,) = site.names("DOING")
    site.monitor()
    site.consume()
    assert len(site.ask("/sim/submissions")) == 1
    site.run("dm-check", "--repair").ok()
    assert (site.names("TODO"), site.names("DOING")) == ([], [name])
    ends_well(site, "/a/slow1")
    assert len(site.ask("/sim/submissions")) == 1


@pytest.mark.parametrize("folder", ["TODO", "DOING"])
def test_a_list_in_no_directory_with_open_files_is_written_again(site: Site, folder: str) -> None:
    name = under_way(site)
    if folder == "TODO":
        site.master(site.files("/a/new"), "more.txt")
        site.produce()
        (name,) = site.names("TODO")
    before = (site.home / "migrate" / folder / name).read_text()
    (site.home / "migrate" / folder / name).unlink()
    site.monitor()
    assert site.names(folder) == [name]
    assert (site.home / "migrate" / folder / name).read_text() == before
    ends_well(site, "/a/slow1", *(["/a/new"] if folder == "TODO" else []))


@pytest.mark.parametrize("state", ["TODO", "DOING"])
def test_of_a_list_in_two_directories_the_one_of_the_tables_stays(site: Site, state: str) -> None:
    name = under_way(site)
    if state == "TODO":
        site.master(site.files("/a/new"), "more.txt")
        site.produce()
        (name,) = site.names("TODO")
    other = "DOING" if state == "TODO" else "TODO"
    shutil.copy(site.home / "migrate" / state / name, site.home / "migrate" / other / name)
    site.monitor()
    assert name in site.names(state)
    assert name not in site.names(other)
    assert [path.name for path in (site.home / "run/set-aside").iterdir()] == [f"{other}-{name}"]
    ends_well(site, "/a/slow1", *(["/a/new"] if state == "TODO" else []))


def test_a_pass_mends_its_own_homes_lists_only(site: Site, short_tmp: Path) -> None:
    """Two HOMEs on one database: neither touches the other's lists."""
    other = short_tmp / "other"
    run("dm-config", "init", other, "--port-base", port_base()).ok()
    url = f'[database]\nurl = "sqlite:///{site.home}/dmtools.db"\n'
    text = (site.home / "dmtools.toml").read_text()
    (other / "dmtools.toml").write_text(text.replace(str(site.home), str(other)) + url)
    shutil.copytree(site.home / "run/sim", other / "run/sim", dirs_exist_ok=True)
    name = under_way(site)
    for command in ("migrate-producer", "migrate-consumer", "migrate-monitor"):
        run(command, home=other).ok()
    assert run("dm-check", "--json", home=other).ok().json["agrees"] is True
    assert list((other / "migrate/DOING").iterdir()) == []
    assert [path.name for path in (other / "migrate/TODO").iterdir()] == ["ListOfLFNs"]
    (site.home / "migrate/DOING" / name).unlink()
    run("migrate-monitor", home=other).ok()
    assert site.names("DOING") == []
    site.faults("")
    site.servers["fts1"].stop()
    site.start()
    shutil.copytree(site.home / "run/sim", other / "run/sim", dirs_exist_ok=True)
    site.over()
    run("migrate-monitor", home=other).ok()
    assert site.states() == {"DOING": 1}
    ends_well(site, "/a/slow1")
    assert list((other / "migrate/DONE/Okay").iterdir()) == []


def test_nothing_else_is_guessed(site: Site) -> None:
    """What no rule names is left where it is, told by dm-check."""
    site.files("/a/x")
    place = site.put("DONE/Okay", "my-notes.txt", "/a/x")
    (site.home / "migrate/DONE/Bad/readme").write_text("look here\n")
    site.produce()
    site.monitor()
    site.consume()
    found = site.run("dm-check", "--repair", "--json").ok().json
    assert {(one["rule"], one["subject"]) for one in found["findings"]} == {
        ("not-ours", "DONE/Okay/my-notes.txt"),
        ("not-ours", "DONE/Bad/readme"),
    }
    assert place.exists()
    assert site.states() == {}
