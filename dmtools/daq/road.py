"""daq's way through the transfer engine: one rule, from where zips wait to the tape."""

from __future__ import annotations

from dmtools.control.passes import Pass
from dmtools.daq.home import Home
from dmtools.ledger.journal import State, States
from dmtools.settings import Rule
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


def road(this: Pass, home: Home) -> Road:
    """The road of this HOME's zips."""
    daq = this.settings.daq
    rule = Rule(match=MATCH, source=daq.zips, destination=daq.tape, archive_timeout=daq.archive_timeout)

    def lfn_of(pair: Pair) -> str:
        return pair.destination.removeprefix(daq.tape)

    return Road(
        pipeline="daq",
        home=home.id,
        folders=home.folders,
        states=STATES,
        rule_of=lambda match: rule if match == MATCH else None,
        match_of=lambda pair: MATCH if pair.destination.startswith(daq.tape + "/") else None,
        lfn_of=lfn_of,
        max_open_jobs=this.settings.daq.max_jobs,
        check_source=True,
        patience=Patience(daq.retry_seconds, daq.max_attempts),
    )
