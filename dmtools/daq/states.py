"""The states of daq's files and zips: what each means, who writes it, what may come next."""

from dmtools.ledger.journal import State, States

FOUND, COPIED, AT_SITE, ZIPPING, ZIPPED = "Found", "Copied", "AtSite", "Zipping", "Zipped"
TO_TAPE, ON_TAPE, FREED, BAD, SKIPPED = "ToTape", "OnTape", "Freed", "Bad", "Skipped"
REFUSED = "refused"  # the error class of an open attempt whose job the batch system doesn't take

STATES = States(
    pipeline="daq",
    kind="daq-file",
    states=(
        State(FOUND, "on a flagged disk, to be copied", "daq-transfer", (COPIED, AT_SITE, SKIPPED, FREED, BAD)),
        State(COPIED, "copied to the site, not yet proved there", "daq-transfer", (AT_SITE, FOUND, BAD)),
        State(AT_SITE, "proved at the site by size and checksum", "daq-transfer", (ZIPPING, FOUND, BAD)),
        State(ZIPPING, "a batch job zips it", "daq-archive", (ZIPPED, AT_SITE, BAD)),
        State(ZIPPED, "its zip is tested, uploaded and proved", "daq-archive", (TO_TAPE, AT_SITE, BAD)),
        State(TO_TAPE, "FTS moves its zip to tape, or its residency is not proved yet", "daq-archive", (ON_TAPE, AT_SITE, BAD)),
        State(ON_TAPE, "proved on tape", "daq-archive", (FREED, BAD)),
        State(FREED, "proved on tape, and gone from its disk: the end", "daq-transfer", (BAD,)),  # daq-audit: it is lost
        State(BAD, "needs a person; its reason is told", "daq-transfer", (FOUND, AT_SITE, ZIPPED, ON_TAPE, FREED)),
        State(SKIPPED, "no data file, or one that can't be taken: it keeps its disk", "daq-transfer", (FOUND, FREED, BAD)),
    ),
)

WAITING, CLEANED = "Waiting", "Cleaned"
ZIP_STATES = States(
    pipeline="daq",
    kind="daq-zip",
    counted=False,
    states=(
        State(WAITING, "its files are chosen; no job is open", "daq-archive", (ZIPPING, BAD)),
        State(
            ZIPPING, "an attempt is open: its key is written, the job perhaps submitted", "daq-archive", (ZIPPED, WAITING, BAD)
        ),
        State(ZIPPED, "tested, uploaded and proved", "daq-archive", (TO_TAPE, WAITING, BAD)),
        State(TO_TAPE, "a list of the transfer engine has it", "daq-archive", (ON_TAPE, WAITING, BAD)),
        State(ON_TAPE, "proved on tape; the zip at the site is still there", "daq-archive", (CLEANED, BAD)),
        State(CLEANED, "proved on tape, and the zip at the site is gone: the end", "daq-archive", (BAD,)),
        State(BAD, "needs a person; its reason is told", "daq-archive", (WAITING, ZIPPED, ON_TAPE, CLEANED)),
    ),
)

FILLING, EMPTYING, RETURNING, FREE = "Filling", "Emptying", "Returning", "Free"
DISK_STATES = States(
    pipeline="daq",
    kind="daq-disk",
    counted=False,
    states=(
        State(FILLING, "no flag: the DAQ writes, or may", "daq-transfer", (EMPTYING,)),
        State(EMPTYING, "ReadyToTransfer was seen; its files are copied and freed", "daq-transfer", (RETURNING,)),
        State(RETURNING, "empty: ReadyToTransfer goes, then ReadyForData comes", "daq-transfer", (FREE, EMPTYING)),
        State(FREE, "handed back with ReadyForData; the DAQ has not filled it yet", "daq-transfer", (FILLING, EMPTYING)),
    ),
)
