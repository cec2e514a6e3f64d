"""Real mounts that go away, or hang, while a pass copies from them: nothing is lost, it is told, the other disk goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.daq.disk_steps import Disks, data, told
from tests.daq.fuse_disk import FuseDisk
from tests.support import Result, wait_until

pytestmark = pytest.mark.needs("root")
MIB = 1 << 20
READS = 12  # of the kernel: it stops in the middle of the large file
Mount = Callable[..., FuseDisk]


@pytest.fixture
def disks(home: Path) -> Disks:
    """A HOME whose disks are empty; the first is to be mounted."""
    made = Disks(home)
    made.settings(disk_seconds=1)
    return made


@pytest.fixture
def mount(disks: Disks, short_tmp: Path) -> Iterator[Mount]:
    """`mount(reads=12, keeps=False)`: the device is there as the first disk, and hangs after so many reads."""
    mounted: list[FuseDisk] = []

    def again(*, reads: int = -1, keeps: bool = False) -> FuseDisk:
        mounted.append(FuseDisk(short_tmp / "device", disks.disk(), reads=reads, keeps=keeps))
        return mounted[-1]

    yield again
    for one in mounted:
        one.close()


@pytest.fixture
def bodies(disks: Disks, short_tmp: Path) -> dict[str, bytes]:
    """Files on the device, and one on the second disk; both are flagged."""
    sizes = {"a": 300, "large": 4 * MIB, "m": 300, "z": 300}
    made = {data(name): os.urandom(size) for name, size in sizes.items()}
    for path, body in made.items():
        (short_tmp / "device" / path).parent.mkdir(parents=True, exist_ok=True)
        (short_tmp / "device" / path).write_bytes(body)
    (short_tmp / "device" / "ReadyToTransfer").touch()
    made[data("other")] = disks.file(data("other"), disk=2).read_bytes()
    disks.flag(2)
    return made


def nothing_lost(disks: Disks, bodies: dict[str, bytes], first: Result) -> None:
    """The pass told the first disk, and nothing else; the second is done; when the disk is back, so are its files."""
    assert {(one["what"], one["subject"]) for one in first.json["errors"]} == {("disk in trouble", str(disks.disk()))}
    states = disks.states()
    assert states.pop(data("other")) == "AtSite"
    assert states[data("large")] == "Found"
    assert set(states.values()) <= {"Found", "AtSite"}
    assert disks.sql("SELECT SUM(failures), COUNT(error_class) FROM daq_file") == [(0, 0)]
    assert disks.disk_states()[0] == "Emptying"


def all_at_site(disks: Disks, bodies: dict[str, bytes]) -> None:
    """Each file is proved there, equal; nothing half copied is left."""
    assert disks.states() == dict.fromkeys(bodies, "AtSite")
    assert {path: disks.copy(path).read_bytes() for path in bodies} == bodies
    assert not [path for path in (disks.home / "demo/site").rglob(".*") if path.is_file()]


@pytest.mark.parametrize("how", ["umount -l", "torn off"])
def test_a_disk_that_is_unmounted_in_the_middle_of_a_copy_loses_nothing(
    disks: Disks, bodies: dict[str, bytes], mount: Mount, how: str
) -> None:
    """A file that is open may be read to its end behind `umount -l`; of a disk that was torn off comes an error."""
    disk = mount(reads=READS)
    disks.settings(disk_seconds=30)
    with ThreadPoolExecutor(1) as pool:
        under_way: Future[Result] = pool.submit(disks.transfer, "--threads", 1)
        wait_until(lambda: disk.is_silent or under_way.done(), 60, "the copy is in its middle")
        assert disk.is_silent, under_way.result()
        if how == "umount -l":
            subprocess.run(["umount", "-l", disks.disk()], check=True)
        else:
            disk.tear_off()
        disk.talk()
        first = under_way.result()
    nothing_lost(disks, bodies, first)
    disk.close()
    assert list(disks.disk().iterdir()) == []
    mount()
    disks.transfer()
    all_at_site(disks, bodies)


@pytest.mark.parametrize(("keeps", "why"), [(False, "it did not answer within 1 s"), (True, "it gives nothing of ")])
def test_a_disk_that_hangs_inside_a_copy_does_not_hold_the_pass(
    disks: Disks, bodies: dict[str, bytes], mount: Mount, keeps: bool, why: str
) -> None:
    """Also one whose root the kernel still knows: not the site is in trouble then."""
    disk = mount(reads=READS, keeps=keeps)
    first = disks.transfer("--threads", 1)
    assert disk.is_silent
    assert why in told(first)
    nothing_lost(disks, bodies, first)
    disk.talk()
    disks.transfer()
    all_at_site(disks, bodies)
