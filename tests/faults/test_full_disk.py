"""HOME on a disk that is full: each pass says so in a sentence, and when there is room again all is mended."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.judge import judge, said_badly
from tests.faults.machine import CONSUMER, MONITOR, PRODUCER, Machine

pytestmark = pytest.mark.needs("root")
DISK = 3 << 20
STEP = 4096


@pytest.fixture
def small(machine: Machine, short_tmp: Path) -> Iterator[Path]:
    """A disk of 3 MB with a HOME; the servers, their tables and the files to be copied are elsewhere."""
    machine.init()
    machine.start_servers()
    big, disk = machine.home, short_tmp / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0750", "dm-full-disk", str(disk)], check=True)
    try:
        home = disk / "home"
        machine.expect(machine.run("dm-config", "init", str(home)), 0)
        shutil.rmtree(home / "demo")
        (home / "demo").symlink_to(big / "demo")
        shutil.copytree(big / "run/sim", home / "run/sim", dirs_exist_ok=True)
        shutil.move(big / "migrate/TODO/ListOfLFNs/master.txt", home / "migrate/TODO/ListOfLFNs")
        rule = f'{{match = "/", source = "file://{big}/demo/castor", destination = "file://{big}/demo/echo"}}'
        settings = home / "dmtools.toml"
        settings.write_text(f"migrate.rules = [{rule}]\n{settings.read_text('utf-8')}", "utf-8")
        machine.home = home
        yield disk
    finally:
        machine.home = big
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path, room: int) -> Path:
    """A file that leaves so many bytes of the disk."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        free = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail * free.f_bsize - room))
    return ballast


@pytest.mark.parametrize("room", [0, 1, 3, 9, 16, 24, 40, 64], ids=lambda pages: f"{pages * STEP >> 10}k")
def test_a_full_disk_is_told_and_mended(machine: Machine, small: Path, room: int) -> None:
    codes = []
    for command in (PRODUCER, CONSUMER, MONITOR):
        ballast = fill(small, room * STEP)
        full = machine.run(*command)
        assert said_badly(command[0], full.code, full.err) == []
        codes.append(full.code)
        machine.wait_for_servers()
        ballast.unlink()
        machine.run(*command)
        machine.wait_for_servers()
    if room == 0:
        assert codes == [75, 75, 75]
    assert judge(machine, machine.to_the_end()) == []
