"""datalogger-supervise: datalogger-timeline runs again when gone or silent; never two, never too often; nothing of others."""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dmtools.ledger.leases import started
from tests.datalogger.steps import Plant
from tests.support import Result, command, environment, run, wait_until


@pytest.fixture
def played(plant: Plant) -> Iterator[Plant]:
    """A logger whose supercycles take a second; what records at the end is ended."""
    plant.server = plant.sim(plant.home, "datalogger", "--supercycle", 1)
    plant.set(timeline_grace_seconds=1)
    yield plant
    left = recorders(plant)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(started(pid) for pid in left))


def recorders(plant: Plant) -> list[int]:
    rows = plant.sql("SELECT pid, started FROM lease WHERE resource LIKE 'datalogger-timeline/%'")
    return [pid for pid, since in rows if started(pid) == since]


def supervise(plant: Plant, *options: object) -> Result:
    return run("datalogger-supervise", *options, home=plant.home)


def restarts(plant: Plant) -> list[tuple[int | None, str, str]]:
    return plant.sql("SELECT pid, why, became FROM datalogger_restart ORDER BY id")


def test_it_starts_what_is_gone_once_and_says_nothing_when_all_is_well(played: Plant) -> None:
    assert "would start datalogger-timeline" in supervise(played, "--dry-run").ok().out
    assert recorders(played) == []
    with ThreadPoolExecutor(3) as crew:
        done = list(crew.map(lambda _: supervise(played), range(3)))
    assert {(one.code, one.err) for one in done} == {(0, "")}, done
    (first,) = recorders(played)
    assert [(pid, became) for pid, _, became in restarts(played)] == [(None, f"runs as pid {first}")]
    wait_until(lambda: played.sql("SELECT COUNT(*) FROM datalogger_supercycle") > [(1,)])
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: started(first) is None)
    told = supervise(played).ok()
    assert "started again: datalogger-timeline: it does not run: heard" in told.err
    (second,) = recorders(played)
    assert second != first
    told = supervise(played, "-v").ok()
    assert f"(pid {second} on" in told.err
    shown = run("dm-monitoring", "datalogger", home=played.home).ok().out
    assert "the last supercycle began" in shown
    assert "started 2 times within a day" in shown
    assert "was started 2 times within the hour" in run("dm-train-ok", "-v", home=played.home).gave(0, 1, 2).out
    run("dm-command", "halt", "datalogger/timeline", home=played.home).ok()
    os.kill(second, signal.SIGKILL)
    wait_until(lambda: started(second) is None)
    assert supervise(played).ok().err == ""
    assert len(restarts(played)) == 2


def test_one_that_hangs_is_ended_and_started_again(played: Plant) -> None:
    played.set(timeline_silence_seconds=2)
    supervise(played).ok()
    (hangs,) = recorders(played)
    count = "SELECT COUNT(*) FROM datalogger_supercycle"
    before = played.sql(count)
    wait_until(lambda: played.sql(count) > before)  # it naps now, and holds no lock of the database
    os.kill(hangs, signal.SIGSTOP)
    told = wait_until(lambda: supervise(played).ok().err, what="it is silent for two seconds")
    assert "it was silent: heard" in told
    assert "ended by SIGKILL; runs as pid" in told  # a stopped process takes no SIGTERM
    assert started(hangs) is None
    (fresh,) = recorders(played)
    assert restarts(played)[-1][::2] == (hangs, f"ended by SIGKILL; runs as pid {fresh}")


def test_it_is_not_started_too_often_and_that_is_told(played: Plant) -> None:
    played.set(timeline_restarts=1)
    supervise(played).ok()
    (first,) = recorders(played)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: started(first) is None)
    told = supervise(played).gave(1)
    assert "too many restarts: datalogger-timeline" in told.err
    assert "it was started 1 times within the hour" in told.err
    assert recorders(played) == []
    assert len(restarts(played)) == 1


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_process_that_only_has_its_number_is_left_alone(played: Plant, where: str) -> None:
    """`here`: the number came again for another process; `elsewhere`: another machine holds it."""
    supervise(played).ok()
    (first,) = recorders(played)
    run("dm-command", "drain", "datalogger/timeline", home=played.home).ok()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: started(first) is None)
    run("dm-command", "run", "datalogger/timeline", home=played.home).ok()
    played.set(timeline_silence_seconds=1)
    with subprocess.Popen(["sleep", "600"]) as other:
        try:
            long_ago, soon = datetime.now(UTC) - timedelta(hours=2), datetime.now(UTC) + timedelta(hours=2)
            values = (other.pid, f"{long_ago:%Y-%m-%d %H:%M:%S.%f}", f"{soon:%Y-%m-%d %H:%M:%S.%f}")
            change = "UPDATE lease SET pid = ?, since = ?, expires = ?" + (", machine = 'elsewhere'" if where != "here" else "")
            with closing(sqlite3.connect(played.home / "dmtools.db")) as db:
                assert db.execute(change, values).rowcount == 1
                db.commit()
            expected = 0 if where == "here" else 1
            told = wait_until(lambda: (got := supervise(played)).code == expected and got)
            assert other.poll() is None
            assert len(recorders(played)) == (1 if where == "here" else 0)
            assert ("it was not touched" in told.err) == (where != "here")
        finally:
            with suppress(ProcessLookupError):
                other.kill()


CALLS = "pwrite64,write,fdatasync,fsync,unlink,rename,vfork,clone,clone3"


def traced(plant: Plant, *options: str) -> subprocess.CompletedProcess[str]:
    """datalogger-supervise under strace, which follows no child: the recorder is not touched."""
    argv = ["strace", "-o", str(plant.home.parent / "trace"), *options, *command("datalogger-supervise")]
    return subprocess.run(argv, env=environment(plant.home), capture_output=True, text=True, timeout=120, check=False)


def running(plant: Plant) -> list[int]:
    """Every process that records into this HOME, whoever holds the lease."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = place.read_bytes().split(b"\0")
            if os.fsencode(plant.home) in words and any(word.endswith(b"/datalogger-timeline") for word in words):
                found.append(int(place.parent.name))
    return found


def points(plant: Plant) -> list[tuple[str, int]]:
    """Its calls that write or start a process, (name, the how manieth)."""
    traced(plant, "-e", f"trace={CALLS}")
    names = re.findall(r"^(\w+)\(", (plant.home.parent / "trace").read_text(), re.MULTILINE)
    return [(name, names[: n + 1].count(name)) for n, name in enumerate(names)]


def at_point(plant: Plant, name: str, number: int, fault: str) -> None:
    """Nobody records; it is killed or fails there; after a plain pass one records, and no second one."""
    for pid in running(plant):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not running(plant))
    done = traced(plant, "-e", f"trace={name}", "-e", f"inject={name}:{fault}:when={number}")
    assert done.returncode in (-9, 137, 0, 1, 75), (name, number, done)
    assert "Traceback" not in done.stderr, (name, number, done.stderr)
    wait_until(lambda: not running(plant) or recorders(plant), what="what was started has the place")
    supervise(plant).ok()
    assert running(plant) == recorders(plant), (name, number, fault)
    assert len(recorders(plant)) == 1, (name, number, fault)


@pytest.mark.needs("strace")
def test_killed_or_failed_at_what_it_writes_one_records_in_the_end(played: Plant) -> None:
    played.set(timeline_restarts=1000)
    found = points(played)
    starts = [point for point in found if point[0] in ("vfork", "clone", "clone3")][-1:]
    for name, number in [*random.Random(20261127).sample(found, 5), *starts]:
        at_point(played, name, number, "signal=KILL")
    at_point(played, *found[len(found) // 2], "error=ENOSPC")
