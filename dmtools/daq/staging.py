"""Zips that are on tape only are brought to the tape's disks, through FTS: a job whose source is its destination.

The id of such a job follows from its files and the day, so that asking again, also after a kill, finds the same job.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dmtools import clock
from dmtools.ledger.chunks import chunks
from dmtools.settings import Settings
from dmtools.storage import StorageError, client_for, scheme_of
from dmtools.transfers.status import TERMINAL, job_id

if TYPE_CHECKING:
    from dmtools.transfers.fts import FtsServer

FILES = 100  # a job
MOST_JOBS = 20  # of the same files on one day
PIN_SECONDS = 86400
ASK_SECONDS = 30.0
ON_DISK = ("ONLINE", "ONLINE_AND_NEARLINE")


@dataclass
class Staged:
    """What can be read now, what can't and why: `away` may come later, `lost` won't."""

    ready: list[str] = field(default_factory=list)
    away: dict[str, str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)

    def waiting(self, url: str, why: str) -> None:
        """It can't be read now."""
        self.away[url] = why


def bring_online(urls: Sequence[str], settings: Settings, wait: float) -> Staged:
    """Sees to it that these zips can be read; waits at most `wait` seconds for the tape."""
    found = Staged()
    asleep = [url for url in urls if not _look(url, settings, found)]
    if asleep:
        _stage(asleep, settings, time.monotonic() + wait, found)
    return found


def _look(url: str, settings: Settings, found: Staged) -> bool:
    """Whether it is known how the file stands; False: it is on tape only."""
    store = client_for(url, settings)
    if scheme_of(url) == "file" or store is None:  # a directory needs no staging; without a client the fetch says so
        found.ready.append(url)
        return True
    try:
        status = store.residency(url)
    except StorageError as problem:
        (found.lost if problem.cls == "missing" else found.away)[url] = problem.reason
        return True
    if status == "NEARLINE":
        return False
    if status in ON_DISK:
        found.ready.append(url)
    elif status == "LOST":
        found.lost[url] = "the tape says that it has lost it"
    else:
        found.waiting(url, "the tape can't say now where it is")
    return True


def _stage(urls: Sequence[str], settings: Settings, end: float, found: Staged) -> None:
    from dmtools.transfers.servers import ask

    servers = ask(settings, for_jobs=True)
    if servers.all_away():
        whys = {**servers.away, **servers.refused}
        why = "no FTS server brings it from tape now: " + "; ".join(f"{name}: {said}" for name, said in whys.items())
        for url in urls:
            found.waiting(url, why)
        return
    server = max(servers.up.values(), key=lambda one: one.weight)
    for part in chunks(list(urls), FILES):
        _stage_part(server, part, settings, end, found)


def _stage_part(server: FtsServer, urls: Sequence[str], settings: Settings, end: float, found: Staged) -> None:
    try:
        job = _job(server, urls, settings)
        states = _wait(server, job, end)
    except _NotNow as problem:
        for url in urls:
            found.waiting(url, str(problem))
        return
    for url in urls:
        state, reason = states.get(url, ("", ""))
        if state == "FINISHED":
            found.ready.append(url)
        elif state in TERMINAL:
            found.waiting(url, f"FTS could not bring it from tape: {reason or state}")
        else:
            found.waiting(url, f"it is asked of the tape (FTS job {job} at {server.name}) and not there yet")


class _NotNow(Exception):
    """The server did not take the job, or does not answer."""


def _job(server: FtsServer, urls: Sequence[str], settings: Settings) -> str:
    """The id of a job under way for these files: today's, or a new one when that has ended."""
    from dmtools.transfers.fts import Away, CredentialsRefused, SubmitRefused, Unknowable
    from dmtools.transfers.transport import Duplicate

    for number in range(MOST_JOBS):
        sid = _sid(urls, number)
        try:
            known = server.statuses([job_id(server.vo, sid)])
            if not known or not known[0].state:
                return server.submit([_file(url) for url in urls], _params(sid, settings))
        except Duplicate:  # another restore was quicker
            return job_id(server.vo, sid)
        except (Away, CredentialsRefused, SubmitRefused, Unknowable) as problem:
            raise _NotNow(f"{server.name} did not take the order to bring it from tape: {problem}") from None
        if known[0].state not in TERMINAL:
            return known[0].job
    raise _NotNow(f"it was brought from tape {MOST_JOBS} times today and left its disk again; look at the tape's disk")


def _sid(urls: Sequence[str], number: int) -> str:
    day = clock.now().date().isoformat()
    return hashlib.sha256("\n".join(["stage", day, str(number), *urls]).encode("utf-8", "surrogateescape")).hexdigest()


def _file(url: str) -> dict[str, Any]:
    return {"sources": [url], "destinations": [url]}


def _params(sid: str, settings: Settings) -> dict[str, Any]:
    return {
        "bring_online": settings.daq.archive_timeout,
        "copy_pin_lifetime": PIN_SECONDS,
        "verify_checksum": "none",
        "retry": settings.fts.retry or -1,
        "priority": settings.fts.priority,
        "id_generator": "deterministic",
        "sid": sid,
        "job_metadata": {"dmtools": "stage"},
    }


def _wait(server: FtsServer, job: str, end: float) -> dict[str, tuple[str, str]]:
    """(state, reason) of each file, when all have ended or the time is up."""
    from dmtools.transfers.fts import Away, CredentialsRefused

    pause = 0.2
    while True:
        try:
            found = server.statuses([job])
        except (Away, CredentialsRefused) as problem:
            raise _NotNow(f"{server.name} does not say whether it came from tape: {problem}") from None
        files = {f.source: (f.state, f.reason) for one in found for f in one.files}
        left = end - time.monotonic()
        if left <= 0 or (files and all(state in TERMINAL for state, _ in files.values())):
            return files
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, ASK_SECONDS)
