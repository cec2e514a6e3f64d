"""Commands end at their deadline, with all their children; calls that hang are given up."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from dmtools.storage import tools
from dmtools.storage.deadline import Hung, Pulse, guarded, run, streamed
from tests.support import wait_until


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_command_is_run_without_a_shell_and_its_pipes_kept_apart() -> None:
    done = run(["sh", "-c", 'printf "%s" "$1"; echo bad >&2; exit 3', "x", "$(reboot) *"], 10)
    assert (done.code, done.out, done.err, done.timed_out) == (3, b"$(reboot) *", b"bad\n", False)


def test_large_input_and_output_do_not_lock_each_other() -> None:
    data = os.urandom(3_000_000)
    assert run(["cat"], 30, feed=data).out == data
    assert run(["true"], 30, feed=data).code == 0


def test_the_deadline_kills_a_sleeping_grandchild_too(tmp_path: Path) -> None:
    began = time.monotonic()
    done = run(["sh", "-c", f"sh -c 'echo $$ > {tmp_path}/pid; echo half; exec sleep 1000' & wait"], 3.0)
    assert done.timed_out
    assert done.out == b"half\n"
    assert time.monotonic() - began < 60
    wait_until(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_caller(tmp_path: Path) -> None:
    began = time.monotonic()
    done = run(["sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/pid; echo said; exit 4"], 60)
    assert (done.code, done.out, done.timed_out) == (4, b"said\n", False)
    assert time.monotonic() - began < 50
    wait_until(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_a_command_that_closes_its_pipes_and_goes_on_is_ended() -> None:
    done = run([sys.executable, "-c", "import os, time; os.close(1); os.close(2); time.sleep(1000)"], 1.0)
    assert done.timed_out
    assert done.code == -9


def test_a_stream_ends_at_its_deadline() -> None:
    with streamed(["sh", "-c", "echo first; sleep 1000"], 2.0) as (reader, finish):
        assert os.read(reader, 100) == b"first\n"
        assert os.read(reader, 100) == b""
        assert finish().timed_out
    with streamed(["sh", "-c", "echo out; echo err >&2; exit 5"], 30) as (reader, finish):
        assert os.read(reader, 100) == b"out\n"
        assert os.read(reader, 100) == b""
        done = finish()
    assert (done.code, done.err, done.timed_out) == (5, b"err\n", False)


def test_a_stream_that_is_left_early_is_ended(tmp_path: Path) -> None:
    with streamed(["sh", "-c", f"echo $$ > {tmp_path}/pid; echo x; exec sleep 1000"], 600) as (reader, _):
        os.read(reader, 10)
    wait_until(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_a_guarded_call_gives_its_result_or_what_it_raised() -> None:
    assert guarded(lambda _: 7, deadline=9, stall=9) == 7
    with pytest.raises(ZeroDivisionError):
        guarded(lambda _: 1 / 0, deadline=9, stall=9)


def test_a_call_that_goes_on_is_not_given_up_and_one_that_stalls_is() -> None:
    free = threading.Event()

    def lively(pulse: Pulse) -> str:
        for _ in range(40):
            free.wait(0.05)
            pulse.beat()
        return "done"

    assert guarded(lively, deadline=60, stall=1.5) == "done"
    stopped = threading.Event()

    def stuck(pulse: Pulse) -> None:
        try:
            free.wait()
            pulse.beat()
        except Hung:
            stopped.set()

    with pytest.raises(Hung):
        guarded(stuck, deadline=30, stall=0.1)
    free.set()
    assert stopped.wait(60), "a call that was given up goes no further"


def test_credentials_go_into_the_environment_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dmtools.settings import parse

    monkeypatch.setenv("BEARER_TOKEN", "old")
    monkeypatch.setenv("X509_USER_PROXY", "/tmp/of-the-shell")
    given = parse('[credentials]\nproxy = "/p/proxy"\ntoken_file = "/t/token"\n', home=tmp_path, file=None)
    made = tools.environment(given, 30)
    assert (made["X509_USER_PROXY"], made["BEARER_TOKEN_FILE"]) == ("/p/proxy", "/t/token")
    assert "BEARER_TOKEN" not in made
    assert made["XRD_REQUESTTIMEOUT"] == "30"
    bare = tools.environment(parse("", home=tmp_path, file=None), 30)
    assert (bare["X509_USER_PROXY"], bare["BEARER_TOKEN"]) == ("/tmp/of-the-shell", "old")
