"""The states of datalogger's windows and files: what each means, who writes it, what may come next."""

from dmtools.ledger.journal import State, States

OWED, ASKED, INCOMPLETE, ERROR = "owed", "asked", "incomplete", "error"
DONE, EMPTY, LOST = "done", "empty", "lost"
OPEN = (OWED, ASKED, INCOMPLETE, ERROR)

STATES = States(
    pipeline="datalogger",
    kind="datalogger-window",
    states=(
        State(OWED, "to be asked for; nothing of it is known", "datalogger-params", (ASKED, LOST)),
        State(
            ASKED,
            "a pass asks for it, or was killed while it did",
            "datalogger-params",
            (DONE, EMPTY, INCOMPLETE, ERROR, OWED, LOST),
        ),
        State(INCOMPLETE, "some of it is here; the rest is asked for again", "datalogger-params", (ASKED, LOST)),
        State(ERROR, "the logger gave no sample of it, and said why or nothing", "datalogger-params", (ASKED, LOST)),
        State(DONE, "all that the logger has of it is here", "datalogger-params", (OWED,)),
        State(EMPTY, "the logger said for all of it that there are no values", "datalogger-params", (OWED,)),
        State(LOST, "the logger has forgotten what was not had of it; what was had is here", "datalogger-params", (OWED,)),
    ),
)

DRAFT, PUBLISHED = "draft", "published"
FILE_STATES = States(
    pipeline="datalogger",
    kind="datalogger-file",
    counted=False,
    states=(
        State(DRAFT, "its windows are chosen; it is made, or waits to be copied out", "datalogger-params", (PUBLISHED,)),
        State(PUBLISHED, "it stands in its place, and is never changed again", "datalogger-params"),
    ),
)

# Of a file at a catalogue.
UNDECLARED, BEGUN, HALF, DECLARED, DIFFERS = "undeclared", "begun", "half", "declared", "differs"
DECLARATION_STATES = States(
    pipeline="datalogger",
    kind="datalogger-declaration",
    counted=False,
    states=(
        State(UNDECLARED, "nothing of it is known to be there", "datalogger-declare", (BEGUN, DECLARED, DIFFERS)),
        State(
            BEGUN,
            "a pass declares it, or was killed while it did: what is there is looked up",
            "datalogger-declare",
            (UNDECLARED, HALF, DECLARED, DIFFERS),
        ),
        State(HALF, "a part of it is there; the rest follows", "datalogger-declare", (BEGUN, DECLARED, DIFFERS)),
        State(DECLARED, "the catalogue said that all of it is there", "datalogger-declare", (BEGUN, DIFFERS)),
        State(
            DIFFERS,
            "the catalogue has another file under the name; it is not touched",
            "datalogger-declare",
            (BEGUN, DECLARED),
        ),
    ),
)
