"""datalogger-params and -events: what the schedule owes is asked for, the most endangered first; settled days become files."""

from __future__ import annotations

from dmtools import clock
from dmtools.command import Unavailable
from dmtools.control.passes import Pass
from dmtools.datalogger import asking, publishing, schedule, windows
from dmtools.datalogger.home import Home
from dmtools.datalogger.rounds import Rounds
from dmtools.settings.datalogger import Device


def scheduled(this: Pass, home: Home, kind: str, devices: dict[str, Device]) -> None:
    """One pass over all that is owed. Raises Unavailable when the logger can't be reached at all."""
    now = clock.now()
    schedule.owe(this, home, kind, devices, now)
    with this.ledger.read() as connection:
        due = windows.due(connection, home.id, kind, now)
    if this.dry_run:
        for window in due:
            this.plan(f"would ask for {window.shown} ({window.state})")
        return
    schedule.forget(this, home, kind, now)
    with this.ledger.read() as connection:
        due = windows.due(connection, home.id, kind, now)
    rounds = ask(this, home, devices, due) if due and this.goes() else None
    publishing.publish(this, home, kind, devices)
    publishing.tidy(this, home)
    if rounds is not None and rounds.away:
        tell_away(this, rounds)


def ask(this: Pass, home: Home, devices: dict[str, Device], due: list[windows.Window], *, by_hand: bool = False) -> Rounds:
    """Asks for these windows; `away` of what is given says whether the logger could be reached."""
    rounds = Rounds(this, home, devices, by_hand=by_hand)
    try:
        rounds.logger = asking.Logger(asking.address(this.settings), this.settings.datalogger)
    except asking.Away as problem:
        rounds.away = str(problem)
        return rounds
    rounds.run(due)
    return rounds


def tell_away(this: Pass, rounds: Rounds) -> None:
    """A logger that went away after it answered is told; one that never answered ends the pass. Raises Unavailable."""
    left, step = "what is owed stays owed; what was had is kept", "the next pass asks again"
    if not rounds.ended:
        raise Unavailable("the logger is away", this.settings.datalogger.url, rounds.away, step, left)
    this.problem("the logger is away", this.settings.datalogger.url, why=rounds.away, left=left, next=step, failed=False)
