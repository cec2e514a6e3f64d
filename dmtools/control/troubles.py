"""The sections of docs/troubles.md by their titles: what the tools say of a trouble leads to the page that helps."""

from __future__ import annotations

SERVER_AWAY = "A server is away"
CREDENTIALS = "The proxy is expired"
DISK_FULL = "The disk is full"
LOCKED = "The database is locked"
MISSING = "Files are missing at the source"
STUCK = "A copy stands still"
HALTED = "A halt is forgotten"
HANGS = "A lock is left, or a pass hangs"
DEAD_HOST = "A host died in the middle of its work"
KILLED = "A pass was killed"
LATE = "A component is late"
CLOCK = "A clock was set back"
BAD = "Files are Bad"
DAQ_NO_DISK = "The DAQ has no free disk"
DAQ_KEPT = "A disk is not handed back"
DAQ_DISK_AWAY = "A DAQ disk is away or hangs"
DAQ_JOBS = "Zip jobs are held or lost"
DAQ_REFUSED = "A zip job is refused"
DAQ_UNPROVED = "A zip is not proved on tape"
DAQ_BAD = "Files of a DAQ disk are Bad"
LTA_REMOTE = "The remote archive is silent or in Error"
LTA_LOCAL = "The source site is silent or in Error"
LTA_QUARANTINED = "A bundle is quarantined"
LTA_PROBLEM = "A bundle is PushProblem or NERSCProblem"
LTA_WAITS = "Bundles wait for a person"
LTA_ROOM = "A buffer of the archive is full"
LTA_LOAD = "No disk is left to dump"
LTA_DISK = "An arriving disk or its slot is bad"
LTA_DIRECTORY = "A full directory has a problem"
LTA_AUDIT = "The tape has other bytes"
DQM_STALE = "A mirrored page is Stale"
DQM_DOWN = "A mirrored page is Down"
DQM_BROKEN = "A mirrored page is not understood"
DQM_TREE = "The mirror's directories grow"
DATALOGGER_LATE = "Windows are not had in time"
DATALOGGER_LOST = "Windows were lost"
DATALOGGER_WAITS = "A finished file does not go out"

OF_FIGURES = {
    "server_away": SERVER_AWAY,
    "servers_away": SERVER_AWAY,
    "credentials": CREDENTIALS,
    "credentials_refused": CREDENTIALS,
    "proxy_life": CREDENTIALS,
    "renewal": CREDENTIALS,
    "free_space": DISK_FULL,
    "free_inodes": DISK_FULL,
    "database_lag": LOCKED,
    "bad": BAD,
    "stuck": STUCK,
    "hold_age": HALTED,
    "hold_past": HALTED,
    "leases_overdue": DEAD_HOST,
    "last_success_age": LATE,
    "errors_in_row": LATE,
    "oldest_age": LATE,
}


def page(title: str) -> str:
    """Where to read on."""
    return f"docs/troubles.md, {title}"
