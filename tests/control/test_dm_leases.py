"""dm-leases: who holds what, what is handed back, and what never is: what a living process holds."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT, environment, run, wait_until

HOLDER = """
import sys
from dmtools import clock, settings
from dmtools.command.report import Report
from dmtools.control import heartbeats
from dmtools.ledger import open_ledger
from dmtools.ledger.leases import Leases
ledger = open_ledger(settings.load())
ledger.transact(lambda c: heartbeats.begin(c, Report("migrate", "consumer", "x"), clock.now()))
Leases(ledger).claim(sys.argv[1:])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs as the consumer and holds `list/1` and `master/x`."""
    argv = [sys.executable, "-c", HOLDER, "list/1", "master/x"]
    process = subprocess.Popen(argv, cwd=ROOT, env=environment(home), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def sql(home: Path, statement: str, *values: object) -> list[Any]:
    with sqlite3.connect(home / "dmtools.db") as raw:
        return raw.execute(statement, values).fetchall()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def leases(home: Path) -> dict[str, Any]:
    return {one["resource"]: one for one in run("dm-leases", "--json", home=home).ok().json["leases"]}


def held(home: Path) -> set[str]:
    return {row[0] for row in sql(home, "SELECT resource FROM lease")}


def test_nobody_holds_anything(home: Path) -> None:
    assert run("dm-leases", home=home).ok().out == "nobody holds anything\n"
    found = run("dm-leases", "--json", home=home).ok().json
    assert (found["schema"], found["leases"], found["released"]) == (1, [], [])


def test_who_holds_what_for_how_long_and_until_when(home: Path, holder: subprocess.Popen[bytes]) -> None:
    found = leases(home)
    assert set(found) == {"list/1", "master/x"}
    one = found["list/1"]
    assert (one["pid"], one["host"], one["command"], one["holder"]) == (
        holder.pid,
        os.uname().nodename,
        "migrate-consumer",
        "alive",
    )
    assert 0 <= one["held_seconds"] < 60
    assert 240 < one["left_seconds"] <= 300
    assert one["fence"] < found["master/x"]["fence"]
    line = run("dm-leases", home=home).ok().out.splitlines()[0]
    assert f"list/1 held by migrate-consumer, pid {holder.pid}" in line
    assert "its process lives" in line


def test_what_a_living_process_holds_is_not_taken(home: Path, holder: subprocess.Popen[bytes]) -> None:
    for words in (("--release", "list/1"), ("--host", os.uname().nodename)):
        found = run("dm-leases", *words, "--json", home=home).gave(1)
        assert f"kill {holder.pid}" in found.err
        assert found.json["released"] == []
        assert found.json["errors"][0]["subject"] == "list/1"
    assert run("dm-leases", "--dead", home=home).ok().out.startswith("nothing of that is held")
    assert held(home) == {"list/1", "master/x"}


def test_a_killed_holder_is_seen_and_what_it_held_is_handed_back(home: Path, holder: subprocess.Popen[bytes]) -> None:
    kill(holder)
    assert {one["holder"] for one in leases(home).values()} == {"dead"}
    dry = run("dm-leases", "--dead", "--dry-run", home=home).ok()
    assert "hand back list/1" in dry.out
    assert held(home) == {"list/1", "master/x"}, "a dry run hands nothing back"
    assert not list((home / "log").glob("dm-leases*"))
    done = run("dm-leases", "--dead", "--json", home=home).ok()
    assert [one["resource"] for one in done.json["released"]] == ["list/1", "master/x"]
    assert done.json["leases"] == []
    assert done.err == "", "a dead process needs no warning"
    assert held(home) == set()
    again = run("dm-leases", "--dead", home=home).ok()
    assert "nothing to hand back" in again.out


def test_what_a_killed_pass_held_last_is_gone_with_the_next_pass_of_any_kind(home: Path, holder: subprocess.Popen[bytes]) -> None:
    """Its next pass may not touch the same things again: then nobody would ever take it over."""
    run("migrate-producer", home=home).ok()
    assert held(home) == {"list/1", "master/x"}
    kill(holder)
    run("migrate-producer", home=home).ok()
    assert held(home) == set()


def test_the_log_and_the_journal_say_who_did_it(home: Path, holder: subprocess.Popen[bytes]) -> None:
    kill(holder)
    columns = "id, pipeline, home, name, name_key, state, since, files, planned, attempt"
    sql(home, f"INSERT INTO filelist ({columns}) VALUES (1, 'migrate', 'h', 'L.txt', x'01', 'TODO', 0, 1, 0, 0)")
    done = run("dm-leases", "--release", "list/1", home=home).ok()
    assert "handed back: list/1" in done.out
    ((by, why, before, after),) = sql(home, "SELECT by, why, from_state, to_state FROM journal WHERE kind = 'list' AND item = 1")
    assert by.endswith((f"%40{os.uname().nodename}", f"@{os.uname().nodename}"))
    assert "handed back (dead)" in why
    assert (before, after) == (None, None)
    (log,) = (home / "log").glob("dm-leases-*.log")
    assert f"hand back list/1 of migrate-consumer, pid {holder.pid}" in log.read_text()
    assert held(home) == {"master/x"}


def test_another_hosts_are_handed_back_with_a_warning(home: Path, holder: subprocess.Popen[bytes]) -> None:
    sql(home, "UPDATE lease SET host = 'farm07', machine = 'farm07/boot/pid:[1]' WHERE resource = 'list/1'")
    assert leases(home)["list/1"]["holder"] == "unknown"
    assert "nothing" in run("dm-leases", "--dead", home=home).ok().out, "it is not known to be dead"
    done = run("dm-leases", "--host", "farm07", "--json", home=home).ok()
    assert [one["resource"] for one in done.json["released"]] == ["list/1"]
    assert "warning: list/1: its process may still live" in done.err
    assert "see that farm07 is down" in done.err
    assert held(home) == {"master/x"}


def test_one_that_ran_out_is_expired_and_can_be_handed_back(home: Path, holder: subprocess.Popen[bytes]) -> None:
    sql(home, "UPDATE lease SET host = 'farm07', machine = 'farm07/boot/pid:[1]' WHERE resource = 'list/1'")
    env = {"DMTOOLS_CLOCK_OFFSET": "3600"}
    found = {one["resource"]: one for one in run("dm-leases", "--json", home=home, env=env).ok().json["leases"]}
    assert found["list/1"]["holder"] == "expired"
    assert found["list/1"]["left_seconds"] < 0
    done = run("dm-leases", "--release", "list/1", home=home, env=env).ok()
    assert done.err == ""
    assert held(home) == {"master/x"}


def test_a_late_holder_is_refused(home: Path) -> None:
    from dmtools import settings
    from dmtools.ledger import Stale, open_ledger
    from dmtools.ledger.leases import Leases

    ledger = open_ledger(settings.load(home=home))
    mine = Leases(ledger)
    lease = mine.claim(["list/7"])["list/7"]
    sql(home, "UPDATE lease SET host = 'farm07', machine = 'farm07/boot/pid:[1]'")
    run("dm-leases", "--release", "list/7", home=home).ok()
    with pytest.raises(Stale), ledger.write() as connection:
        mine.check(connection, lease)
    mine.close()
    ledger.close()


def test_a_pass_under_way_is_seen_by_its_name_and_gone_when_it_ends(tiny: Any, home: Path, tmp_path: Path) -> None:
    argv = [sys.executable, str(home.parent / "tiny-work"), "--wait", str(tmp_path)]
    process = subprocess.Popen(argv, env=environment(home, {"PYTHONPATH": str(home.parent / "lib")}))
    wait_until((tmp_path / "begun-0").exists, 60, "the pass works")
    assert leases(home)["tiny/0"]["command"] == "tiny-work"
    (tmp_path / "go-0").touch()
    assert process.wait(60) == 0
    assert leases(home) == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--dead", "--host", "a"), "--host and --dead can't be said together"),
        (("--release", "a", "--host", "a"), "can't be said together"),
        (("--host", ""), "--host needs a name"),
        (("--release", ""), "--release needs a name"),
    ],
)
def test_what_makes_no_sense_is_refused(home: Path, words: tuple[str, ...], said: str) -> None:
    found = run("dm-leases", *words, "--json", home=home).gave(2)
    assert said in found.err
    assert found.json["state"] == "failed"


def test_without_a_database_it_says_so(home: Path) -> None:
    (home / "dmtools.db").unlink()
    assert "no database" in run("dm-leases", home=home).gave(75).err
