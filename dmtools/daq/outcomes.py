"""What was not copied: booked by its rule, and told."""

from __future__ import annotations

from datetime import timedelta

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.daq import files
from dmtools.daq.copying import Outcome
from dmtools.daq.files import File
from dmtools.daq.states import BAD, FOUND, SKIPPED
from dmtools.ledger.journal import Move
from dmtools.storage.answers import ErrorClass

AT_ONCE = ("invalid", "occupied", "unsupported")  # classes that don't get better by themselves


def book(this: Pass, one: Outcome, first: File | None) -> None:
    """By how it ended. `first`: the file that has the LFN, when this is a second one."""
    if one.how == "growing":
        growing(this, one)
    elif one.how == "gone":
        failed(this, one.file, "missing", "it is gone from its disk, and was never copied", bad=True)
    elif one.how == "same" and first is not None:
        why = f"the same bytes as {first.shown}, which has its LFN already"
        move = Move(one.file.id, FOUND, SKIPPED, why, one.file.size, values=(("reason", why),))
        files.advance(this, [move], [one.file])
    elif one.how == "other" and first is not None:
        with this.ledger.read() as connection:
            where = files.places(connection, [first, one.file])
        why = f"{where[first.id]} has its LFN already, and other bytes than {where[one.file.id]}"
        failed(this, one.file, "occupied", f"{why}; neither was touched", bad=True)
    elif one.problem is not None:
        failed(this, one.file, one.problem.cls, one.problem.reason, bad=one.problem.cls in AT_ONCE)


def growing(this: Pass, one: Outcome) -> None:
    """Somebody writes it: it waits, and is compared with what it is now."""
    until = clock.now() + timedelta(seconds=this.settings.daq.retry_seconds)
    now = {} if one.now is None else {"size": one.now.st_size, "mtime_ns": one.now.st_mtime_ns, "inode": one.now.st_ino}
    files.put_off(this, one.file, until, "still growing", **now)
    this.problem(
        "still growing",
        one.file.shown,
        why="it is being written, or changed since it was found",
        left="it stays on its disk, which is not handed back before it is copied; no attempt is counted",
        next=f"looked at again after {clock.local(until)}",
        failed=False,
    )


def failed(this: Pass, file: File, cls: ErrorClass, why: str, *, bad: bool = False) -> None:
    """A failed attempt; after the last one, or with `bad`, the file is Bad and waits for a person."""
    if files.failed(this, file, cls, why, bad=bad):
        tell_bad(this, file, cls, why)
        return
    this.problem(
        "not copied",
        file.shown,
        why=why,
        left="it stays on its disk",
        next="a later pass tries again",
    )


def tell_bad(this: Pass, file: File, cls: str, why: str) -> None:
    """A file that needs a person now."""
    name = names.shown(file.lfn)
    advice = f"put it right, then: daq-transfer --retry {cls}, or with its LFN"
    if cls == "missing":
        advice = f"put it back, then: daq-transfer --retry {cls}; if it is lost for good: daq-transfer --forget LFN"
    this.problem(BAD, name, why=why, left="it keeps its disk from being handed back", next=advice)


def not_proved_yet(this: Pass, file: File, why: str) -> None:
    """A copy of which the storage says nothing now."""
    this.problem(
        "copy not proved yet",
        file.shown,
        why=why,
        left="it stays Copied, and on its disk",
        next="the next pass asks again",
        failed=False,
    )


def tell_site(this: Pass, why: str) -> None:
    """The site storage is full, away or takes nothing."""
    this.problem(
        "site storage in trouble",
        this.settings.daq.site,
        why=why,
        left="nothing more is copied in this pass, no attempt is counted; sources stay on their disks",
        next="look at the storage; the next pass tries again",
        failed=False,
    )
