"""Ten copies of each command started at once do the work of one."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import pytest

from tests.faults.judge import TROUBLE, judge
from tests.faults.machine import CONSUMER, MONITOR, PRODUCER, Machine
from tests.faults.sweep import argv
from tests.support import wait_until

COPIES = 10
LFNS = {b"/set %d/file %d" % (n % 4, n): "Okay" for n in range(45)} | {b"/set 1/gone": "Missing", b"bad": "Bad"}
DELAYS = ("strace", "-f", "-qq", "-o", "/dev/null")
SLOW = ("-e", "trace=fdatasync,unlink,rename,renameat", "-e", "inject=fdatasync,unlink,rename,renameat:delay_enter=15000")


@pytest.fixture
def fresh(machine: Machine) -> Machine:
    """A machine with more lists than there are copies, and its servers."""
    machine.init(tuple(LFNS))
    machine.start_servers()
    return machine


def at_once(machine: Machine, commands: Sequence[Sequence[str]], prefix: tuple[str, ...] = ()) -> list[str]:
    """Starts all, waits for all; gives what is wrong with their ends."""
    started = [
        subprocess.Popen(
            [*prefix, *argv(machine, command)],
            env=machine.environment(seed=str(number)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, command in enumerate(commands)
    ]
    ends = [(process.communicate(timeout=120)[1], process.returncode) for process in started]
    return [f"{code}: {err}" for err, code in ends if code not in (0, 1) or TROUBLE.search(err)]


@pytest.mark.parametrize("prefix", [(), pytest.param((*DELAYS, *SLOW), marks=pytest.mark.needs("strace"))], ids=["plain", "slow"])
def test_ten_copies_of_each_do_the_work_of_one(fresh: Machine, prefix: tuple[str, ...]) -> None:
    copies = COPIES if not prefix else 3
    assert at_once(fresh, [PRODUCER] * copies, prefix) == []
    assert len(list((fresh.home / "migrate/TODO").glob("FTSList-*"))) == 16
    assert at_once(fresh, [CONSUMER] * copies, prefix) == []
    assert list((fresh.home / "migrate/TODO").glob("*FTSList-*")) == []
    fresh.wait_for_servers()
    assert at_once(fresh, [MONITOR] * copies, prefix) == []
    assert judge(fresh, outcomes=LFNS) == []


def test_all_of_them_at_once(fresh: Machine) -> None:
    assert at_once(fresh, [PRODUCER, CONSUMER, MONITOR] * 4) == []
    passes = fresh.to_the_end()
    assert judge(fresh, passes, LFNS) == []


@pytest.mark.needs("strace")
def test_a_pass_beside_the_very_first_one_does_not_take_the_tables_for_lost(fresh: Machine) -> None:
    """It looks at the tables before the first list is booked, and at the directories after it was written."""
    late = ("-P", str(fresh.home / "migrate/DOING"), "-e", "trace=openat", "-e", "inject=openat:delay_enter=3000000:when=1")
    (fresh.home / "run/home-id").unlink(missing_ok=True)
    slow = subprocess.Popen(
        [*DELAYS, *late, *argv(fresh, CONSUMER)],
        env=fresh.environment(),
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    wait_until((fresh.home / "run/home-id").exists, 60, "the slow pass has begun")
    fresh.expect(fresh.run(*PRODUCER), 1)
    _, err = slow.communicate(timeout=60)
    assert "lost" not in err
    assert slow.returncode in (0, 1)
