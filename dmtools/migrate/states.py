"""The states of migrate's files: what each means, who writes it, what may come next."""

from dmtools.ledger.journal import State, States

LISTED, TODO, DOING, OKAY, BAD, MISSING = "Listed", "TODO", "DOING", "Okay", "Bad", "Missing"

STATES = States(
    pipeline="migrate",
    kind="file",
    states=(
        State(LISTED, "in a master list, not yet cut (counted, without a row)", "migrate-producer", (TODO, BAD)),
        State(TODO, "in a list file that waits for a server", "migrate-producer", (DOING, OKAY, BAD, MISSING)),
        State(DOING, "in a job at an FTS server", "migrate-consumer", (OKAY, BAD, TODO)),
        State(OKAY, "at the destination, proved equal to the source", "migrate-monitor", (BAD,)),  # dm-check: it is lost
        State(BAD, "needs a person: the reason is in DONE/Bad", "migrate-monitor", (TODO,)),
        State(MISSING, "the source was not there before the first submission", "migrate-consumer", (TODO,)),
    ),
)
