"""The states of dqm's pages: what each means, who writes it. A page may go from each to each."""

from dmtools.dqm.freshness import BROKEN, DOWN, FRESH, STALE
from dmtools.ledger.journal import State, States

__all__ = ["BROKEN", "DOWN", "FRESH", "STALE", "STATES"]

STATES = States(
    pipeline="dqm",
    kind="dqm-page",
    states=(
        State(FRESH, "got lately and understood, its link to its source open", "dqm-parser", (STALE, DOWN, BROKEN)),
        State(STALE, "what is shown is old: the grab, its link, or its running jobs", "dqm-parser", (FRESH, DOWN, BROKEN)),
        State(DOWN, "can't be had, or nothing is heard of it any more", "dqm-parser", (FRESH, STALE, BROKEN)),
        State(BROKEN, "got, and not understood: what was shown before stays", "dqm-parser", (FRESH, STALE, DOWN)),
    ),
)
