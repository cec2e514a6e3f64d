"""The kill sweep and the error sweep: every system call that writes below HOME or to a server, one at a time.

A point: HOME as a stage has it, the command with the call killed (or failed), plain passes to the end, the judgement.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults import calls, judge, powercut
from tests.faults.calls import NO_MORE, Call
from tests.faults.machine import CONSUMER, FIRST_FAILURES, FIRST_SEED, MONITOR, OTHER_SEED, PRODUCER, Machine

KILL = "signal=KILL"


@dataclass(frozen=True)
class Stage:
    """A command at a point of a list's life."""

    name: str
    command: tuple[str, ...]


STAGES = (
    Stage("producer", PRODUCER),  # a master list, nothing cut
    Stage("consumer", CONSUMER),  # three lists in TODO: the submissions go by threads
    Stage("one", ("migrate-consumer", "--lists", "1")),  # one of them: all in one thread
    Stage("resume", CONSUMER),  # three lists booked, of whose submission nothing is known
    Stage("monitor", MONITOR),  # three jobs ended: FINISHED, FINISHEDDIRTY, FAILED
    Stage("again", CONSUMER),  # the rest of the dirty list and the failed one, in TODO
)
BY_NAME = {stage.name: stage for stage in STAGES}


@dataclass(frozen=True)
class Row:
    """One point: what was disturbed and how it ended. `hit`: False when the command survived (no such call any more)."""

    stage: str
    call: Call
    fault: str
    hit: bool
    code: int
    copies: int
    hidden: int
    wrong: tuple[str, ...]

    @property
    def verdict(self) -> str:
        return "; ".join(self.wrong) or "good"


COLUMNS = ("stage", "call", "n", "subject", "fault", "hit", "exit", "copies", "hidden", "verdict")


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    hit = "yes" if row.hit else "survived"
    return (
        *(row.stage, row.call.name, str(row.call.number), row.call.subject, row.fault, hit),
        *(str(row.code), str(row.copies), str(row.hidden), row.verdict),
    )


def prepare(machine: Machine, wanted: Sequence[str]) -> None:
    """The templates of these stages, each made by plain passes from the one before."""
    machine.init()
    machine.keep("producer")
    machine.expect(machine.run(*PRODUCER), 1)
    for name in ("consumer", "one"):
        machine.keep(name)
    if "resume" in wanted:
        machine.start_servers()
        machine.faults('[[fault]]\nmatch = "POST /jobs"\nop = "http500"\n')
        machine.expect(machine.run(*CONSUMER, seed=FIRST_SEED), 1)
        machine.faults("")
        machine.stop_servers()
        machine.keep("resume")
        machine.fill("consumer")
    if "monitor" in wanted or "again" in wanted:
        machine.start_servers()
        machine.faults(FIRST_FAILURES)
        machine.expect(machine.run(*CONSUMER, seed=FIRST_SEED), 1)
        machine.wait_for_servers()
        machine.faults("")
        machine.stop_servers()
        machine.keep("monitor")
        machine.start_servers()
        machine.expect(machine.run(*MONITOR), 0)
        machine.stop_servers()
        machine.rounds += 1
        machine.keep("again")


def argv(machine: Machine, command: Sequence[str]) -> list[str]:
    """The command as a process of its own, as cron starts it."""
    return [sys.executable, str(machine.tree / "bin" / command[0]), *command[1:]]


def start(machine: Machine, stage: Stage) -> None:
    """HOME and servers as the stage has them."""
    machine.fill(stage.name)
    machine.start_servers()


def points(machine: Machine, stage: Stage) -> list[Call]:
    """Every call of the stage's command that matters, and behind the last of each kind one that never comes."""
    start(machine, stage)
    env = machine.environment(FIRST_SEED)
    found = calls.relevant(argv(machine, stage.command), env, machine.home, machine.place / "trace")
    assert found, f"{stage.name} writes nothing"
    return found


def run(machine: Machine, stage: Stage, call: Call, fault: str = KILL) -> Row:
    """One point."""
    start(machine, stage)
    outcome = _disturb(machine, stage, call, fault, FIRST_SEED)
    wrong = [] if outcome.code == -9 else judge.said_badly(stage.command[0], outcome.code, outcome.err)
    return _judged(machine, stage.name, outcome.hit or call, fault, outcome.hit is not None, outcome.code, wrong)


def twice(machine: Machine, first: tuple[Stage, Call], second: tuple[Stage, Call]) -> Row:
    """Killed, and the pass that comes to mend it killed as well."""
    (stage, call), (later, other) = first, second
    start(machine, stage)
    one = _disturb(machine, stage, call, KILL, FIRST_SEED)
    machine.wait_for_servers()
    machine.rounds += 1
    two = _disturb(machine, later, other, KILL, OTHER_SEED)
    wrong = [] if two.code == -9 else judge.said_badly(later.command[0], two.code, two.err)
    both = Call(
        f"{(one.hit or call).name}+{other.name}", call.number, f"{call.subject}, then the {other.number}th of {other.subject}"
    )
    return _judged(machine, f"{stage.name}+{later.name}", both, KILL, two.hit is not None, two.code, wrong)


def power_cut(machine: Machine, stage: Stage, call: Call, kind: str, seed: int) -> Row:
    """The machine loses its power at the call: the disk keeps what was synced, and of the rest what `kind` says."""
    start(machine, stage)
    outcome = _disturb(machine, stage, call, KILL, FIRST_SEED, record=True)
    powercut.cut(machine.place / stage.name, machine.home, machine.place / "trace", kind, seed)
    return _judged(machine, stage.name, outcome.hit or call, f"cut={kind}", outcome.hit is not None, outcome.code, [])


def moment(machine: Machine, stage: Stage, seconds: float) -> Row:
    """Killed at a moment: in whatever all its threads were doing."""
    start(machine, stage)
    done = machine.run(*stage.command, seed=FIRST_SEED, killed_after=seconds)
    wrong = [] if done.code < 0 else judge.said_badly(stage.command[0], done.code, done.err)
    call = Call("moment", round(seconds * 1e6), "microseconds after its start")
    return _judged(machine, stage.name, call, KILL, done.code < 0, done.code, wrong)


def _disturb(machine: Machine, stage: Stage, call: Call, fault: str, seed: str, *, record: bool = False) -> calls.Outcome:
    env, log = machine.environment(seed), machine.place / "trace"
    return calls.disturbed(argv(machine, stage.command), env, machine.home, log, call, fault, record=record)


def _judged(machine: Machine, stage: str, call: Call, fault: str, hit: bool, code: int, wrong: list[str]) -> Row:
    wrong += judge.judge(machine, machine.to_the_end())
    return Row(stage, call, fault, hit, code, judge.copies(machine), len(judge.leftovers(machine.home)), tuple(wrong))


def sample(found: Sequence[Call], most: int, seed: int) -> list[Call]:
    """A part of the points, in their order: one of each kind first, then by chance; the database's many pages weigh less."""
    dice = random.Random(seed)
    real = [call for call in found if call.subject != NO_MORE]
    chance = {call: dice.random() ** (4 if call.name == "pwrite64" else 1) for call in real}
    falling = sorted(real, key=chance.__getitem__, reverse=True)
    first = {call.name: call for call in reversed(falling)}
    ones = sorted(first.values(), key=chance.__getitem__, reverse=True)
    kept = [*ones, *(call for call in falling if call not in ones)][:most]
    return [call for call in real if call in kept]


def rows(machine: Machine, stage: Stage, found: Sequence[Call], fault: str = KILL) -> Iterator[Row]:
    """The points one after the other."""
    return (run(machine, stage, call, fault) for call in found)
