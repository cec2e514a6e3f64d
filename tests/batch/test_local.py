"""Local jobs: real processes that outlive the pass that started them, told honestly whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dmtools.batch import BatchAway, Job, Status
from dmtools.batch.kept import flock
from dmtools.batch.local import LocalRoom
from tests.support import wait_until

IMPORTS = "from pathlib import Path; from dmtools.batch import Job; from dmtools.batch.local import LocalRoom\n"
SLEEP = ("sleep", "600")


@pytest.fixture
def room(short_tmp: Path) -> Iterator[LocalRoom]:
    """A room of two cores; what still runs at the end is cancelled."""
    found = LocalRoom(short_tmp / "room", cores=2)
    yield found
    found.cancel([path.parent.name for path in found.place.glob("*/job.json")])


@pytest.fixture
def job(short_tmp: Path) -> Callable[..., Job]:
    def make(key: str, *argv: str, **more: object) -> Job:
        directory = short_tmp / "jobs" / key
        directory.mkdir(parents=True, exist_ok=True)
        return Job(key, argv, directory, **more)  # type: ignore[arg-type]

    return make


def ended(room: LocalRoom, *keys: str) -> dict[str, Status]:
    """How these stand once none of them runs or waits."""

    def all_ended() -> dict[str, Status] | None:
        found = room.statuses(keys)
        return None if {s.how for s in found.values()} & {"queued", "running"} else found

    found = wait_until(all_ended, 20, f"{keys} end")
    assert isinstance(found, dict)
    return found


def beside(room: LocalRoom, key: str) -> int:
    """The process that stands beside the job."""
    return int(json.loads((room.place / key / "started.json").read_bytes())["pid"])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pid_of(job: Job) -> int:
    """The job's own process, which wrote its number into `pid`."""
    wait_until(lambda: (job.directory / "pid").exists() and (job.directory / "pid").read_text().endswith("\n"), 10, "it runs")
    return int((job.directory / "pid").read_text())


def test_done_failed_killed_and_never_started(room: LocalRoom, job: Callable[..., Job]) -> None:
    room.submit(
        [
            job("good", "sh", "-c", 'echo "$A $$NOT"; echo x > out', environment={"A": "a 'b' \n $c"}),
            job("bad", "sh", "-c", "exit 3"),
            job("killed", "sh", "-c", "kill -9 $$"),
            job("none", "/no/such/program"),
        ]
    )
    found = ended(room, "good", "bad", "killed", "none", "never")
    assert found["good"] == Status("good", "done", exit_code=0)
    assert found["bad"] == Status("bad", "failed", exit_code=3, reason="exit code 3")
    assert found["killed"] == Status("killed", "failed", reason="killed by SIGKILL")
    assert (found["none"].how, found["none"].exit_code) == ("failed", 127)
    assert "/no/such/program can't be started" in found["none"].reason
    assert found["never"].how == "gone"
    assert (job("good").directory / "job.out").read_text().startswith("a 'b' \n $c ")


def test_jobs_outlive_the_pass_that_is_killed(room: LocalRoom, job: Callable[..., Job], short_tmp: Path) -> None:
    long = job("long", "sh", "-c", "echo $$ > pid; exec sleep 600")
    text = (
        f"import os, signal; {IMPORTS}"
        f"LocalRoom(Path({str(room.place)!r}), 2).submit([Job('long', {long.argv!r}, Path({str(long.directory)!r}))])\n"
        "os.killpg(0, signal.SIGKILL)"
    )
    code = subprocess.run([sys.executable, "-c", text], start_new_session=True).returncode
    assert code == -signal.SIGKILL
    pid = pid_of(long)
    assert room.statuses(["long"])["long"].how == "running"
    assert is_alive(beside(room, "long"))
    assert len({os.getsid(pid), os.getsid(beside(room, "long")), os.getsid(0)}) == 3
    room.cancel(["long"])
    assert room.statuses(["long"])["long"] == Status("long", "failed", reason="cancelled (killed by SIGTERM)")


def test_a_killed_job_is_failed_and_a_job_killed_with_the_process_beside_it_is_gone(
    room: LocalRoom, job: Callable[..., Job]
) -> None:
    first, second = (job(key, "sh", "-c", "echo $$ > pid; exec sleep 600") for key in ("first", "second"))
    room.submit([first, second])
    os.kill(pid_of(first), signal.SIGKILL)
    assert ended(room, "first")["first"].reason == "killed by SIGKILL"
    pid = pid_of(second)
    os.kill(beside(room, "second"), signal.SIGKILL)
    assert room.statuses(["second"])["second"].how == "running", "the job itself goes on"
    assert room.submit([second])["second"].how == "running", "and is not started again beside itself"
    os.kill(pid, signal.SIGKILL)
    lost = ended(room, "second")["second"]
    assert (lost.how, lost.reason[:4]) == ("gone", "lost")
    assert room.submit([second])["second"].how == "running", "a lost job may be submitted again"


def test_after_a_start_of_the_machine_what_ran_is_gone_and_what_waited_begins(room: LocalRoom, job: Callable[..., Job]) -> None:
    room.cores = 1
    room.submit([job("ran", *SLEEP), job("waited", "true")])
    place = room.place / "ran"
    started = json.loads((place / "started.json").read_bytes())
    room.cancel(["ran"])
    (place / "ended.json").unlink()
    (place / "started.json").write_text(json.dumps({**started, "boot": "another"}))
    found = ended(room, "ran", "waited")
    assert found["ran"] == Status("ran", "gone", str(started["pid"]), reason="lost: the machine was started anew while it ran")
    assert found["waited"].how == "done"


def test_the_same_key_is_run_once_by_ten_passes_at_once(room: LocalRoom, job: Callable[..., Job]) -> None:
    once = job("once", "sh", "-c", "echo x >> ran; sleep 1")
    text = f"{IMPORTS}LocalRoom(Path({str(room.place)!r}), 2).submit([Job('once', {once.argv!r}, Path({str(once.directory)!r}))])"
    passes = [subprocess.Popen([sys.executable, "-c", text]) for _ in range(10)]
    assert [one.wait(60) for one in passes] == [0] * 10
    assert ended(room, "once")["once"].how == "done"
    assert room.submit([once])["once"].how == "done"
    assert (once.directory / "ran").read_text() == "x\n"


def test_no_more_jobs_than_cores_and_each_that_ends_starts_the_next(room: LocalRoom, job: Callable[..., Job]) -> None:
    body = "echo + >> ../log; sleep 0.1; echo - >> ../log"
    keys = [f"j{number}" for number in range(6)]
    first = room.submit([job(key, "sh", "-c", body) for key in keys])
    assert [first[key].how for key in keys][2:] == ["queued"] * 4
    log = job("j0").directory.parent / "log"
    wait_until(lambda: log.read_text().count("-") == 6 if log.exists() else False, 30, "all ran, though no pass came")
    deep, most = 0, 0
    for sign in log.read_text().split():
        deep += 1 if sign == "+" else -1
        most = max(most, deep)
    assert most <= 2


def test_a_job_over_its_time_is_ended_with_its_children_also_without_the_process_beside_it(
    room: LocalRoom, job: Callable[..., Job]
) -> None:
    body = "trap '' TERM; echo $$ > pid; sleep 600 & wait; wait"
    room.submit([job("late", "sh", "-c", "sleep 600 & sleep 600", seconds=1), job("alone", "sh", "-c", body, seconds=1)])
    pid = pid_of(job("alone"))
    os.kill(beside(room, "alone"), signal.SIGKILL)
    place = room.place / "alone" / "started.json"
    started = json.loads(place.read_bytes())
    place.write_text(json.dumps({**started, "clock": started["clock"] - 3600}))
    found = ended(room, "late", "alone")
    assert found["late"] == Status("late", "failed", reason="ended after its 1 s (killed by SIGTERM)")
    assert found["alone"].how == "gone"
    wait_until(lambda: not is_alive(pid), 10, "its process is gone")


def test_cancelled_jobs_end_and_forgotten_ones_leave_nothing(room: LocalRoom, job: Callable[..., Job]) -> None:
    room.cores = 1
    room.submit([job("runs", *SLEEP), job("waits", *SLEEP)])
    room.forget(["runs", "waits", "never"])
    assert {s.how for s in room.statuses(["runs", "waits"]).values()} == {"running", "queued"}, "open ones are left alone"
    room.cancel(["waits", "runs", "never"])
    found = room.statuses(["runs", "waits"])
    assert {s.reason.partition(" (")[0] for s in found.values()} == {"cancelled"}
    room.forget(["runs", "waits"])
    assert [path.name for path in room.place.iterdir()] == [".lock"]


def test_what_cannot_be_read_is_unknown_and_what_cannot_be_written_is_away(room: LocalRoom, job: Callable[..., Job]) -> None:
    room.submit([job("a", "true")])
    ended(room, "a")
    (room.place / "a/ended.json").write_text('{"code": ')
    assert room.statuses(["a"])["a"].how == "unknown"
    blocked = LocalRoom(room.place.with_name("blocked"))
    blocked.place.write_text("a file stands in its place")
    with pytest.raises(BatchAway, match="can't be kept"):
        blocked.submit([job("b", "true")])


def test_a_room_that_is_held_is_away(room: LocalRoom, job: Callable[..., Job]) -> None:
    room.statuses([])
    hasty = LocalRoom(room.place, patience=0.05)
    handle = os.open(room.place / ".lock", os.O_RDWR)
    try:
        assert flock(handle)
        with pytest.raises(BatchAway, match="another command has held"):
            hasty.submit([job("a", "true")])
    finally:
        os.close(handle)


@pytest.mark.parametrize("key", ["", "a/b", ".a", "a b", "a\n", "ä", "x" * 101])
def test_a_key_is_a_plain_name(key: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="key can't be"):
        Job(key, ("true",), tmp_path)
