"""The clock jumps by hours, forward and back: nothing is lost or doubled, and no list waits for the old time to come."""

from __future__ import annotations

import pytest

from tests.faults.judge import judge
from tests.faults.machine import CONSUMER, FIRST_FAILURES, MONITOR, PRODUCER, Machine
from tests.faults.warm import Done

HOUR = 3600.0
MINUTE = 60.0


@pytest.fixture
def passes(machine: Machine) -> list[Done]:
    """A fresh HOME with its servers, and the passes over it as they come."""
    machine.init()
    machine.start_servers()
    return []


def at(machine: Machine, passes: list[Done], command: tuple[str, ...], offset: float) -> None:
    """One pass with the clock so many seconds off."""
    passes.append(machine.run(*command, offset=offset))


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 400 * 24 * HOUR, -400 * 24 * HOUR], ids=["hour", "hour-back", "year", "year-back"])
@pytest.mark.parametrize("before", [1, 2], ids=["behind-producer", "behind-consumer"])
def test_a_jump_between_passes(machine: Machine, passes: list[Done], jump: float, before: int) -> None:
    for number, command in enumerate((PRODUCER, CONSUMER, MONITOR)):
        machine.wait_for_servers()
        at(machine, passes, command, jump if number >= before else 0)
    assert judge(machine, passes) == []


def test_the_clock_goes_back_after_jobs_were_polled(machine: Machine, passes: list[Done]) -> None:
    """They are asked for again at once, not when the old time comes."""
    at(machine, passes, PRODUCER, HOUR)
    machine.faults('[[fault]]\nmatch = "/castor/"\nop = "slow"\nseconds = 600\n')
    at(machine, passes, CONSUMER, HOUR)
    at(machine, passes, MONITOR, HOUR)
    assert [what.rpartition(" ")[2] for what in machine.open()] == ["DOING"] * 3
    machine.stop_servers()
    machine.faults("")
    machine.start_servers()
    machine.wait_for_servers()
    at(machine, passes, MONITOR, 0)
    assert judge(machine, passes) == []


def test_the_clock_goes_back_while_lists_wait(machine: Machine, passes: list[Done]) -> None:
    """A back-off is a length of time, not an instant of a clock that was wrong."""
    at(machine, passes, PRODUCER, HOUR)
    machine.faults(FIRST_FAILURES)
    at(machine, passes, CONSUMER, HOUR)
    machine.wait_for_servers()
    at(machine, passes, MONITOR, HOUR)
    machine.faults("")
    at(machine, passes, CONSUMER, MINUTE)
    machine.wait_for_servers()
    at(machine, passes, MONITOR, MINUTE)
    assert judge(machine, passes) == []
