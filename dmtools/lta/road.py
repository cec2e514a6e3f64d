"""lta's ways through the transfer engine: out, from here to the remote buffer; and back, from the remote export to here."""

from __future__ import annotations

from dmtools.control.passes import Pass
from dmtools.ledger.journal import State, States
from dmtools.lta.home import Home
from dmtools.settings import Lta, Rule
from dmtools.spool.listfile import Pair
from dmtools.transfers.road import Road
from dmtools.transfers.verdict import Patience

OUT, BACK = "/out", "/back"
MISSING, OKAY, BAD = "Missing", "Okay", "Bad"
MOST_JOBS = 200  # of both ways; how many go out at once is [lta] max_pushes
# The engine's own states of a copy; what people follow are the states of the bundle.
STATES = States(
    pipeline="lta",
    kind="lta-copy",
    counted=False,
    states=(
        State("TODO", "its list waits for a server", "lta-bundle-scanner", ("DOING", OKAY, BAD, MISSING)),
        State("DOING", "in a job at an FTS server", "lta-bundle-scanner", (OKAY, BAD, "TODO")),
        State(OKAY, "at its destination, proved equal", "lta-bundle-scanner", (BAD,)),
        State(BAD, "this attempt failed, or it is wanted anew", "lta-bundle-scanner", ("TODO",)),
        State(MISSING, "the source was not there any more", "lta-bundle-scanner", ("TODO",)),
    ),
)


class Ways:
    """The two rules: a pair goes out when its destination is in the buffer, and back when its source is in the export."""

    def __init__(self, lta: Lta) -> None:
        out = Rule(match=OUT, source=lta.outbound_url, destination=lta.buffer)
        self._rules = {OUT: out, BACK: Rule(match=BACK, source=lta.export, destination=lta.outbound_url)}
        self._lta = lta

    def lfn(self, pair: Pair) -> str:
        """The bundle's ideal name."""
        if self.match_of(pair) == OUT:
            return pair.destination.removeprefix(self._lta.buffer)
        return pair.source.removeprefix(self._lta.export)

    def match_of(self, pair: Pair) -> str | None:
        """Which way it goes; None: neither."""
        if pair.destination.startswith(self._lta.buffer + "/"):
            return OUT
        return BACK if pair.source.startswith(self._lta.export + "/") else None

    def by_match(self, match: str | None) -> Rule | None:
        """The rule of a way."""
        return self._rules.get(match or "")

    def all(self) -> list[Rule]:
        """Both."""
        return list(self._rules.values())


def road(this: Pass, home: Home) -> Road:
    """The road of this HOME's bundles.

    One attempt a list: the bundle's own state counts the attempts. Sources are not read again: their sums are known.
    """
    lta = this.settings.lta
    return Road(
        home=home.id,
        folders=home.folders,
        states=STATES,
        rules=Ways(lta),
        patience=Patience(lta.retry_seconds, 1),
        max_open_jobs=MOST_JOBS,
        check_source=False,
        retry="",
        abandon="lta-bundle-scanner --abandon",
    )
