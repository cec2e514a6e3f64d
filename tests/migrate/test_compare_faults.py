"""migrate-compare when it is killed, when a disk is full, when sort fails; and its memory at 3,000,000 lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import command, environment, run, wait_until

MIB = 1 << 20


def pair(tmp_path: Path, count: int, length: int = 20) -> tuple[Path, Path]:
    """(dump, catalogue): `count` names each, unsorted; one in 1000 of each is not in the other."""
    paths = tmp_path / "dump", tmp_path / "catalogue"
    for side, path in enumerate(paths):
        with path.open("wb", buffering=MIB) as file:
            for number in range(count):
                mixed = number * 7919 % count
                own = b"-%d" % side if mixed % 1000 == 0 else b""
                file.write(b"/lhcb/%0*d%s\n" % (length, mixed, own))
    return paths


def published(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if not path.name.startswith(".")}


def children(process: subprocess.Popen[bytes]) -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


@pytest.fixture
def held(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A comparison that can't end: its catalogue is a pipe that gives names and then nothing."""
    dump, _ = pair(tmp_path, 50000)
    os.mkfifo(tmp_path / "pipe")
    argv = command("migrate-compare", dump, tmp_path / "pipe", "--out", tmp_path / "out")
    with (
        subprocess.Popen(argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
        (tmp_path / "pipe").open("wb") as pipe,
    ):
        pipe.write(b"/lhcb/1\n" * 200000)
        pipe.flush()
        wait_until(lambda: len(children(process)) == 2, what="two sorts at work")
        yield process
        if process.poll() is None:
            process.kill()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_stopped_it_leaves_nothing(held: subprocess.Popen[bytes], tmp_path: Path, how: signal.Signals) -> None:
    sorts = children(held)
    held.send_signal(how)
    try:
        held.wait(5)
    except subprocess.TimeoutExpired:  # one that comes in the instant before a read begins is seen with the next
        held.send_signal(how)
    assert held.wait(60) == 128 + how
    assert not (tmp_path / "out").exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in sorts)


def test_killed_it_leaves_no_result_and_the_next_run_sweeps(held: subprocess.Popen[bytes], tmp_path: Path) -> None:
    out, sorts = tmp_path / "out", children(held)
    held.kill()
    held.wait(60)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in sorts), what="the sorts end by themselves")
    assert published(out) == {}
    left = list(out.glob(".migrate-compare-*"))
    assert left
    for place in left:
        os.utime(place, (time.time() - 100,) * 2)
    run("migrate-compare", tmp_path / "dump", tmp_path / "catalogue", "--out", out).gave(1)
    assert not list(out.glob(".*"))
    assert sorted(published(out)) == ["dark.txt", "different.txt", "invalid.txt", "lost.txt", "summary.json", "young.txt"]


def test_a_run_at_work_is_not_swept(held: subprocess.Popen[bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    at_work = wait_until(lambda: list(out.glob(".migrate-compare-*")))
    for place in at_work:
        os.utime(place, (time.time() - 100,) * 2)
    run("migrate-compare", tmp_path / "dump", tmp_path / "dump", "--out", out).ok()
    assert set(out.glob(".*")) == set(at_work)
    assert held.poll() is None


@pytest.mark.needs("strace")
def test_killed_at_any_write_it_never_mixes_two_results(tmp_path: Path) -> None:
    """A kill at each call of the publication: a summary.json stands only beside the whole lists of its own run."""
    out = tmp_path / "out"
    (tmp_path / "dump").write_bytes(b"/a\n/old\n")
    (tmp_path / "catalogue").write_bytes(b"/a\n/older\n")
    args = (tmp_path / "dump", tmp_path / "catalogue", "--out", out, "--min-age", 0)
    run("migrate-compare", *args).gave(1)
    first = published(out)
    (tmp_path / "dump").write_bytes(b"/a\n/new\n")
    (tmp_path / "catalogue").write_bytes(b"/a\n/newer\n")
    points = 0
    for call, most in ("rename", 6), ("unlink", 6), ("fsync", 7):
        for number in range(1, most + 1):
            for name, data in first.items():
                (out / name).write_bytes(data)
            strace = ("strace", "-f", "-qq", "-o", os.devnull, "-e", f"inject={call}:signal=KILL:when={number}")
            found = run("migrate-compare", *args, prefix=strace)
            now = published(out)
            points += found.code in (-9, 137)
            if "summary.json" in now:
                dump = json.loads(now["summary.json"])["first"]["dark"]
                word = b"old" if dump == ["/old"] else b"new"
                assert (now["dark.txt"], now["lost.txt"]) == (b"/" + word + b"\n", b"/" + word + b"er\n"), (call, number)
            for name in ("dark.txt", "lost.txt"):
                assert now.get(name) in (None, first[name], first[name].replace(b"old", b"new")), (call, number, name)
            pairs = now.get("dark.txt", b""), now.get("lost.txt", b"")
            assert not (b"old" in pairs[0] and b"new" in pairs[1]), (call, number)
            assert not (b"new" in pairs[0] and b"old" in pairs[1]), (call, number)
    assert points >= 18
    run("migrate-compare", *args).gave(1)
    assert published(out)["dark.txt"] == b"/new\n"


@pytest.mark.needs("root")
@pytest.mark.parametrize("full", ["--tmp", "--out"])
def test_a_full_disk_is_one_sentence(tmp_path: Path, full: str) -> None:
    """A tmpfs of 1 MiB in a mount namespace of the command's own, so that nothing stays mounted."""
    dump, catalogue = pair(tmp_path, 200000, 300)
    if full == "--out":
        catalogue.write_bytes(b"/another\n")
    disk = tmp_path / "disk"
    disk.mkdir()
    other = {"--tmp": "--out", "--out": "--tmp"}[full]
    mounted = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"', disk)
    found = run("migrate-compare", dump, catalogue, full, disk, other, tmp_path / "other", "--json", prefix=mounted).gave(75)
    [error] = found.json["errors"]
    assert "No space left on device" in error["why"]
    assert str(disk) in error["subject"] + error["next"]
    assert "room" in error["next"]
    assert not list((tmp_path / "other").glob("*"))


def test_a_place_that_can_not_be_written(tmp_path: Path) -> None:
    dump, catalogue = pair(tmp_path, 10)
    found = run("migrate-compare", dump, catalogue, "--out", "/proc/compare").gave(75)
    assert "/proc/compare" in found.err


def test_a_sort_that_dies_is_no_result(tmp_path: Path) -> None:
    """A sort that is killed, that fails, or that isn't there: 75, and nothing that looks like the end of a list."""
    dump, catalogue = pair(tmp_path, 10)
    own = tmp_path / "bin"
    own.mkdir()
    fake = own / "sort"
    for script, word in (
        ("cat >/dev/null; echo /lhcb/1; kill -KILL $$", "-9"),
        ("echo sort: out of luck >&2; exit 2", "out of luck"),
        ("head -c 5 >/dev/null; exit 2", "sort ended with 2"),
    ):
        fake.write_text(f"#!/bin/sh\n{script}\n")
        fake.chmod(0o755)
        path = f"{own}:{os.environ['PATH']}"
        found = run("migrate-compare", dump, catalogue, "--out", tmp_path / "out", env={"PATH": path}).gave(75)
        assert word in found.err
        assert not (tmp_path / "out").exists()
    fake.unlink()
    found = run("migrate-compare", dump, catalogue, "--out", tmp_path / "out", env={"PATH": str(own)}).gave(75)
    assert "coreutils" in found.err


def test_a_list_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    dump, catalogue = pair(tmp_path, 300000, 200)
    argv = command("migrate-compare", dump, catalogue, "--out", tmp_path / "out")
    with subprocess.Popen(argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_until(lambda: read_so_far(process.pid, catalogue) > 0, what="it reads the catalogue")
        process.send_signal(signal.SIGSTOP)
        with catalogue.open("ab") as file:
            file.write(b"/lhcb/another\n")
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert b"it changed while it was read" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_memory_stays_flat_at_three_million_lines(tmp_path: Path) -> None:
    """The command and both its sorts together, looked at all the time, stay below 150 MB."""
    dump, catalogue = pair(tmp_path, 3_000_000)
    argv = command("migrate-compare", dump, catalogue, "--out", tmp_path / "out", "--min-age", 0, "--json")
    most = 0
    with subprocess.Popen(argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            most = max(most, sum(resident(pid) for pid in (process.pid, *children(process))))
        out, err = process.communicate()
    assert process.returncode == 1, err
    counts = json.loads(out)["counts"]
    assert counts == {"equal": 2_997_000, "lost": 3000, "dark": 3000, "young": 0, "different": 0, "invalid": 0}
    assert 30 * MIB < most < 150e6


def read_so_far(pid: int, path: Path) -> int:
    """How far a process has read a file that it holds open."""
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if handle.readlink() == path:
                return int(Path(f"/proc/{pid}/fdinfo/{handle.name}").read_text().split()[1])
        except OSError:
            continue
    return 0


def resident(pid: int) -> int:
    """Bytes of a process in memory; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError):
        return 0
