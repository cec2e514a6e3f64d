"""One pass of the remote site: how it is, what ended, what begins, what may go from the buffer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from dmtools.batch import BatchAway
from dmtools.command.run import Context, Refused, Unavailable
from dmtools.lta.remote import health, settings, words
from dmtools.lta.remote.health import Health
from dmtools.lta.remote.jobfile import Outcome
from dmtools.lta.remote.jobs import Jobs, Stand
from dmtools.lta.remote.server import COMPONENT, Server, Thing
from dmtools.lta.remote.settings import Remote
from dmtools.lta.remote.tape import Tape, tape_of
from dmtools.spool.folders import home_id

KEEP_SECONDS = 3600  # a claim behind which a job runs is kept at least so long


@dataclass
class Site:
    """What a pass has at hand."""

    context: Context
    settings: Remote
    tape: Tape
    jobs: Jobs
    server: Server
    health: Health
    word: str = "run"
    open: dict[str, Thing] = field(default_factory=dict)  # what has a job of ours, by the job's key

    @property
    def dry_run(self) -> bool:
        """Nothing is changed."""
        return self.context.dry_run

    def moved(self, before: str, after: str) -> None:
        """Counts a step."""
        self.context.report.moved(before, after)

    def problem(self, what: str, subject: str, *, why: str, left: str, next: str, failed: bool = False) -> None:
        """Tells trouble; `failed`: an item of this pass failed."""
        self.context.problem(what, subject, why=why, left=left, next=next, failed=failed)

    @property
    def free_jobs(self) -> int:
        """How many more jobs may be open."""
        return max(0, self.settings.tape_jobs - len(self.open))


def run(context: Context) -> None:
    """One pass. Raises Unavailable when the server is away, Refused for wrong settings or tokens."""
    found = settings.read(context.config, context.home_option)
    if not context.dry_run:
        for name in ("log", "run"):  # a HOME that nobody has made by dm-config init
            (found.home / name).mkdir(exist_ok=True, mode=0o750)
    context._settings = cast("Any", found)  # for the log
    number = _home_id(found, context.dry_run)
    server = Server(found, f"{COMPONENT}/{number[:12]}@{os.uname().nodename}")
    tape = tape_of(found)
    own, where = words.own(found)
    site = Site(context, found, tape, Jobs(found, number), server, health.look(found, tape))
    site.word = words.strongest(server.word(), own)
    if context.dry_run:
        _plan(site)
        return
    if own != "run" and own == site.word:
        context.log(f"{own}: by {where}")
    _work(site)


def _home_id(found: Remote, dry_run: bool) -> str:
    if dry_run and not (found.home / "run/home-id").exists():
        return "new"
    return home_id(found.home)


def _work(site: Site) -> None:
    from dmtools.lta.remote import buffer, bundles, errands

    queue = sum(1 for place in site.jobs.place.glob("lta-*")) if site.jobs.place.is_dir() else 0
    _tell(site, queue)
    if site.word == "halt":
        site.context.report.state = "halted"
        return
    away: BatchAway | None = None
    try:
        bundles.follow(site)
        errands.follow(site)
        if site.word == "run" and site.health.tape is None:
            errands.begin(site, "RetrieveRequest")
            bundles.begin(site)
            errands.begin(site, "FixityRequest")
        site.jobs.sweep(site.open)
    except BatchAway as problem:
        away = problem
    buffer.clean(site)
    errands.clean(site)
    _end(site, away)


def _tell(site: Site, queue: int) -> None:
    """The heartbeat, and what is wrong here."""
    found, error = site.health, site.health.error
    told = {"state": "Error" if error else "Run", "error": error and error[:1900], "free": found.free, "quota": found.quota}
    site.server.heartbeat({**told, "queue": queue, "host": os.uname().nodename})
    if error:
        left = "nothing new begins with it; the source is told Error until that is mended"
        site.problem("site in trouble", site.settings.destination, why=error, left=left, next="mend it; it clears by itself")


def _end(site: Site, away: BatchAway | None) -> None:
    report = site.context.report
    if away is not None:
        left = "its jobs stay as they are; no other one is submitted"
        trouble = Unavailable("batch system away", site.settings.batch, str(away), "the next pass asks again", left=left)
        if not report.counts:
            raise trouble
        site.problem(trouble.what, trouble.subject, why=trouble.why, left=left, next=trouble.next_step)
    if site.word == "drain":
        report.state = "draining"
    elif site.health.error and not report.counts and not report.some_failed():
        report.state = "unavailable"


def _plan(site: Site) -> None:
    from dmtools.lta.remote.bundles import WAITING

    plan = site.context.plan
    plan(f"word: {site.word}; {site.settings.destination}: {site.health.error or 'tape and buffer are well'}")
    waiting, running = list(site.server.bundles(*WAITING)), list(site.server.bundles("NERSCRunning", "NERSCDone"))
    asked = list(site.server.errands("RetrieveRequest", "FixityRequest"))
    plan(f"would look at {len(running)} bundles that are going to tape and book what ended")
    if site.word == "run" and site.health.tape is None:
        most = site.settings.tape_jobs
        plan(f"would begin tape jobs for {len(waiting)} bundles and {len(asked)} errands, at most {most} at a time")
    proved = {"NERSCClean", "LocalDeleted", "LocalFilesDeleted"}
    from dmtools.lta.remote.buffer import ideal_of

    names = {ideal_of(path): path for path in site.health.lying}
    gone = [one for one in site.server.known(list(names)) if one["state"] in proved] if names else []
    plan(f"would remove {len(gone)} files from the buffer that are proved on tape")


def mine(site: Site, what: str, things: list[Thing]) -> list[Thing]:
    """Those that this HOME follows: claimed by it, or free by now and taken over.

    What another HOME left behind and this one has no job of is not followed: its caller puts it back.
    """
    prefix = site.server.holder.partition("@")[0] + "@"
    ours = [one for one in things if (one["holder"] or "").startswith(prefix)]
    others = [one["id"] for one in things if not (one["holder"] or "").startswith(prefix)]
    for first in range(0, len(others), 1000):
        ids = others[first : first + 1000]
        states = sorted({one["state"] for one in things if one["id"] in set(ids)})
        ours += site.server.claim(what, states, min(1000, len(ids)), ids)
    return ours


def begin_all(site: Site, what: str, states: Sequence[str], begin: Callable[[Site, Thing], Thing | None]) -> None:
    """Claims, books each with its job, and gives the jobs to the batch system; what was not begun is handed back."""
    claimed = site.server.claim(what, states, min(1000, site.free_jobs))
    back = {one["id"]: one for one in claimed}

    def hand_back() -> None:
        with contextlib.suppress(Unavailable, Refused):  # they end by themselves
            site.server.release(what, list(back.values()))

    site.context.closers.append(hand_back)
    begun = {}
    for one in claimed:
        if (done := begin(site, one)) is not None:
            begun[done["job"]] = done
        del back[one["id"]]
    site.open |= begun
    for key, status in (site.jobs.submit(list(begun)) if begun else {}).items():
        if status.how == "held" and not status.id:
            step = f"look at {site.settings.batch} and batch_options"
            site.problem("job refused", key, why=status.reason, left="it stays booked, and is offered again", next=step)


def keep(site: Site, what: str, things: list[Thing]) -> None:
    """Their jobs go on, so their claims do."""
    if things:
        site.server.extend(what, things, min(86400, max(KEEP_SECONDS, site.settings.lease_seconds)))


def settle(
    site: Site, what: str, ours: dict[str, Thing], shown: Callable[[Thing], str], book: Callable[[Thing, Outcome], None]
) -> None:
    """What became of the jobs of these: what ended is booked, what goes on keeps its claim. Raises BatchAway."""
    site.open |= ours
    stands = site.jobs.stands(list(ours))
    keep(site, what, [one for key, one in ours.items() if stands[key].is_open])
    for key, one in ours.items():
        if stands[key].is_open:
            tell_waiting(site, shown(one), stands[key])
            continue
        if (outcome := stands[key].outcome) is not None:
            book(one, outcome)
        site.jobs.forget([key])
        del site.open[key]


def tell_waiting(site: Site, name: str, stand: Stand) -> None:
    """A job that is held, or whose result can't be read, is told."""
    if stand.unread:
        site.problem("result unread", name, why=stand.unread, left="it stays as it is", next="the next pass reads it again")
    elif stand.is_held and stand.status is not None:
        left = "it waits; after an hour its job is ended and it is tried again"
        site.problem("job held", name, why=stand.status.reason, left=left, next=f"look at {site.settings.batch}")


def place_of(root: str, ideal: str) -> Path:
    """Where a bundle of this name lies below a directory here. Raises names.NameRefused."""
    from dmtools.lta.remote.tape import path_on_tape

    return Path(path_on_tape(root, ideal))
