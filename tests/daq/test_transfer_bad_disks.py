"""Disks and files that misbehave: each has its rule, is told, loses nothing, and holds up no other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daq.disk_steps import Disks, data, lfn, told
from tests.real_components import XRootD
from tests.support import run

STRACE = ("strace", "-f", "-qq", "-o", "/dev/null")


@pytest.fixture
def disks(home: Path) -> Disks:
    """A HOME whose disks are empty."""
    return Disks(home)


def failing(path: Path, call: str, fault: str) -> tuple[str, ...]:
    """The command's calls of a kind on one path fail, or are late."""
    return (*STRACE, "-P", str(path), "-e", f"trace={call}", "-e", f"inject={call}:{fault}")


@pytest.mark.needs("strace")
@pytest.mark.parametrize(("error", "cls"), [("EACCES", "permission"), ("EIO", "io")])
def test_an_unreadable_file_is_bad_after_its_attempts_and_keeps_its_disk(disks: Disks, error: str, cls: str) -> None:
    disks.settings(max_attempts=2)
    file = disks.file(data("a"))
    disks.file(data("b"))
    disks.flag()
    prefix = failing(file, "openat", f"error={error}")
    assert "could not be read" in told(disks.transfer(code=1, prefix=prefix))
    assert disks.states() == {data("a"): "Found", data("b"): "AtSite"}
    disks.transfer(prefix=prefix)  # its time has not come
    disks.later()
    assert f"daq-transfer --retry {cls}" in told(disks.transfer(code=1, prefix=prefix))
    assert disks.states()[data("a")] == "Bad"
    disks.to_tape()
    disks.transfer()
    assert file.exists()
    assert disks.flags() == ["ReadyToTransfer"]
    disks.transfer("--retry", cls)
    assert disks.states()[data("a")] == "AtSite"


def test_a_file_that_vanished_before_its_copy_is_bad_until_a_person_says_so(disks: Disks) -> None:
    file = disks.file(data("a"))
    disks.flag()
    (disks.home / "demo/site").rename(disks.home / "demo/away")
    assert "mount it, or make the directory" in told(disks.transfer())
    assert disks.states() == {data("a"): "Found"}
    (disks.home / "demo/away").rename(disks.home / "demo/site")
    body = file.read_bytes()
    file.unlink()
    assert "--forget" in told(disks.transfer(code=1))
    assert disks.flags() == ["ReadyToTransfer"]
    file.write_bytes(body)
    disks.transfer("--retry", "missing")
    assert disks.states() == {data("a"): "Found"} or disks.states() == {data("a"): "AtSite"}
    disks.later()
    disks.transfer()
    assert disks.copy(data("a")).read_bytes() == body
    run("daq-transfer", "--forget", lfn(data("a")), home=disks.home).gave(2)  # it is no missing file
    run("daq-transfer", "--retry", "nonsense", home=disks.home).gave(2)


def test_a_lost_file_that_a_person_forgets_keeps_its_disk_no_longer(disks: Disks) -> None:
    file = disks.file(data("100%"))
    disks.flag()
    (disks.home / "demo/site").rename(disks.home / "demo/away")
    disks.transfer()
    (disks.home / "demo/away").rename(disks.home / "demo/site")
    file.unlink()
    disks.transfer(code=1)
    disks.transfer("--forget", lfn(data("100%")))
    assert disks.states() == {}
    assert disks.flags() == ["ReadyForData"]


def test_a_file_that_is_being_written_waits_without_an_attempt(disks: Disks) -> None:
    file = disks.file(data("a"))
    disks.flag()
    with file.open("ab") as writer:
        assert "still growing" in told(disks.transfer())
        writer.write(b"more")
        writer.flush()
        disks.later()
        disks.transfer()
        assert disks.states() == {data("a"): "Found"}
    assert disks.sql("SELECT failures FROM daq_file") == [(0,)]
    disks.later()
    disks.transfer()
    assert disks.copy(data("a")).read_bytes() == file.read_bytes()


def test_an_unmounted_disk_is_not_taken_for_an_empty_one(disks: Disks) -> None:
    for number in (1, 2):
        disks.file(data(f"{number}"), disk=number)
        disks.flag(number)
    disks.transfer()
    disks.to_tape()
    disks.disk().rename(disks.home / "away")
    disks.disk().mkdir()
    assert "it is not mounted, or somebody took the flag away" in told(disks.transfer())
    assert list(disks.disk().iterdir()) == []
    assert disks.states() == {data("1"): "OnTape", data("2"): "Freed"}
    assert disks.flags(2) == ["ReadyForData"]
    disks.disk().rmdir()
    (disks.home / "away").rename(disks.disk())
    disks.transfer()
    assert disks.flags() == ["ReadyForData"]
    assert set(disks.states().values()) == {"Freed"}


def test_all_disks_away_is_75(disks: Disks) -> None:
    disks.settings(disks=[str(disks.home / "none")])
    assert disks.transfer(code=75).json["state"] == "unavailable"


@pytest.mark.needs("strace")
def test_a_hanging_disk_holds_up_no_other(disks: Disks) -> None:
    disks.settings(disk_seconds=1)
    for number in (1, 2):
        disks.file(data(f"{number}"), disk=number)
        disks.flag(number)
    prefix = failing(disks.disk(1), "newfstatat", "delay_enter=3000000:when=1")
    assert "did not answer within 1 s" in told(disks.transfer(prefix=prefix))
    assert disks.states() == {data("2"): "AtSite"}
    disks.transfer()
    assert disks.states() == {data("2"): "AtSite", data("1"): "AtSite"}


@pytest.mark.needs("root")
def test_a_full_site_counts_no_attempt_and_leaves_nothing_half_made(disks: Disks, small_disk: Path) -> None:
    disks.settings(site=f"file://{small_disk}")
    for number in range(3):
        disks.file(data(f"{number}"), os.urandom(1 << 20))
    disks.file(data("large"), os.urandom(8 << 20))
    disks.flag()
    done = disks.transfer("--threads", 1)
    assert "site storage in trouble" in told(done)
    assert disks.states()[data("large")] == "Found"
    assert disks.sql("SELECT SUM(failures) FROM daq_file") == [(0,)]
    assert not [path for path in small_disk.rglob(".*") if path.is_file()]
    assert sum((disks.disk() / path).exists() for path in disks.states()) == 4


def test_wrong_use_is_refused(disks: Disks) -> None:
    run("daq-transfer", "name", home=disks.home).gave(2)
    run("daq-transfer", "--threads", "0", home=disks.home).gave(2)


def test_ready_for_data_gets_its_group_or_the_disk_is_kept(disks: Disks) -> None:
    disks.settings(ready_group="nosuchgroup")
    disks.flag()
    assert "nosuchgroup" in told(disks.transfer())
    assert disks.flags() == ["ReadyToTransfer"]
    disks.settings(ready_group="daemon", ready_mode="0640")
    disks.transfer()
    flag = (disks.disk() / "ReadyForData").stat()
    assert (flag.st_gid, flag.st_mode & 0o777) == (1, 0o640)


def test_a_root_site_is_proved_by_the_checksum_that_the_server_gives(disks: Disks, xrootd_server: Callable[..., XRootD]) -> None:
    server = xrootd_server()
    disks.settings(site=f"{server.url}/site")
    names = [data(name) for name in ("a", "b c", "d'e")]
    for path in names:
        disks.file(path, os.urandom(5000))
    disks.flag()
    assert disks.transfer().json["counts"]["Copied>AtSite"] == 3
    there = server.data / "site/2407/240716"
    for path in names:
        assert (there / path).read_bytes() == (disks.disk() / path).read_bytes()
    disks.to_tape()
    disks.transfer()
    assert disks.flags() == ["ReadyForData"]


def test_1_a_storage_that_tells_another_checksum_is_no_proof(
    disks: Disks, xrootd_server: Callable[..., XRootD], short_tmp: Path
) -> None:
    liar = short_tmp / "liar"
    liar.write_text("#!/bin/sh\necho 00c0ffee\n")
    liar.chmod(0o755)
    server = xrootd_server(f"xrootd.chksum max 2 adler32 {liar}\n")
    disks.settings(site=f"{server.url}/site", max_attempts=2, safety="site-verified")
    source = disks.file(data("a"))
    disks.flag()
    assert "the storage says 300 bytes and adler32:00c0ffee" in told(disks.transfer(code=1))
    disks.later()
    disks.transfer(code=1)
    assert disks.sql("SELECT state, error_class FROM daq_file") == [("Bad", "checksum")]
    assert source.exists()
    assert not list((server.data / "site").rglob("*.dat"))


def test_the_books_are_the_same_on_mariadb(disks: Disks, mariadb: str) -> None:
    file = disks.home / "dmtools.toml"
    file.write_text(f'database.url = "{mariadb}"\n' + file.read_text())
    run("dm-db", "upgrade", home=disks.home).ok()
    disks.settings(safety="site-verified")
    for name in "abc":
        disks.file(data(name))
    disks.file(data("a"), disk=2)
    disks.file("notes", disk=2)
    disks.flag(1)
    disks.flag(2)
    done = disks.transfer(code=1)
    counts = {">Found": 4, ">Skipped": 1, "Found>Copied": 3, "Copied>AtSite": 3, "Found>Bad": 1}
    assert done.json["counts"] == counts | {"AtSite>removed": 3, "Emptying>Free": 1}
    assert disks.flags(1) == ["ReadyForData"]


@pytest.mark.needs("strace")
def test_a_twin_whose_removal_fails_half_way_is_not_taken_for_one_that_a_person_took_away(disks: Disks) -> None:
    name = Path(data("a")).name
    for number in (1, 2):
        disks.file(data("a"), b"the same", disk=number)
        disks.flag(number)
    disks.transfer()
    disks.to_tape()
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
    aside = (disks.disk(2) / data("a")).with_name(f".dm-del-{number}")
    disks.transfer(code=1, prefix=failing(aside, "unlink", "error=EIO"))
    assert aside.exists()
    disks.transfer()
    assert not aside.exists()
    assert disks.flags(2) == ["ReadyForData"]
    assert [state for (state,) in disks.sql("SELECT state FROM daq_file")] == ["Freed", "Freed"]
