"""Runs the lines of a crontab as cron does: by sh, with few variables; some are killed by kill -9 in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dmtools.demo.crontab import Line

MARK = "DM_DEMO"  # by this variable its processes are known
LIMIT = 300.0  # seconds; no pass of the demo takes a tenth of it


@dataclass(frozen=True)
class Ran:
    """How a line's command ended. `code` is what sh would show; `said`: what cron would have mailed."""

    line: Line
    code: int
    seconds: float
    said: str
    killed: bool = False


@dataclass
class Strike:
    """One act of violence: when `sign` shows while this command runs, `act` is done, once. No `act`: the command is killed."""

    command: str
    round: int
    sign: Callable[[], bool]
    act: Callable[[], None] | None = None
    done: bool = False


def environment(home: Path, commands: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """What cron gives, the crontab's own variables, and this demo's PATH and HOME in place of the crontab's placeholders."""
    path = f"{commands}:/usr/local/bin:/usr/bin:/bin"
    mine = {"HOME": str(home), "LOGNAME": "demo", "SHELL": "/bin/sh", MARK: str(home)}
    return {**mine, **variables, "PATH": path, "DMTOOLS_HOME": str(home)}


def run(line: Line, env: Mapping[str, str], strike: Strike | None = None, tick: Callable[[], None] = lambda: None) -> Ran:
    """Runs one line to its end, or to its end by SIGKILL."""
    begun = time.monotonic()
    mail = Path(env["DMTOOLS_HOME"]) / "log" / "cron.out"
    with mail.open("ab") as out:
        start = out.tell()
        process = subprocess.Popen(
            ["/bin/sh", "-c", line.command], env=env, stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True
        )
        killed = False
        try:
            _give(process, line.stdin)
            while process.poll() is None:
                if strike and not strike.done and strike.sign():
                    strike.done = True
                    killed = strike.act is None
                    _kill(process) if strike.act is None else strike.act()
                elif time.monotonic() - begun > LIMIT:
                    _kill(process)
                tick()
                time.sleep(0.001 if strike and not strike.done else 0.02)
        finally:
            _kill(process)  # when this demo is stopped
            process.wait()
    with mail.open("rb") as told:
        told.seek(start)
        said = told.read().decode("utf-8", "replace")
    code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return Ran(line, code, time.monotonic() - begun, said, killed)


def _give(process: subprocess.Popen[bytes], text: str) -> None:
    if process.stdin:
        with suppress(BrokenPipeError):
            process.stdin.write(text.encode())
            process.stdin.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def grows(folder: Path) -> Callable[[], bool]:
    """A sign: the folder holds a list that it did not hold when it was first looked at."""
    before: list[set[str]] = []

    def sign() -> bool:
        now = lists(folder)
        if not before:
            before.append(now)
        return bool(now - before[0])

    return sign


def lists(folder: Path) -> set[str]:
    """The list files that stand in a folder; hidden names are files in the making."""
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()}
