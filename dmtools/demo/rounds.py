"""Rounds of a crontab's lines, one after the other, until an act of the demo is over; some are struck. Then how that went."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmtools.demo import books, passes
from dmtools.demo.crontab import Line
from dmtools.demo.display import Display
from dmtools.demo.passes import Ran, Strike
from dmtools.demo.proof import Check

SECONDS = 300


@dataclass(frozen=True)
class Act:
    """`way`: its states in their order; `goal`: the state that the bar counts. `may_end`: good exit codes.

    `least`: so many strikes must hit at least; `wanted`: what is not reached when it takes too long.
    """

    pipeline: str
    way: Sequence[str]
    goal: str
    strikes: Sequence[Strike]
    least: int
    may_end: Sequence[int]
    wanted: str


def play(
    act: Act,
    home: Path,
    lines: Sequence[Line],
    env_of: Callable[[Line], Mapping[str, str]],
    is_over: Callable[[], bool],
    display: Display,
) -> tuple[list[Ran], list[Check]]:
    """All rounds; the caller has begun the bar. Gives the passes that ran, and what is to be said of them."""
    ran: list[Ran] = []
    number, deadline = 0, time.monotonic() + SECONDS
    while not is_over():
        number += 1
        for line in lines:
            waiting = [s for s in act.strikes if not s.done and s.command == line.label and s.round <= number]
            ran.append(passes.run(line, env_of(line), waiting[0] if waiting else None))
            _show(act, number, ran[-1], books.tally(home, act.pipeline), display)
        if time.monotonic() > deadline:
            display.end_bar()
            return ran, [Check(act.wanted, [f"they did not within {SECONDS} s: {books.tally(home, act.pipeline)}"])]
    display.end_bar()
    return ran, [_ended(act, ran), _struck(act)]


def _show(act: Act, number: int, one: Ran, counts: Mapping[str, int], display: Display) -> None:
    display.at(counts.get(act.goal, 0), one.line.label)
    end = "killed with -9 in the middle" if one.killed else f"exit {one.code}"
    told = "  ".join(f"{state} {counts[state]}" for state in act.way if counts.get(state))
    said = f"round {number:2}  {one.line.label:18}  {one.seconds:4.1f} s  {end:8}  {told}"
    display.say(said, "yellow" if one.killed else "")


def _ended(act: Act, ran: Sequence[Ran]) -> Check:
    broken = [one for one in ran if one.code not in act.may_end or "Traceback" in one.said or "internal error" in one.said]
    return Check("each pass ends as it should", [f"{one.line.label}: exit {one.code}: {one.said.strip()}" for one in broken])


def _struck(act: Act) -> Check:
    kills = sum(strike.done for strike in act.strikes)
    missed = [strike.command for strike in act.strikes if not strike.done]
    against = [] if kills >= act.least else [f"{len(act.strikes)} were meant to; not hit: {', '.join(missed)}"]
    return Check(f"{kills} passes of {act.pipeline} were killed with -9 in the middle", against)
