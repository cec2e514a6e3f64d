"""Disks that fail, hang or go away, and dumps that are killed: each alone is set aside or goes on, the others are done."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daq.fuse_disk import FuseDisk
from tests.lta.dump_steps import Train, told, tree

MIB = 1 << 20
STRACE = ("strace", "-f", "-qq")


@pytest.fixture
def train(home: Path) -> Train:
    """A HOME whose slots are empty."""
    return Train(home)


def failing(path: Path, log: Path, when: str, error: str = "EIO") -> tuple[str, ...]:
    """The command's opens of one path fail, and stand in a log."""
    inject = f"inject=openat:error={error}{when}"
    return (*STRACE, "-o", str(log), "-P", str(path), "-e", "trace=openat", "-e", inject)


@pytest.mark.needs("strace")
def test_a_copy_that_always_fails_is_tried_an_exact_number_of_times_and_one_bad_disk_of_three_fails_alone(train: Train) -> None:
    train.set(max_attempts=3)
    bad = train.file(1, "data/bad")
    for number in (1, 2, 3):
        train.file(number, f"data/{number}")
    log = train.home / "log/opens"
    found = train.dump(codes=(1,), prefix=failing(bad, log, ""))
    assert log.read_text().count("(INJECTED)") == 3
    assert "3 attempts" in told(found)
    assert train.states() == {"1": "Error", "2": "Done", "3": "Done"}
    assert set(tree(train.warehouse)) == {b"data/1", b"data/2", b"data/3"}
    train.dump()  # set aside, it is left alone
    assert train.states()["1"] == "Error"
    train.dump("--again", train.uuid(1))
    train.dump()
    assert train.states()["1"] == "Done"
    assert b"data/bad" in tree(train.warehouse)


@pytest.mark.needs("strace")
def test_a_copy_that_fails_once_counts_once_and_is_done_at_the_second_try(train: Train) -> None:
    bad = train.file(1, "data/bad")
    train.file(1, "data/good")
    log = train.home / "log/opens"
    train.dump(prefix=failing(bad, log, ":when=1"))
    assert train.states() == {"1": "Done"}
    assert train.sql("SELECT files, files_done FROM lta_disk") == [(2, 2)]
    lines = [json.loads(line)["name"] for line in train.manifest(1).read_text().splitlines()]
    assert sorted(lines) == ["data/bad", "data/good"]
    opens = [line for line in log.read_text().splitlines() if "openat" in line and "INJECTED" not in line]
    assert len(opens) == 1


@pytest.mark.needs("strace")
def test_a_full_warehouse_is_no_disks_fault_and_all_disks_wait(train: Train) -> None:
    train.file(1, "data/1")
    train.file(2, "data/2")
    prefix = (*STRACE, "-o", "/dev/null", "-P", str(train.warehouse / "data"), "-e", "trace=syncfs,mkdir")
    prefix = (*prefix, "-e", "inject=mkdir:error=ENOSPC")
    found = train.dump(codes=(1,), prefix=prefix)
    assert "warehouse in trouble" in told(found)
    assert set(train.states().values()) == {"Inventoried"}
    train.dump()
    assert set(train.states().values()) == {"Done"}
    train.warehouse.rename(train.home / "away")
    assert "mount it" in told(train.dump(codes=(75,)))


def test_a_killed_dump_goes_on_after_the_last_proved_file_and_a_torn_manifest_is_mended(train: Train) -> None:
    for name in range(4):
        train.file(1, f"data/{name}", b"%d" % name * 1000)
    train.dump()
    lines = train.manifest(1).read_bytes().splitlines(keepends=True)
    train.manifest(1).write_bytes(b"".join(lines[:2]) + lines[2][:30])  # as a kill in the middle of its writing leaves it
    kept = [json.loads(line)["name"] for line in lines[:2]]
    lost = sorted({f"data/{name}" for name in range(4)} - set(kept))
    (train.warehouse / lost[0]).unlink()
    left = train.warehouse / "data/.0.1-1.dmtmp"
    left.write_bytes(b"half a copy")
    with train.database() as db:
        db.execute("UPDATE lta_disk SET state = 'Dumping', holder = 'gone', ready = since, ended = NULL")
    before = {name: (train.warehouse / name).stat().st_ino for name in (*kept, lost[1])}
    train.dump()
    assert train.states() == {"1": "Done"}
    assert {name: (train.warehouse / name).stat().st_ino for name in before} == before
    assert tree(train.warehouse) == {b"data/%d" % name: b"%d" % name * 1000 for name in range(4)}
    listed = [json.loads(line)["name"] for line in train.manifest(1).read_text().splitlines()]
    assert sorted(listed) == [f"data/{name}" for name in range(4)]


def test_a_file_that_changed_on_its_disk_since_it_was_dumped_is_not_taken_for_done(train: Train) -> None:
    train.file(1, "data/1", b"before")
    train.dump()
    train.file(1, "data/1", b"after!")
    with train.database() as db:
        db.execute("UPDATE lta_disk SET state = 'Inventoried'")
    assert "other content" in told(train.dump(codes=(1,)))
    assert tree(train.warehouse) == {b"data/1": b"before"}


Mount = Callable[..., FuseDisk]


@pytest.fixture
def mount(train: Train, short_tmp: Path) -> Iterator[Mount]:
    """`mount(reads=12)`: the first slot is a device that hangs after so many reads."""
    mounted: list[FuseDisk] = []
    (short_tmp / "device").mkdir()
    train.file(1, "data/small")
    train.disk(1).rename(short_tmp / "device" / train.uuid(1))

    def begin(*, reads: int = -1, keeps: bool = True) -> FuseDisk:
        mounted.append(FuseDisk(short_tmp / "device", train.slot(1), reads=reads, keeps=keeps))
        (train.disk(1) / "data/small").read_bytes()  # a first close tells the kernel that a close needs no answer
        return mounted[-1]

    yield begin
    for one in mounted:
        one.close()


@pytest.mark.needs("root")
def test_a_disk_that_hangs_in_the_middle_is_set_aside_and_holds_up_no_other(train: Train, mount: Mount, short_tmp: Path) -> None:
    train.set(disk_seconds=1)
    large = short_tmp / "device" / train.uuid(1) / "data/large"
    large.write_bytes(os.urandom(24 * MIB))
    train.file(2, "data/2")
    device = mount(reads=14)
    found = train.dump(codes=(1,))
    assert device.is_silent
    assert re.search("hangs: no byte came", told(found))
    assert train.states() == {"1": "Error", "2": "Done"}
    assert b"data/large" not in tree(train.warehouse)  # what was begun of it has a hidden name
    device.talk()
    train.dump("--again", train.uuid(1))
    train.dump()
    assert tree(train.warehouse)[b"data/large"] == large.read_bytes()
    assert train.states()["1"] == "Done"


@pytest.mark.needs("root")
def test_a_disk_that_is_pulled_out_in_the_middle_is_set_aside_and_goes_on_when_it_is_back(
    train: Train, mount: Mount, short_tmp: Path
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from tests.support import wait_until

    data = short_tmp / "device" / train.uuid(1) / "data"
    (data / "large").write_bytes(os.urandom(24 * MIB))
    train.file(2, "data/2")
    device = mount(reads=12)
    with ThreadPoolExecutor(1) as pool:
        dump = pool.submit(train.dump, codes=(1,))
        wait_until(lambda: device.is_silent, 60, "the dump reads")
        device.tear_off()
        device.talk()
        found = dump.result()
    assert "disk set aside" in told(found)
    assert train.states() == {"1": "Error", "2": "Done"}
    device.close()
    train.dump()  # the slot is empty now
    assert train.states()["1"] == "Removed"
    mount()
    train.dump()
    assert train.states()["1"] == "Done"
    assert tree(train.warehouse)[b"data/large"] == (data / "large").read_bytes()
