"""What broke in the system that was in use, each line by its number: none of it may come back."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from dmtools.spool import listfile
from tests.support import ROOT, free_port, run
from tests.transfers import fake_fts as odd
from tests.transfers.conftest import Scripted, scripted, template, warm  # noqa: F401 - fixtures

NETWORK = "TRANSFER [104] Connection reset by peer"
MISSING = "500 No such file or directory"


def kill_the_pass(site: Scripted) -> None:
    """SIGKILL to the command that holds leases now."""
    for (pid,) in site.sql("SELECT DISTINCT pid FROM lease"):
        os.kill(pid, signal.SIGKILL)


def test_1_cannot_reach_fts_is_not_job_unknown(scripted: Scripted) -> None:  # noqa: F811
    """Live jobs were submitted again under a new name, the first never cancelled."""
    job = scripted.begin("/a/1", "/a/2")
    before = scripted.snapshot()
    url = scripted.fts.url
    scripted.fts.url = f"http://127.0.0.1:{free_port()}"
    scripted.configure()
    scripted.run("migrate-monitor").gave(75)
    scripted.run("migrate-consumer").gave(0, 75)
    assert scripted.snapshot() == before
    scripted.fts.url = url
    scripted.configure(seconds=1)
    scripted.fts.answers("GET /jobs/", odd.silence, 1)
    scripted.run("migrate-monitor").gave(0)
    assert scripted.snapshot() == before
    scripted.run("migrate-consumer").ok()
    assert list(scripted.fts.jobs) == [job.id]
    job.finish()
    scripted.monitor()
    assert scripted.states() == {"Okay": 2}
    assert scripted.fts.asked("POST /jobs") == ["/jobs"]


def test_2_dirty_lists_lose_no_failed_file_and_list_no_missing_one_as_okay(scripted: Scripted) -> None:  # noqa: F811
    """The DOING file was removed before the retry list was written (a crash loses the failed files)."""
    job = scripted.begin("/a/good", "/a/gone", "/a/later")
    job.finish("/a/good")
    job.fail(MISSING, "/a/gone")
    job.fail(NETWORK, "/a/later")
    (name,) = scripted.names("DOING")
    # It can't write the retry list: as a crash just before that.
    todo = scripted.home / "migrate/TODO"
    todo.rename(todo.with_name("away"))
    scripted.run("migrate-monitor").gave(75)
    todo.with_name("away").rename(todo)
    assert "/a/later" in scripted.lines("DOING"), "no crash may leave the failed file in no list"
    scripted.monitor()
    assert scripted.lines("DONE/Okay") == ["/a/good"], "the missing file is not listed in Okay"
    assert scripted.lines("DONE/Bad") == ["/a/gone"]
    assert (scripted.names("TODO"), scripted.lines("TODO")) == ([f"D{name}"], ["/a/later"])
    assert scripted.names("DOING") == []


def test_3_the_master_list_is_never_cut_before_the_lists_are_there(scripted: Scripted) -> None:  # noqa: F811
    """LFNs were cut off before the TODO file was written; names of one-second resolution overwrote each other."""
    lfns = [f"/a/{n:03}" for n in range(120)]
    masters = [scripted.master(lfns[n::4], f"m{n}.txt") for n in range(4)]
    kept = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in masters}

    def produce(_: int) -> int:
        return run("migrate-producer", "--lists", 0, "--lfns", 10, home=scripted.home).gave(0).code

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(produce, range(4)))
    names = scripted.names("TODO")
    assert len(names) == 12
    assert all(re.fullmatch(r"FTSList-\d{8}T\d{6}\.\d{6}Z-.+-\d+\.txt", name) for name in names)
    assert scripted.lines("TODO") == lfns
    done = scripted.home / "migrate/TODO/ListOfLFNs/Done"
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in done.iterdir()} == kept
    assert scripted.tally() == {"TODO": 120}


def test_4_a_crash_between_submit_and_its_record_makes_no_second_job(scripted: Scripted) -> None:  # noqa: F811
    """It left an orphan job and a second submission of the same files."""

    def die(handler: BaseHTTPRequestHandler) -> None:
        kill_the_pass(scripted)
        odd.nothing(handler)

    for kept in (True, False):
        scripted.master(scripted.files(f"/{kept}/1", f"/{kept}/2"), f"{kept}.txt")
        scripted.produce()
        scripted.fts.odd.clear()
        scripted.fts.answers("POST /jobs", die, 1, act=kept)
        assert scripted.run("migrate-consumer").code == -signal.SIGKILL
        assert scripted.sql("SELECT COUNT(*) FROM ftsjob WHERE state = 'intent'") == [(1,)]
        scripted.consume()
        assert scripted.sql("SELECT COUNT(*) FROM ftsjob WHERE state = 'intent'") == [(0,)]
    assert sorted(scripted.fts.jobs) == sorted(job for (job,) in scripted.sql("SELECT job FROM ftsjob"))
    destinations = Counter(file.destination for job in scripted.fts.jobs.values() for file in job.files)
    assert set(destinations.values()) == {1}
    for job in scripted.fts.jobs.values():
        job.finish()
    scripted.monitor()
    assert scripted.states() == {"Okay": 4}


def test_5_attempts_are_counted_by_file_whatever_the_lists_are_called(scripted: Scripted) -> None:  # noqa: F811
    """Attempts lived in file-name prefixes; some paths escaped the limit."""
    job = scripted.begin("/a/1", "/a/2", "/a/3")
    for attempt in range(1, 5):
        job.fail(NETWORK, "/a/1").finish(f"/a/{min(attempt + 1, 3)}")
        for other in job.files:
            if other.state == "SUBMITTED":
                other.state, other.reason = "FAILED", NETWORK
        job.over()
        scripted.monitor()
        assert scripted.state("/a/1")[2:] == (attempt, attempt)
        if attempt == 4:
            break
        (name,) = scripted.names("TODO")  # a hand that renames it changes no count
        folder = scripted.home / "migrate/TODO"
        if attempt == 2:
            (folder / name).rename(folder / "renamed-by-hand.txt")
            scripted.go_on()
            scripted.monitor()
        job = scripted.go_on()[-1]
    assert scripted.state("/a/1")[:2] == ("Bad", "network")
    assert scripted.tally() == {"Okay": 2, "Bad": 1}


def test_6_a_name_within_another_name_takes_no_other_file_along(scripted: Scripted) -> None:  # noqa: F811
    """`grep -v` by basename dropped other files whose names contain it."""
    lfns = ["/a/x", "/a/xx", "/b/x", "/a/x.raw", "/x/a/x", "/a/y", "/a/.x", "/a/[x]"]
    job = scripted.begin(*lfns)
    for file in job.files:
        if file.destination.endswith("/echo/a/x"):
            file.state, file.reason = "FAILED", MISSING
        elif file.destination.endswith("/echo/a/y"):
            file.state, file.reason = "FAILED", NETWORK
        else:
            job.finish(file.destination)
    job.over()
    scripted.monitor()
    assert scripted.lines("DONE/Bad") == ["/a/x"]
    assert scripted.lines("TODO") == ["/a/y"]
    assert scripted.lines("DONE/Okay") == sorted(["/a/xx", "/b/x", "/a/x.raw", "/x/a/x", "/a/.x", "/a/%5Bx%5D"])


def test_7_a_stale_dump_against_a_live_catalogue_calls_nothing_new_dark(tmp_path: Path) -> None:
    """Dark-data deletion had no age guard."""
    now, day = time.time(), 86400
    (tmp_path / "dump").write_text(f"/kept\t{now - 90 * day}\n/fresh\t{now - 31 * day}\n/dark\t{now - 60 * day}\n")
    (tmp_path / "catalogue").write_text(f"/kept\t{now - 90 * day}\n/since\t{now - day}\n")
    os.utime(tmp_path / "dump", (now - 30 * day,) * 2)
    columns = ("--dump-columns", "name,mtime", "--catalogue-columns", "name,mtime")
    run("migrate-compare", tmp_path / "dump", tmp_path / "catalogue", "--out", tmp_path / "out", *columns).gave(1)
    found = {kind: (tmp_path / "out" / f"{kind}.txt").read_text() for kind in ("dark", "lost")}
    assert "/dark" in found["dark"]
    assert "/fresh" not in found["dark"]
    assert "/since" not in found["dark"] + found["lost"]


def test_8_fts_says_canceled(scripted: Scripted) -> None:  # noqa: F811
    """The cancel script spelt the state CANCELLED."""
    job = scripted.begin("/a/1", "/a/2")
    (name,) = scripted.names("DOING")
    found = scripted.run("migrate-cancel", name, "--reason", "no need", "--json").ok().json
    assert found["counts"] == {"submitted>CANCELED": 1}
    assert job.state == "CANCELED"
    scripted.monitor()
    assert (scripted.names("DOING"), scripted.names("TODO")) == ([], [])
    assert scripted.state("/a/1")[:2] == ("Bad", "withdrawn")
    spelt = [
        path for place in ("dmtools", "bin") for path in (ROOT / place).rglob("*") if path.is_file() and path.suffix != ".pyc"
    ]
    spelt = [path for path in spelt if path.parent.name != "batch"]  # Slurm does spell it so
    assert not [path for path in spelt if b'"CANCELLED"' in path.read_bytes()]


def test_lists_are_read_back_as_they_were_written(scripted: Scripted) -> None:  # noqa: F811
    """The format of the original: source, two blanks, destination, one a line."""
    scripted.begin("/a/1", "/a/2")
    (name,) = scripted.names("DOING")
    data = (scripted.home / "migrate/DOING" / name).read_bytes()
    lines = [line for line in data.decode().splitlines() if not line.startswith("#")]
    assert lines == [f"file://{scripted.source(f'/a/{n}')}  file://{scripted.target(f'/a/{n}')}" for n in (1, 2)]
    assert len(listfile.parse(data).pairs) == 2
