"""Jobs in a real Slurm."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools.batch import BatchAway, Job, Status
from dmtools.batch.slurm import SlurmRoom
from tests.batch.steps import before, ended, hangs, jobs_in, killed_in_its_submit, path_without, until
from tests.real_batch import Slurm
from tests.support import wait_until

SLEEP = ("sleep", "600")


@pytest.fixture
def room(slurm: Slurm, short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmRoom:
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SQUEUE_PARTITION", "none")  # what a person has set for the eye changes nothing
    return SlurmRoom(short_tmp / "room")


@pytest.fixture
def job(short_tmp: Path) -> Callable[..., Job]:
    return jobs_in(short_tmp / "it's a job")


def test_done_failed_killed_and_never_submitted(room: SlurmRoom, job: Callable[..., Job]) -> None:
    (job("good").directory / "in").write_text("data")
    said = room.submit(
        [
            job(
                "good", "sh", "-c", 'printf "%s|" "$A" "$1"; cat in > out', "sh", "a 'b' $$ \n%j", environment={"A": "$HOME `x`"}
            ),
            job("bad", "sh", "-c", "exit 3"),
            job("killed", "sh", "-c", "kill -9 $$"),
            job("none", "/no/such/program"),
        ]
    )
    assert {(status.how, status.id.isdigit()) for status in said.values()} == {("queued", True)}
    found = ended(room, *said, "never")
    assert found["good"] == Status("good", "done", said["good"].id, 0)
    assert found["bad"] == Status("bad", "failed", said["bad"].id, 3, "exit code 3")
    assert found["killed"] == Status("killed", "failed", said["killed"].id, None, "killed by SIGKILL")
    assert found["none"].exit_code == 127
    assert found["never"].how == "gone"
    assert (job("good").directory / "job.out").read_text() == "$HOME `x`|a 'b' $$ \n%j|"


def test_a_held_job_is_told_with_its_reason_and_a_refused_one_stops_no_other(room: SlurmRoom, job: Callable[..., Job]) -> None:
    said = room.submit(
        [
            job("refused", "true", options=("--partition=none",)),
            job("too-big", "true", memory_mb=99_000_000),
            job("held", "true", options=("--hold",)),
            job("later", "true", options=("--begin=now+1hour",)),
        ]
    )
    assert (said["refused"].how, said["too-big"].how) == ("held", "held")
    assert "Invalid partition name specified" in said["refused"].reason
    assert "Requested node configuration is not available" in said["too-big"].reason
    found = room.statuses(list(said))
    assert (found["held"].how, found["held"].reason) == ("held", "JobHeldUser")
    assert found["later"].how == "queued"
    assert (found["refused"].how, found["too-big"].how) == ("gone", "gone"), "they may be submitted again"
    room.cancel(list(said))
    assert ended(room, "held", "later")["held"].reason == "CANCELLED"


def test_the_same_key_is_submitted_once_also_when_a_killed_pass_left_its_sbatch(
    room: SlurmRoom, job: Callable[..., Job], slurm: Slurm, short_tmp: Path
) -> None:
    once = job("once", "sh", "-c", "echo x >> ran")
    with killed_in_its_submit(room, once, "sbatch", short_tmp), pytest.raises(BatchAway, match="another command has held"):
        SlurmRoom(room.place, seconds=0.3).submit([once])
    assert room.submit([once])["once"].how in ("queued", "running", "done")
    assert ended(room, "once")["once"].how == "done"
    assert room.submit([once])["once"].how == "done"
    assert slurm.ask("squeue", "-h", "-t", "all", "--name=once", "-o", "%j").split() == ["once"]


def test_a_second_job_of_a_key_ends_without_a_stroke_while_the_first_runs_and_after_it(
    room: SlurmRoom, job: Callable[..., Job], slurm: Slurm
) -> None:
    twice = job("twice", "sh", "-c", "echo x >> ran; until [ -e go ]; do sleep 0.05; done")
    first = room.submit([twice])["twice"]
    wait_until((twice.directory / "ran").exists, 20, "the first runs")

    def again() -> str:
        return slurm.ask(
            "sbatch", "--parsable", "--wait", "--job-name=twice", "-o", "/dev/null", str(room.place / "twice/job.sh")
        )

    with pytest.raises(subprocess.CalledProcessError):
        again()
    assert room.statuses(["twice"])["twice"] == Status("twice", "running", first.id)
    (twice.directory / "go").touch()
    ended(room, "twice")
    with pytest.raises(subprocess.CalledProcessError):
        again()
    assert room.statuses(["twice"])["twice"] == Status("twice", "done", first.id, 0)
    assert (twice.directory / "ran").read_text() == "x\n"


def test_fifty_jobs_are_asked_for_in_one_request(
    room: SlurmRoom, job: Callable[..., Job], short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"j{number}" for number in range(50)]
    room.submit([job(key, "true", options=("--hold",)) for key in keys])
    counted = before(short_tmp, "squeue", f"echo x >>{short_tmp}/calls")
    monkeypatch.setenv("PATH", f"{counted}:{os.environ['PATH']}")
    assert {status.how for status in room.statuses(keys).values()} == {"held"}
    assert (short_tmp / "calls").read_text() == "x\n"
    room.cancel(keys)
    assert {status.how for status in ended(room, *keys).values()} == {"failed"}
    room.forget(keys)
    assert [path.name for path in room.place.iterdir()] == [".lock"]


def test_a_running_job_is_cancelled_with_its_children_and_open_ones_are_not_forgotten(
    room: SlurmRoom, job: Callable[..., Job]
) -> None:
    runs = job("runs", "sh", "-c", "sleep 600 & echo $! > pid; wait")
    room.submit([runs])
    until(room, "running", "runs")
    wait_until(lambda: (runs.directory / "pid").exists() and (runs.directory / "pid").read_text(), 20, "its child runs")
    room.forget(["runs"])
    assert (room.place / "runs/job.sh").exists()
    room.cancel(["runs", "never"])
    assert ended(room, "runs")["runs"].reason == "CANCELLED"
    pid = (runs.directory / "pid").read_text().strip()
    wait_until(lambda: not Path("/proc", pid).exists(), 20, "its child is gone")


def test_a_controller_that_is_down_is_away_and_jobs_go_on_meanwhile(
    room: SlurmRoom, job: Callable[..., Job], slurm: Slurm
) -> None:
    long = job("long", "sh", "-c", "until [ -e go ]; do sleep 0.05; done; exit 5")
    room.submit([long])
    until(room, "running", "long")
    slurm.stop("slurmctld")
    with pytest.raises(BatchAway, match="squeue failed: "):
        room.statuses(["long"])
    hasty = SlurmRoom(room.place, seconds=1)
    for call in (lambda: hasty.submit([job("new", "true")]), lambda: hasty.cancel(["long"])):
        with pytest.raises(BatchAway):
            call()
    (long.directory / "go").touch()
    wait_until((room.place / "long/ended").exists, 20, "it ended meanwhile")
    slurm.start()
    assert ended(room, "long")["long"].exit_code == 5


def test_what_slurm_forgot_is_known_by_the_jobs_own_word_and_a_lost_job_is_gone(
    room: SlurmRoom, job: Callable[..., Job], slurm: Slurm
) -> None:
    room.submit([job("well", "true"), job("ill", "sh", "-c", "exit 9"), job("signal", "sh", "-c", "kill -15 $$")])
    ended(room, "well", "ill", "signal")
    lost = job("lost", "sh", "-c", "echo $$ > pid; exec sleep 600")
    room.submit([lost])
    wait_until(lambda: (lost.directory / "pid").exists() and (lost.directory / "pid").read_text(), 20, "it runs")
    slurm.stop("slurmctld", "slurmd")
    slurm.clear()  # as MinJobAge after their end, or a new node and controller
    os.kill(int((lost.directory / "pid").read_text()), signal.SIGKILL)
    slurm.start()
    found = room.statuses(["well", "ill", "signal"])
    assert {key: (status.how, status.exit_code) for key, status in found.items()} == {
        "well": ("done", 0),
        "ill": ("failed", 9),
        "signal": ("failed", None),
    }
    own_word = room.place / "lost/ended"
    wait_until(own_word.exists, 20, "its script, which the kill spared, says how it ended")
    own_word.unlink()
    lost_now = room.statuses(["lost"])["lost"]
    assert (lost_now.how, lost_now.reason[:22]) == ("gone", "lost: it began on node")
    assert room.submit([lost])["lost"].how == "queued", "a lost job may be submitted again"


@pytest.mark.parametrize("program", ["squeue", "sbatch"])
def test_a_command_that_is_not_there_or_hangs_is_away(
    program: str, room: SlurmRoom, job: Callable[..., Job], short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = path_without(short_tmp, program, "squeue", "sbatch", "scontrol")
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(BatchAway, match=f"{program} can't be run here"):
        room.submit([job("a", "true")])
    hangs(place / program)
    with pytest.raises(BatchAway, match=f"{program} gave no answer"):
        SlurmRoom(room.place, seconds=0.5).submit([job("a", "true")])
