"""datalogger-supervise: starts datalogger-timeline when it is gone, ends and starts it again when it is silent; never two.

What it is about to do is booked before it is done: a supervisor that is killed in the middle has spent one of its restarts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, func, insert, select, update

from dmtools import clock
from dmtools.control import holds
from dmtools.control.passes import Pass
from dmtools.datalogger.timeline import S, resource
from dmtools.ledger import tables
from dmtools.ledger.leases import HOST, machine, started
from dmtools.ledger.types import AnyRow
from dmtools.spool import folders

L, C, R = tables.lease.c, tables.component.c, tables.datalogger_restart.c
HOUR = timedelta(hours=1)
STEP = 0.05
COMMAND = "datalogger-timeline"


@dataclass(frozen=True)
class Sight:
    """The recorder: who holds it (None: nobody), whether that is a process of this machine that lives; when it was heard last."""

    holder: AnyRow
    ours: bool
    heard: datetime | None

    def silent(self, at: datetime, seconds: float) -> bool:
        """Was nothing heard for so long, since it took the place?"""
        since = self.holder.since if self.holder is not None else None
        last = max((when for when in (self.heard, since) if when is not None), default=None)
        return last is None or (at - last).total_seconds() > seconds


def supervise(this: Pass) -> None:
    """One look, and what is to be done."""
    home = folders.id_for(this.home, dry_run=this.dry_run)
    at, limits = clock.now(), this.settings.datalogger
    with this.ledger.read() as connection:
        word = holds.in_force(holds.open_holds(connection, this.settings, at), "datalogger", "timeline")
        seen = sight(connection, home)
    if word != "run":
        this.log(f"{COMMAND} is under {word}: it is left alone")
        return
    lives = seen.holder is not None and (seen.ours or seen.holder.expires > at)
    if lives and not seen.silent(at, limits.timeline_silence_seconds):
        this.log(f"{COMMAND} (pid {seen.holder.pid} on {seen.holder.host}) records; heard {_ago(at, seen.heard)}")
        return
    if lives and not seen.ours:
        why = f"it runs on {seen.holder.host} (pid {seen.holder.pid}), and was heard {_ago(at, seen.heard)}"
        left, step = "it was not touched: from here nobody can tell whether it lives", f"look at it on {seen.holder.host}"
        this.problem("silent", COMMAND, why=why, left=left, next=step)
        return
    why = f"it {'was silent' if lives else 'does not run'}: heard {_ago(at, seen.heard)}"
    if this.dry_run:
        this.plan(f"would {f'end pid {seen.holder.pid} and ' if lives else ''}start {COMMAND}: {why}")
        return
    if not this.leases.claim([f"datalogger-supervise/{home}"]):
        this.log("another datalogger-supervise is at it")
        return
    _restart(this, home, seen if lives else None, why, at)


def sight(connection: Connection, home: str) -> Sight:
    """How the recorder of a HOME stands."""
    holder = connection.execute(select(tables.lease).where(L.resource == resource(home))).first()
    here = holder is not None and holder.machine == machine() and started(holder.pid) == holder.started
    query = select(C.last_start, C.last_end).where(C.pipeline == "datalogger", C.name == "timeline")
    if holder is not None:  # not the heartbeat of another one, which found the place taken
        query = query.where(C.pid == holder.pid)
    row = connection.execute(query).first()
    booked = connection.execute(select(func.max(S.booked)).where(S.home == home)).scalar()
    return Sight(holder, here, max((when for when in (*(row or ()), booked) if when is not None), default=None))


def restarts(connection: Connection, home: str, since: datetime) -> int:
    """How often it was started since then."""
    return int(connection.execute(select(func.count()).where(R.home == home, R.at > since)).scalar_one())


def _restart(this: Pass, home: str, running: Sight | None, why: str, at: datetime) -> None:
    limits = this.settings.datalogger
    number = this.ledger.transact(lambda c: _intend(c, home, running, why, at, limits.timeline_restarts))
    if number is None:
        many = f"{why}; it was started {limits.timeline_restarts} times within the hour ([datalogger] timeline_restarts)"
        left, step = "it is not started now; the events of supercycles are not recorded", f"find out by hand: {COMMAND} -v"
        this.problem("too many restarts", COMMAND, why=many, left=left, next=step)
        return
    ended = _end(running.holder, limits.timeline_grace_seconds) if running is not None else ""
    pid, trouble = _start(this, home) if not ended.startswith("pid") else (0, ended)
    became = "; ".join(text for text in (ended if pid else "", f"runs as pid {pid}" if pid else trouble) if text)
    this.ledger.transact(lambda c: c.execute(update(tables.datalogger_restart).where(R.id == number).values(became=became)))
    if not pid:
        left, step = "the events of supercycles are not recorded", f"find out by hand: {COMMAND} -v; the next pass tries again"
        this.problem("not started", COMMAND, why=f"{why}; {trouble}", left=left, next=step)
    elif _is_first(this, home):
        this.plan(f"{COMMAND} was started: {became}")
    else:
        left, step = "what was booked stays; what was not seen is told as a gap", "nothing, unless it comes often"
        this.problem("started again", COMMAND, why=f"{why}; {became}", left=left, next=step, failed=False)


def _intend(connection: Connection, home: str, running: Sight | None, why: str, at: datetime, most: int) -> int | None:
    """Books a restart before it is done; None when there were enough within the hour."""
    if restarts(connection, home, at - HOUR) >= most:
        return None
    row = {"home": home, "at": at, "host": HOST, "pid": running.holder.pid if running else None, "why": why}
    done = connection.execute(insert(tables.datalogger_restart).values(row))
    return int((done.inserted_primary_key or (0,))[0])


def _is_first(this: Pass, home: str) -> bool:
    with this.ledger.read() as connection:
        return int(connection.execute(select(func.count()).where(R.home == home)).scalar_one()) == 1


def _end(holder: AnyRow, grace: float) -> str:
    """Ends the process, which is surely the one of the lease: its number and start agree, and a handle on it keeps that so."""
    try:
        handle = os.pidfd_open(holder.pid)
    except OSError:
        return "it was gone by then"
    try:
        if started(holder.pid) != holder.started:
            return "it was gone by then"
        for number, told in ((signal.SIGTERM, "ended by SIGTERM"), (signal.SIGKILL, "ended by SIGKILL")):
            signal.pidfd_send_signal(handle, number)
            if _until(lambda: started(holder.pid) != holder.started, grace):
                return told
    except ProcessLookupError:
        return "it was gone by then"
    except PermissionError:
        return f"pid {holder.pid} can't be ended: it is another user's"
    finally:
        os.close(handle)
    return f"pid {holder.pid} does not end, not even by SIGKILL: it hangs in the kernel"


def _start(this: Pass, home: str) -> tuple[int, str]:
    """(pid, "") of one that records, or (0, why not). Its words go to HOME/log."""
    command = Path(sys.argv[0]).resolve().with_name(COMMAND)
    config = ["--config", str(this.context.config.resolve())] if this.context.config is not None else []
    words = this.home / "log" / f"{COMMAND}.stderr"
    with words.open("wb") as errors:
        # A session of its own: no signal to cron's reaches it, and it holds none of cron's pipes and locks.
        child = subprocess.Popen(
            [sys.executable, str(command), *config, "--home", str(this.home)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )

    def records() -> bool:
        with this.ledger.read() as connection:
            held = connection.execute(select(L.pid).where(L.resource == resource(home))).scalar()
        return held == child.pid or child.poll() is not None

    _until(records, this.settings.datalogger.timeline_start_seconds)
    if child.poll() is None:
        return child.pid, ""
    said = words.read_text("utf-8", "replace").strip().rpartition("\n")[2]
    return 0, f"it ended at once with code {child.returncode}: {said or 'it said nothing; see its log'}"


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(STEP)
    return True


def _ago(at: datetime, when: datetime | None) -> str:
    return f"{clock.age(max(0.0, (at - when).total_seconds()))} ago" if when is not None else "never"
