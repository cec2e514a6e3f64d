"""Jobs in a real HTCondor."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools.batch import BatchAway, Job, Status
from dmtools.batch.htcondor import HTCondorRoom
from tests.batch.steps import before, ended, hangs, jobs_in, killed_in_its_submit, path_without, until
from tests.real_batch import HTCondor
from tests.support import wait_until

SLEEP = ("sleep", "600")


@pytest.fixture
def room(htcondor: HTCondor, short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> HTCondorRoom:
    monkeypatch.setenv("PATH", htcondor.environment["PATH"])
    return HTCondorRoom(short_tmp / "room")


@pytest.fixture
def job(short_tmp: Path) -> Callable[..., Job]:
    return jobs_in(short_tmp / "it's $(a) $ENV(job)")


def test_done_failed_killed_and_never_submitted(room: HTCondorRoom, job: Callable[..., Job]) -> None:
    (job("good").directory / "in").write_text("data")
    said = room.submit(
        [
            job(
                "good",
                "sh",
                "-c",
                'printf "%s|" "$A" "$1"; cat in > out',
                "sh",
                "a 'b' $$(x) \n%j",
                environment={"A": '$HOME `x` "'},
            ),
            job("bad", "sh", "-c", "exit 3"),
            job("killed", "sh", "-c", "kill -9 $$"),
            job("none", "/no/such/program"),
        ]
    )
    assert {(status.how, status.id.endswith(".0")) for status in said.values()} == {("queued", True)}
    found = ended(room, *said, "never")
    assert found["good"] == Status("good", "done", said["good"].id, 0)
    assert found["bad"] == Status("bad", "failed", said["bad"].id, 3, "exit code 3")
    assert found["killed"] == Status("killed", "failed", said["killed"].id, None, "killed by SIGKILL")
    assert found["none"].exit_code == 127
    assert found["never"].how == "gone"
    assert (job("good").directory / "job.out").read_text() == "$HOME `x` \"|a 'b' $$(x) \n%j|"
    assert (job("good").directory / "out").read_text() == "data"


def test_without_a_shared_file_system_inputs_go_and_outputs_come_also_when_the_job_leaves_none(
    room: HTCondorRoom, job: Callable[..., Job]
) -> None:
    far = {"options": ("should_transfer_files = YES",), "inputs": ("in", "a file"), "outputs": ("out", "never")}
    for key in ("far", "far-bad"):
        for name in ("in", "a file"):
            (job(key).directory / name).write_text("data\n")
    room.submit(
        [
            job("far", "sh", "-c", 'pwd; cat in "a file" > out; echo x > rubbish; [ "$PWD" = "$_CONDOR_SCRATCH_DIR" ]', **far),
            job("far-bad", "sh", "-c", "exit 4", **far),
        ]
    )
    found = ended(room, "far", "far-bad")
    assert (found["far"].how, found["far-bad"].exit_code) == ("done", 4)
    assert {path.name for path in job("far").directory.iterdir()} == {"in", "a file", "out", "job.out", "job.err"}
    assert (job("far").directory / "out").read_text() == "data\ndata\n"


def test_a_held_job_is_told_with_its_reason_and_a_refused_one_stops_no_other(
    room: HTCondorRoom, job: Callable[..., Job], htcondor: HTCondor, short_tmp: Path
) -> None:
    unnamed = Job("unnamed", ("true",), short_tmp / "a $$(name)")
    said = room.submit([job("refused", "true", options=("request_memory = = 1",)), unnamed, job("held", *SLEEP)])
    assert (said["refused"].how, said["unnamed"].how, said["held"].how) == ("held", "held", "queued")
    assert said["refused"].reason.startswith("condor_submit refuses it: ")
    assert "submit files can't name" in said["unnamed"].reason
    htcondor.ask("condor_hold", "-reason", "the disk of the pool is full", said["held"].id)
    held = until(room, "held", "held")["held"]
    assert "the disk of the pool is full" in held.reason
    assert room.statuses(["refused"])["refused"].how == "gone", "it may be submitted again"
    room.cancel(["held", "refused"])
    assert ended(room, "held")["held"].reason.startswith("removed: ")


def test_the_same_key_is_submitted_once_also_when_a_killed_pass_left_its_condor_submit(
    room: HTCondorRoom, job: Callable[..., Job], htcondor: HTCondor, short_tmp: Path
) -> None:
    once = job("once", "sh", "-c", "echo x >> ran")
    with killed_in_its_submit(room, once, "condor_submit", short_tmp), pytest.raises(BatchAway, match="another command has held"):
        HTCondorRoom(room.place, seconds=0.3).submit([once])
    assert room.submit([once])["once"].how in ("queued", "running", "done")
    assert ended(room, "once")["once"].how == "done"
    assert room.submit([once])["once"].how == "done"
    assert htcondor.ask("condor_q", "-af", "DmtoolsKey").split().count("once") == 1


def test_a_second_job_of_a_key_ends_without_a_stroke(room: HTCondorRoom, job: Callable[..., Job], htcondor: HTCondor) -> None:
    twice = job("twice", "sh", "-c", "echo x >> ran; until [ -e go ]; do sleep 0.05; done")
    first = room.submit([twice])["twice"]
    wait_until((twice.directory / "ran").exists, 30, "the first runs")
    again = f'executable = {room.place}/twice/job.sh\nMy.DmtoolsKey = "twice"\nleave_in_queue = True\nqueue\n'
    done = subprocess.run(["condor_submit", "-terse", "-"], input=again, capture_output=True, text=True, check=True)
    second = done.stdout.split()[0]
    wait_until(lambda: htcondor.ask("condor_q", second, "-af", "ExitCode").strip() == "79", 30, "the second ended")
    assert room.statuses(["twice"])["twice"] == Status("twice", "running", first.id)
    (twice.directory / "go").touch()
    assert ended(room, "twice")["twice"] == Status("twice", "done", first.id, 0)
    assert (twice.directory / "ran").read_text() == "x\n"


def test_fifty_jobs_are_asked_for_in_one_request(
    room: HTCondorRoom, job: Callable[..., Job], short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"j{number}" for number in range(50)]
    room.submit([job(key, "true", options=("hold = True",)) for key in keys])
    counted = before(short_tmp, "condor_q", f"echo x >>{short_tmp}/calls")
    monkeypatch.setenv("PATH", f"{counted}:{os.environ['PATH']}")
    assert {status.how for status in room.statuses(keys).values()} == {"held"}
    assert (short_tmp / "calls").read_text() == "x\n"
    room.cancel(keys)
    assert {status.how for status in ended(room, *keys).values()} == {"failed"}
    room.forget(keys)
    assert {status.how for status in room.statuses(keys).values()} == {"gone"}
    assert [path.name for path in room.place.iterdir()] == [".lock"]


def test_a_running_job_is_cancelled_a_late_one_is_ended_and_open_ones_are_not_forgotten(
    room: HTCondorRoom, job: Callable[..., Job]
) -> None:
    runs, late = job("runs", "sh", "-c", "echo x > ran; exec sleep 600"), job("late", *SLEEP, seconds=1)
    room.submit([runs, late])
    wait_until((runs.directory / "ran").exists, 30, "it runs")
    room.forget(["runs"])
    assert (room.statuses(["runs"])["runs"].how, (room.place / "runs/job.sh").exists()) == ("running", True)
    room.cancel(["runs", "never"])
    found = ended(room, "runs", "late")
    assert found["runs"].reason.startswith("removed: via condor_rm")
    assert found["late"].reason == "ended after its time"


def test_a_pool_that_is_down_is_away_and_a_job_that_was_lost_with_it_is_run_again(
    room: HTCondorRoom, job: Callable[..., Job], htcondor: HTCondor
) -> None:
    lost = job(
        "lost-node", "sh", "-c", "echo x >> ran; until [ -e go ]; do sleep 0.05; done", options=("job_lease_duration = 5",)
    )
    room.submit([job("before", "sh", "-c", "exit 5"), lost])
    until(room, "failed", "before")
    wait_until((lost.directory / "ran").exists, 30, "it runs")
    htcondor.stop()
    hasty = HTCondorRoom(room.place, seconds=5)
    for call in (
        lambda: hasty.submit([job("new", "true")]),
        lambda: hasty.statuses(["before"]),
        lambda: hasty.cancel(["before"]),
    ):
        with pytest.raises(BatchAway):
            call()
    htcondor.start()
    assert room.statuses(["before"])["before"].exit_code == 5
    wait_until(lambda: (lost.directory / "ran").read_text() == "x\nx\n", 60, "its lease is over: it runs again")
    (lost.directory / "go").touch()
    assert ended(room, "lost-node")["lost-node"].how == "done"


def test_what_left_the_queue_is_known_by_its_own_word_or_the_history_and_a_lost_job_is_gone(
    room: HTCondorRoom, job: Callable[..., Job], htcondor: HTCondor
) -> None:
    said = room.submit([job("worded", "sh", "-c", "exit 6"), job("removed", *SLEEP), job("lost", *SLEEP)])
    until(room, "failed", "worded")
    until(room, "running", "removed", "lost")
    ids = [status.id for status in said.values()]
    htcondor.ask("condor_rm", *ids)
    htcondor.ask("condor_rm", "-forcex", *ids)
    shutil.rmtree(room.place / "lost")  # what the room kept of it, as after the loss of a disk
    found = room.statuses(["worded", "removed", "lost"])
    assert (found["worded"].how, found["worded"].exit_code) == ("failed", 6)
    assert (found["removed"].how, found["removed"].reason[:8]) == ("failed", "removed:")
    assert found["lost"].how == "gone"


@pytest.mark.parametrize("program", ["condor_q", "condor_submit"])
def test_a_command_that_is_not_there_or_hangs_is_away(
    program: str, room: HTCondorRoom, job: Callable[..., Job], short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = path_without(short_tmp, program, "condor_q", "condor_submit", "condor_history", "nsenter")
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(BatchAway, match=f"{program} can't be run here"):
        room.submit([job("a", "true")])
    hangs(place / program)
    with pytest.raises(BatchAway, match=f"{program} gave no answer"):
        HTCondorRoom(room.place, seconds=1).submit([job("a", "true")])
