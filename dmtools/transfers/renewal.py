"""[credentials] renew: a command that renews the proxy, run by a pass when its life gets short; at most one at a time.

How it went stands in HOME/run/renewal.json, for the next pass and for dm-train-ok; what it said in HOME/log.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from dmtools import clock, durable
from dmtools.command.log import LogFile
from dmtools.command.report import one_line
from dmtools.settings import Settings

SECONDS = 120.0  # a command that takes longer is ended
AGAIN = {True: timedelta(hours=1), False: timedelta(minutes=10)}  # after one that worked, and one that failed
MOST_SAID = 500


@dataclass(frozen=True)
class Renewal:
    """The last one: when, whether it worked, and what it said."""

    at: datetime
    worked: bool
    said: str


def last(settings: Settings) -> Renewal | None:
    """The last renewal of this HOME; None: there was none, or it can't be told."""
    try:
        found = json.loads(_path(settings).read_text("utf-8"))
        return Renewal(datetime.fromisoformat(found["at"]), bool(found["worked"]), str(found["said"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def try_it(settings: Settings, proxy: Path) -> None:
    """Runs the command, unless another process does, or it was tried a short while ago. Never raises: the proxy is judged next.

    $X509_USER_PROXY names the proxy's file to it; it gets no terminal. A dry run's settings have no such command.
    """
    if not settings.credentials.renew:
        return
    with _alone(settings) as mine:
        before = last(settings) if mine else None
        if mine and (before is None or not timedelta() <= clock.now() - before.at < AGAIN[before.worked]):
            _run(settings, proxy)


def _run(settings: Settings, proxy: Path) -> None:
    from dmtools.storage import deadline

    argv = settings.credentials.renew
    env = {**os.environ, "X509_USER_PROXY": str(proxy)}
    try:
        done = deadline.run(argv, SECONDS, env)
    except OSError as problem:
        _book(settings, argv[0], worked=False, said=f"{argv[0]} can't be run: {problem.strerror}")
        return
    said = b"\n".join(part for part in (done.out, done.err) if part).decode("utf-8", "replace").strip()
    if done.timed_out:
        said = f"it did not end within {SECONDS:g} s; {said}"
    elif done.code:
        said = f"exit code {done.code}: {said or 'it said nothing'}"
    _book(settings, argv[0], worked=not done.timed_out and done.code == 0, said=said)


def _book(settings: Settings, name: str, *, worked: bool, said: str) -> None:
    log = LogFile(settings.home / "log", "credentials-renew", settings.log)
    log.write(f"{name} {'worked' if worked else 'failed'}")
    log.write_block(said)
    log.close()
    record = {"at": clock.iso(clock.now()), "worked": worked, "said": one_line(" ".join(said.split()))[:MOST_SAID]}
    try:
        durable.write_file(_path(settings), (json.dumps(record) + "\n").encode())
    except OSError:
        return  # a full disk: it is tried again sooner, no more


def _path(settings: Settings) -> Path:
    return settings.home / "run" / "renewal.json"


@contextmanager
def _alone(settings: Settings) -> Iterator[bool]:
    """Is nobody else renewing? Who comes second goes on with the proxy as it is."""
    try:
        handle = os.open(settings.home / "run" / "renewal.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)
