"""The states of lta's things: what each means, who writes it, what may come next, and at which site."""

from dmtools.ledger.journal import State, States

UNTOUCHED, JSON_MADE, PUSH_PROBLEM, PUSH_DONE = "Untouched", "JsonMade", "PushProblem", "PushDone"
NERSC_RUNNING, NERSC_DONE, NERSC_PROBLEM, NERSC_CLEAN = "NERSCRunning", "NERSCDone", "NERSCProblem", "NERSCClean"
LOCAL_DELETED, LOCAL_FILES_DELETED = "LocalDeleted", "LocalFilesDeleted"
ABORT, RETRY, QUARANTINED = "Abort", "Retry", "Quarantined"
_OUT = (QUARANTINED, ABORT)

STATES = States(
    pipeline="lta",
    kind="lta-bundle",
    states=(
        State(UNTOUCHED, "found, with size and checksums; nothing was sent", "lta-bundle-scanner", (JSON_MADE, *_OUT)),
        State(
            JSON_MADE,
            "room at the remote buffer is reserved; FTS carries it there",
            "lta-bundle-scanner",
            (PUSH_DONE, PUSH_PROBLEM, *_OUT),
        ),
        State(PUSH_PROBLEM, "FTS gave it up; tried again by itself", "lta-bundle-scanner", (JSON_MADE, RETRY, *_OUT)),
        State(
            PUSH_DONE,
            "proved in the remote buffer by size and checksum",
            "lta-bundle-scanner",
            (NERSC_RUNNING, NERSC_PROBLEM, RETRY, *_OUT),
        ),
        State(
            NERSC_RUNNING,
            "a tape job of the remote site has it",
            "lta-nersc-client",
            (NERSC_DONE, NERSC_PROBLEM, PUSH_DONE, *_OUT),
        ),
        State(
            NERSC_DONE,
            "on tape, proved by size and checksum read back; still in the remote buffer",
            "lta-nersc-client",
            (NERSC_CLEAN, NERSC_PROBLEM, *_OUT),
        ),
        State(
            NERSC_PROBLEM,
            "the remote site failed with it; tried again by itself",
            "lta-nersc-client",
            (PUSH_DONE, NERSC_RUNNING, RETRY, *_OUT),
        ),
        State(
            NERSC_CLEAN, "proved on tape, gone from the remote buffer", "lta-nersc-client", (LOCAL_DELETED, QUARANTINED)
        ),
        State(
            LOCAL_DELETED,
            "its zip is deleted here",
            "lta-manual-bundle",  # lta-bundle-scanner, too, when [lta] free_local says so
            (LOCAL_FILES_DELETED, QUARANTINED),
        ),
        State(LOCAL_FILES_DELETED, "its source files are deleted here: the end", "lta-manual-files", (QUARANTINED,)),
        State(ABORT, "given up by a person: the name may come again", "a person"),
        State(RETRY, "a person wants it sent anew", "a person", (UNTOUCHED, *_OUT)),
        State(
            QUARANTINED,
            "needs a person; its reason and the state it came from are told",
            "any of them",
            (
                UNTOUCHED, JSON_MADE, PUSH_PROBLEM, PUSH_DONE, NERSC_RUNNING, NERSC_DONE, NERSC_PROBLEM, NERSC_CLEAN,
                LOCAL_DELETED, LOCAL_FILES_DELETED, RETRY, ABORT,
            ),
        ),
    ),
)  # fmt: skip
DEAD = (ABORT,)  # another bundle may have its name
PROVED = (NERSC_CLEAN, LOCAL_DELETED, LOCAL_FILES_DELETED)  # its copy on tape counts as one

# What the remote site's worker may write; all else belongs to the workers here, and what a PERSON may to operators alone.
REMOTE = frozenset(
    {
        (PUSH_DONE, NERSC_RUNNING), (PUSH_DONE, NERSC_PROBLEM),
        (NERSC_RUNNING, NERSC_DONE), (NERSC_RUNNING, NERSC_PROBLEM), (NERSC_RUNNING, PUSH_DONE),
        (NERSC_DONE, NERSC_CLEAN), (NERSC_DONE, NERSC_PROBLEM),
        (NERSC_PROBLEM, PUSH_DONE), (NERSC_PROBLEM, NERSC_RUNNING),
    }
)  # fmt: skip


def is_a_persons(before: str, after: str) -> bool:
    """Only an operator may: give up, ask for another try, take out of quarantine."""
    return before == QUARANTINED or after in (ABORT, RETRY)


NEW, INVENTORIED, DUMPING, DONE, REMOVED, ERROR = "New", "Inventoried", "Dumping", "Done", "Removed", "Error"
DISK_STATES = States(
    pipeline="lta",
    kind="lta-disk",
    counted=False,
    states=(
        State(NEW, "announced; not seen in a slot yet", "a person", (INVENTORIED, REMOVED)),
        State(INVENTORIED, "in a slot, to be dumped", "lta-dump-control", (DUMPING, ERROR, REMOVED)),
        State(DUMPING, "its trees are copied and proved", "lta-dump-control", (DONE, ERROR, INVENTORIED, REMOVED)),
        State(DONE, "all that was wanted is proved in the warehouse", "lta-dump-control", (REMOVED, INVENTORIED, ERROR)),
        State(REMOVED, "no longer in a slot", "lta-dump-control", (INVENTORIED, DONE)),
        State(ERROR, "set aside; its reason is told, the others go on", "lta-dump-control", (INVENTORIED, REMOVED)),
    ),
)

UNCLAIMED, PROCESSING, LTA_REQUEST, FILES_DELETED = "unclaimed", "processing", "LTArequest", "filesdeleted"
PROBLEM, DEPRECATED, NEVER_DELETE = "problem", "deprecated", "neverdelete"
DIRECTORY_STATES = States(
    pipeline="lta",
    kind="lta-directory",
    counted=False,
    states=(
        State(UNCLAIMED, "full: has all the files that are expected", "lta-glue", (PROCESSING, PROBLEM, DEPRECATED)),
        State(PROCESSING, "its bundles are planned and made", "lta-glue", (LTA_REQUEST, UNCLAIMED, PROBLEM)),
        State(LTA_REQUEST, "its bundles are made", "lta-glue", (FILES_DELETED, NEVER_DELETE, DEPRECATED, PROBLEM)),
        State(FILES_DELETED, "its files are deleted here: the end", "lta-manual-files"),
        State(PROBLEM, "needs a person; its reason is told", "lta-glue", (UNCLAIMED, DEPRECATED)),
        State(DEPRECATED, "given up by a person", "a person", (UNCLAIMED,)),
        State(NEVER_DELETE, "bundled; its files stay", "a person", (LTA_REQUEST,)),
    ),
)

RETRIEVE_REQUEST, RETRIEVE_PENDING, EXPORT_READY = "RetrieveRequest", "RetrievePending", "ExportReady"
DOWNLOADING, DOWNLOAD_DONE, REMOTE_CLEANED = "Downloading", "DownloadDone", "RemoteCleaned"
RETRIEVE_PROBLEM = "RetrieveProblem"
FIXITY_REQUEST, FIXITY_RUNNING, FIXITY_DONE, FIXITY_PROBLEM = "FixityRequest", "FixityRunning", "FixityDone", "FixityProblem"
ERRAND_STATES = States(
    pipeline="lta",
    kind="lta-errand",
    counted=False,
    states=(
        State(RETRIEVE_REQUEST, "a bundle is wanted back", "lta-restore", (RETRIEVE_PENDING, DOWNLOAD_DONE, RETRIEVE_PROBLEM)),
        State(
            RETRIEVE_PENDING,
            "the remote site reads it from tape",
            "lta-nersc-client",
            (EXPORT_READY, RETRIEVE_REQUEST, RETRIEVE_PROBLEM),
        ),
        State(EXPORT_READY, "proved in the export directory", "lta-nersc-client", (DOWNLOADING, RETRIEVE_PROBLEM)),
        State(DOWNLOADING, "FTS carries it here", "lta-restore", (DOWNLOAD_DONE, EXPORT_READY, RETRIEVE_PROBLEM)),
        State(DOWNLOAD_DONE, "proved here", "lta-restore", (REMOTE_CLEANED,)),
        State(REMOTE_CLEANED, "gone from the export directory: the end", "lta-nersc-client"),
        State(RETRIEVE_PROBLEM, "needs a person; its reason is told", "lta-nersc-client", (RETRIEVE_REQUEST,)),
        State(FIXITY_REQUEST, "to be read again from tape", "lta-audit", (FIXITY_RUNNING, FIXITY_PROBLEM)),
        State(FIXITY_RUNNING, "the remote site reads it", "lta-nersc-client", (FIXITY_DONE, FIXITY_REQUEST, FIXITY_PROBLEM)),
        State(FIXITY_DONE, "the tape has just these bytes: the end", "lta-nersc-client"),
        State(FIXITY_PROBLEM, "it differs or can't be read; its reason is told", "lta-nersc-client", (FIXITY_REQUEST,)),
    ),
)
ERRANDS_REMOTE = frozenset(
    {
        (RETRIEVE_REQUEST, RETRIEVE_PENDING), (RETRIEVE_PENDING, EXPORT_READY), (RETRIEVE_PENDING, RETRIEVE_REQUEST),
        (RETRIEVE_PENDING, RETRIEVE_PROBLEM), (RETRIEVE_REQUEST, RETRIEVE_PROBLEM), (DOWNLOAD_DONE, REMOTE_CLEANED),
        (FIXITY_REQUEST, FIXITY_RUNNING), (FIXITY_REQUEST, FIXITY_PROBLEM), (FIXITY_RUNNING, FIXITY_DONE),
        (FIXITY_RUNNING, FIXITY_REQUEST), (FIXITY_RUNNING, FIXITY_PROBLEM),
    }
)  # fmt: skip
