"""The server as a process: address, signals, kill -9 and restart, two servers, --instant."""

from __future__ import annotations

import json
import os
import signal
import stat
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.fts_client import TERMINAL, Fts, url
from tests.support import Server, free_port, run, wait_until


def test_both_servers_from_one_command(home: Path, sim: Callable[..., Server]) -> None:
    server = sim(home)
    assert len(set(server.urls)) == 2
    for number, name in enumerate(("fts1", "fts2")):
        file = home / f"run/sim/{name}.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        told = json.loads(file.read_text())
        assert (told["url"], told["pid"]) == (server.urls[number], server.process.pid)
        assert Fts(home, name).get("/whoami")["vos"] == ["demo"]
    one, two = Fts(home, "fts1"), Fts(home, "fts2")
    assert one.address["token"] != two.address["token"]
    job_id = one.submit((one.source(), one.target()))
    assert two.raw("GET", f"/jobs/{job_id}").status_code == 404
    assert server.stop() == 143
    assert not list((home / "run/sim").glob("*.json"))
    assert "Traceback" not in server.said


def test_interrupted_by_the_keyboard(home: Path, sim: Callable[..., Server]) -> None:
    assert sim(home, "fts", "--name", "fts2").stop(signal.SIGINT) == 130


def test_the_port_of_the_settings(home: Path, serve: Callable[..., Server]) -> None:
    port = int((home / "dmtools.toml").read_text().split("port_base = ")[1].split()[0])
    assert serve("dm-sim", "fts", "--name", "fts2", home=home).url == f"http://127.0.0.1:{port + 4}"


def test_a_second_start_is_refused(own_fts: Callable[..., Fts]) -> None:
    fts = own_fts()
    home = fts.home
    assert fts.process
    second = run("dm-sim", "fts", "--name", "fts1", "--port", 0, home=home).gave(75)
    assert f"fts1 runs already (pid {fts.process.pid}" in second.err
    assert fts.get("/whoami")
    third = run("dm-sim", "fts", "--port", 0, home=home).gave(75)
    assert "fts1" in third.err
    port = fts.url.rpartition(":")[2]
    assert f"port {port}" in run("dm-sim", "fts", "--name", "fts2", "--port", port, home=home).gave(75).err
    assert not (home / "run/sim/fts2.json").exists()


def test_the_first_ends_when_the_second_can_not_start(own_fts: Callable[..., Fts]) -> None:
    fts = own_fts(name="fts2")
    assert "fts2 runs already" in run("dm-sim", "fts", "--port", 0, home=fts.home, timeout=60).gave(75).err
    assert [file.name for file in (fts.home / "run/sim").glob("*.json")] == ["fts2.json"]


def test_wrong_use(home: Path, tmp_path: Path) -> None:
    assert run("dm-sim", "fts", home=tmp_path / "none").gave(75).out == ""
    assert "--root is not there" in run("dm-sim", "fts", "--root", tmp_path / "none", home=home).gave(2).err
    run("dm-sim", "fts", "--name", "fts3", home=home).gave(2)
    assert "fts1 and fts2" in run("dm-sim", "fts", "--dry-run", home=home).ok().out
    assert not list((home / "run/sim").glob("*"))
    assert "GET /sim/copies" in run("dm-sim", "fts", "--help").ok().out


def test_another_root(own_fts: Callable[..., Fts], tmp_path: Path) -> None:
    fts = own_fts("--root", tmp_path, "--vo", "migdal")
    assert fts.get("/whoami")["vos"] == ["migdal"]
    (tmp_path / "a").write_text("x")
    assert fts.copy(tmp_path / "a", tmp_path / "new/b")["file_state"] == "FINISHED"
    assert fts.copy(fts.source(), tmp_path / "c")["reason"].startswith("SOURCE [13]")


def test_killed_while_it_copies(own_fts: Callable[..., Fts]) -> None:
    fts = own_fts()
    source, cut, other = fts.source(os.urandom(3_000_000)), fts.target(), fts.target()
    fts.faults(f"[[fault]]\nop = 'stall'\nmatch = '{cut}'\ntimes = 1\n")
    done = fts.submit((source, other))
    fts.done(done)
    job_id = fts.submit((source, cut), verify_checksum="both")
    wait_until(lambda: cut.exists() and cut.stat().st_size > 0)
    token, before = fts.address["token"], fts.job(done)
    fts.kill()
    assert 0 < cut.stat().st_size < source.stat().st_size
    fts.start()
    assert fts.address["token"] == token
    assert fts.job(done) == before
    file = fts.done(job_id)["files"][0]
    assert (file["file_state"], file["retry"]) == ("FINISHED", 0)
    assert cut.read_bytes() == source.read_bytes()
    assert [row["outcome"] for row in fts.copies(destination=url(cut))] == ["INTERRUPTED", "FINISHED"]


def test_after_a_kill_only_its_own_partial_file_is_removed(own_fts: Callable[..., Fts]) -> None:
    fts = own_fts()
    source, target = fts.source(), fts.target()
    fts.faults(f"[[fault]]\nop = 'stall'\nmatch = '{target}'\ntimes = 1\n")
    job_id = fts.submit((source, target))
    wait_until(lambda: fts.copies(destination=url(target)))
    fts.kill()
    other = target.with_name("other")
    other.write_text("another's")
    other.rename(target)
    fts.start()
    assert fts.done(job_id)["files"][0]["reason"].startswith("DESTINATION [17]")
    assert target.read_text() == "another's"


def test_stopped_while_it_copies(own_fts: Callable[..., Fts]) -> None:
    fts = own_fts()
    source, target = fts.source(), fts.target()
    fts.faults(f"[[fault]]\nop = 'stall'\nmatch = '{target}'\ntimes = 1\n")
    job_id = fts.submit((source, target))
    wait_until(lambda: fts.copies(destination=url(target)))
    assert fts.stop() == 143
    assert not target.exists()
    fts.start()
    assert fts.done(job_id)["job_state"] == "FINISHED"


def test_killed_again_and_again(own_fts: Callable[..., Fts]) -> None:
    fts = own_fts("--running", 3)
    fts.faults("[[fault]]\nop = 'slow'\nseconds = 1\nmatch = 'echo'\n")
    pairs = [(fts.source(), fts.target()) for _ in range(60)]
    job_id = fts.submit(*pairs, verify_checksum="both")
    for _ in range(3):
        count = len(fts.copies())
        wait_until(lambda: len(fts.copies()) > count + 3)  # noqa: B023
        fts.kill()
        fts.start()
    fts.faults("")
    assert fts.done(job_id)["job_state"] == "FINISHED"
    assert all(target.read_bytes() == source.read_bytes() for source, target in pairs)
    ended = [row for row in fts.copies() if row["outcome"] == "FINISHED"]
    assert len(ended) == len({row["destination"] for row in ended}) == 60


def test_instant(own_fts: Callable[..., Fts]) -> None:
    fts = own_fts("--instant")
    source, target = fts.source(), fts.target()
    names = {"id_generator": "deterministic", "sid": str(uuid.uuid4())}
    job_id = fts.submit((source, target), (source.with_name("none"), fts.target()), **names)
    job = fts.job(job_id)
    assert [file["file_state"] for file in job["files"]] == ["FINISHED", "FAILED"]
    assert job["job_state"] == "FINISHEDDIRTY"
    assert job["files"][1]["reason"] == "SOURCE [2] No such file or directory"
    assert target.samefile(source)
    assert [row["destination"] for row in fts.copies()] == [url(target)]
    again = fts.done(fts.submit((source, target)))
    assert again["job_state"] == "FINISHED"
    assert len(fts.copies()) == 1
    other = fts.done(fts.submit((fts.source(), target)))["files"][0]
    assert other["reason"] == "DESTINATION [17] Destination file exists and overwrite is not enabled"
    assert fts.done(fts.submit((fts.source(b"x"), target), overwrite=True))["job_state"] == "FINISHED"
    assert target.read_bytes() == b"x"
    assert fts.done(fts.submit((source, Path("/tmp/x"))))["files"][0]["reason"].startswith("DESTINATION [13]")
    assert (
        fts.raw(
            "POST", "/jobs", {"files": [{"sources": [url(source)], "destinations": [url(target)]}], "params": names}
        ).status_code
        == 409
    )


@pytest.mark.parametrize("start", [(), ("--instant",)])
def test_many_jobs_in_one_question(own_fts: Callable[..., Fts], start: tuple[str, ...]) -> None:
    fts = own_fts(*start)
    source = fts.source()
    jobs = [fts.submit(*((source, fts.target()) for _ in range(3))) for _ in range(100)]

    def states() -> Any:
        found = fts.get(
            f"/jobs/{','.join(jobs)}?files=file_state,dest_surl,finish_time,start_time,reason,source_surl,file_metadata"
        )
        assert [job["job_id"] for job in found] == jobs
        return all(job["job_state"] in TERMINAL for job in found) and found

    found = wait_until(states, 60)
    assert {file["file_state"] for job in found for file in job["files"]} == {"FINISHED"}
    assert len(fts.copies()) == 300


def test_any_free_port_may_be_named(home: Path, serve: Callable[..., Server]) -> None:
    port = free_port()
    assert serve("dm-sim", "fts", "--name", "fts1", "--port", port, home=home).url == f"http://127.0.0.1:{port}"
