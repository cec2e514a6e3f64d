"""The tables are lost at several moments: dm-check --repair rebuilds them; nothing is lost, nothing is copied twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.migrate.steps import Site
from tests.support import Server, wait_until

LFNS = [f"/a/f{n}" for n in range(1, 8)]
SLOW = '[[fault]]\nmatch = "*/f[67]"\nop = "stall"\nseconds = 600\n'
FAIL = '[[fault]]\nmatch = "*/f{}"\nop = "fail"\nreason = "{}"\ntimes = {}\n'


@pytest.fixture
def site(home: Path, serve: Callable[..., Server]) -> Site:
    """Seven files in a master list, with a line that names no file; one server."""
    made = Site(home, serve)
    made.only()
    made.start()
    made.master([*made.files(*LFNS), "/a/../b"])
    return made


def lose(site: Site, how: str) -> None:
    """The tables are lost."""
    path = site.home / "dmtools.db"
    for tail in ("-wal", "-shm"):
        path.with_name(path.name + tail).unlink(missing_ok=True)
    if how == "deleted":
        path.unlink()
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "overwritten":
        path.write_bytes(b"this is no database\n" * 400)
    elif how == "damaged":
        data = bytearray(path.read_bytes())
        data[4096:] = bytes(len(data) - 4096)
        path.write_bytes(data)
    else:
        path.unlink()
        site.run("dm-db", "upgrade").ok()
        assert "dm-check --repair" in site.run("migrate-producer").gave(75).err


def mended(site: Site, *options: object) -> None:
    """Repaired; a second look finds nothing, and neither do plain passes."""
    site.run("dm-check", "--repair", *options).ok()
    again = site.run("dm-check", "--json").ok().json
    assert [one for one in again["findings"] if not one["note"]] == []


def whole(site: Site, bad: int = 1) -> None:
    """Each file is at its destination and Okay, each was copied once."""
    site.produce()
    site.settle()
    assert site.lines("DONE/Okay") == LFNS
    assert site.tally() == {"Okay": len(LFNS), "Bad": bad}
    assert sorted(map(site.lfn, site.copies())) == LFNS
    assert all(site.target(lfn).read_bytes() == site.source(lfn).read_bytes() for lfn in LFNS)
    assert [row for row in site.run("dm-check", "--json", "--storage", "all").ok().json["findings"] if not row["note"]] == []


@pytest.mark.parametrize("how", ["deleted", "emptied", "overwritten", "damaged", "made anew"])
def test_after_some_lists_were_cut(site: Site, how: str) -> None:
    site.run("migrate-producer", "--lists", 2, "--lfns", 2).ok()
    lose(site, how)
    if how != "made anew":
        assert "dm-check --repair" in site.run("dm-check").gave(75).err
        assert site.run("migrate-producer").gave(75)
    mended(site)
    assert site.tally() == {"Listed": 4, "TODO": 4}
    kept = list((site.home / "run/set-aside").glob("dmtools.db*"))
    assert bool(kept) == (how in ("emptied", "overwritten", "damaged"))
    whole(site)


def test_while_jobs_run(site: Site) -> None:
    site.faults(SLOW)
    site.produce(lfns=3)
    site.consume()
    wait_until(lambda: len(site.copies()) == 5, 60, "five copies")
    before = site.sql("SELECT server, sid, job, attempt, vo FROM ftsjob ORDER BY job")
    lose(site, "deleted")
    mended(site)
    assert site.sql("SELECT server, sid, job, attempt, vo FROM ftsjob ORDER BY job") == before
    assert {state for (state,) in site.sql("SELECT state FROM ftsjob")} == {"submitted"}
    assert site.tally() == {"DOING": 7, "Bad": 1}
    site.faults("")
    for (job,) in site.sql("SELECT job FROM ftsjob"):
        wait_until(lambda job=job: site.ask(f"/jobs/{job}")["job_state"] in ("ACTIVE", "FINISHED"), 60)
    site.servers["fts1"].stop()
    site.start()
    whole(site)
    assert len(site.ask("/sim/submissions")) == len(before)


def test_while_the_server_is_away(site: Site) -> None:
    """What is booked as perhaps sent goes to the same server under the same id: it is adopted there, not made again."""
    site.faults(SLOW)
    site.produce(lfns=3)
    site.consume()
    wait_until(lambda: len(site.copies()) == 5, 60, "five copies")
    site.servers["fts1"].stop()
    lose(site, "deleted")
    mended(site)
    assert {state for (state,) in site.sql("SELECT state FROM ftsjob")} == {"intent"}
    site.faults("")
    site.start()
    site.consume()
    whole(site)
    assert len(site.ask("/sim/submissions")) == 3


def test_when_the_answer_of_a_submission_was_lost(site: Site) -> None:
    site.faults('[[fault]]\nmatch = "POST /jobs"\nop = "http500"\ntimes = 2\n')
    site.produce(lfns=3)
    site.consume()
    lose(site, "deleted")
    mended(site)
    assert sorted(state for (state,) in site.sql("SELECT state FROM ftsjob")) == ["intent", "intent", "submitted"]
    whole(site)


def test_after_all_is_done(site: Site) -> None:
    site.produce(lfns=3)
    site.settle()
    names = site.names("DONE/Okay")
    lose(site, "deleted")
    mended(site)
    assert site.names("DONE/Okay") == names
    assert set(site.sql("SELECT verified_by FROM transfer WHERE state = 'Okay'")) == {("size",)}
    assert site.sql("SELECT error_class, source FROM transfer WHERE state = 'Bad'") == [("invalid", "/a/../b")]
    assert site.sql("SELECT state, lfns, cut FROM master") == [("read", 8, 8)]
    # The same master list again, longer: read on from where it was.
    site.files("/a/more")
    done = site.home / "migrate/TODO/ListOfLFNs/Done/all.txt"
    site.master([*done.read_text().split(), "/a/more"])
    site.produce()
    assert site.lines("TODO") == ["/a/more"]
    site.settle()
    assert len(site.copies()) == 8


def test_what_is_gone_from_its_destination_is_not_called_okay(site: Site) -> None:
    site.produce()
    site.settle()
    site.target("/a/f1").unlink()
    site.target("/a/f2").write_bytes(b"other")
    lose(site, "deleted")
    mended(site)
    assert site.state("/a/f1")[:2] == ("Bad", "lost")
    assert site.state("/a/f2")[:2] == ("Bad", "lost")
    assert site.tally() == {"Okay": 5, "Bad": 3}
    site.run("migrate-triage", "--class", "lost", "--requeue").ok()
    site.settle()
    assert site.state("/a/f1")[0] == "Okay"


def test_between_attempts(site: Site) -> None:
    """A dirty job: some Okay, some Bad, the rest in TODO with their failures."""
    lost = FAIL.format("3", "SOURCE [2] No such file or directory", 1)
    site.faults(FAIL.format("[12]", "TRANSFER CHECKSUM MISMATCH", 20) + lost)
    site.produce(lfns=7)
    site.consume()
    site.over()
    site.monitor()
    assert site.states() == {"Okay": 4, "Bad": 2, "TODO": 2}
    lose(site, "deleted")
    mended(site)
    assert site.states() == {"Okay": 4, "Bad": 2, "TODO": 2}
    assert site.state("/a/f1") == ("TODO", None, 1, 1)
    assert site.state("/a/f3")[:2] == ("Bad", "missing")
    site.faults("")
    site.run("migrate-triage", "--class", "missing", "--requeue").ok()
    whole(site)


def test_lists_that_are_gone_too_are_cut_again(site: Site) -> None:
    site.produce(lfns=2)
    for name in site.names("TODO")[1:3]:
        (site.home / "migrate/TODO" / name).unlink()
    lose(site, "deleted")
    mended(site)
    assert site.lines("TODO") == LFNS
    whole(site, bad=1)


@pytest.mark.parametrize("number", [1, 3, 8, 20])
def test_a_repair_that_is_killed_is_done_again(site: Site, number: int) -> None:
    site.faults(SLOW)
    site.produce(lfns=3)
    site.consume()
    wait_until(lambda: len(site.copies()) == 5, 60, "five copies")
    lose(site, "deleted")
    kill = ("strace", "-f", "-o", "/dev/null", "-e", f"inject=fdatasync,fsync:signal=KILL:when={number}")
    site.run("dm-check", "--repair", prefix=kill)
    mended(site)
    assert site.tally() == {"DOING": 7, "Bad": 1}
    assert {state for (state,) in site.sql("SELECT state FROM ftsjob")} == {"submitted"}


def test_not_while_another_works_with_it(site: Site) -> None:
    site.produce()
    path = site.home / "dmtools.db"
    with path.open("rb"):
        path.unlink()
        found = site.run("dm-check", "--repair").gave(75)
    assert "still work with it" in found.err
    assert not path.exists()
    mended(site)


def test_a_dry_run_says_what_it_would_do(site: Site) -> None:
    site.produce()
    lose(site, "deleted")
    found = site.run("dm-check", "--repair", "--dry-run").gave(1)
    assert "would set it aside" in found.out
    assert not (site.home / "dmtools.db").exists()
