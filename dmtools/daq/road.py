"""daq's way through the transfer engine: one rule, from where zips wait to the tape."""

from __future__ import annotations

from dmtools.control.passes import Pass
from dmtools.daq.home import Home
from dmtools.ledger.journal import State, States
from dmtools.settings import Daq, Rule
from dmtools.spool.listfile import Pair
from dmtools.transfers.road import Road
from dmtools.transfers.verdict import Patience

MATCH = "/"
MISSING, OKAY, BAD = "Missing", "Okay", "Bad"
# The engine's own states of a copy to tape; what people follow are the states of the zip and its files.
STATES = States(
    pipeline="daq",
    kind="tape",
    counted=False,
    states=(
        State("TODO", "its list waits for a server", "daq-archive", ("DOING", OKAY, BAD, MISSING)),
        State("DOING", "in a job at an FTS server", "daq-archive", (OKAY, BAD, "TODO")),
        State(OKAY, "at the tape, proved equal to the zip", "daq-archive", (BAD,)),
        State(BAD, "the zip is Bad, too", "daq-archive", ("TODO",)),
        State(MISSING, "the zip was not at the site any more", "daq-archive", ("TODO",)),
    ),
)


class OneRule:
    """Every zip follows the one rule."""

    def __init__(self, daq: Daq) -> None:
        self._rule = Rule(match=MATCH, source=daq.zips, destination=daq.tape, archive_timeout=daq.archive_timeout)
        self._tape = daq.tape

    def lfn(self, pair: Pair) -> str:
        """The zip's name."""
        return pair.destination.removeprefix(self._tape)

    def match_of(self, pair: Pair) -> str | None:
        """None for what does not go to the tape."""
        return MATCH if pair.destination.startswith(self._tape + "/") else None

    def by_match(self, match: str | None) -> Rule | None:
        """The rule."""
        return self._rule if match == MATCH else None

    def all(self) -> list[Rule]:
        """The rule."""
        return [self._rule]


def road(this: Pass, home: Home) -> Road:
    """The road of this HOME's zips."""
    daq = this.settings.daq
    return Road(
        home=home.id,
        folders=home.folders,
        states=STATES,
        rules=OneRule(daq),
        max_open_jobs=this.settings.daq.max_jobs,
        check_source=True,
        patience=Patience(daq.retry_seconds, daq.max_attempts),
        retry="daq-archive --retry",
        abandon="daq-archive --abandon",
    )
