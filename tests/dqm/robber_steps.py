"""What the tests of dqm-robber share: a HOME with its page, a robber that goes on, what it wrote, what it left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dmtools.dqm import generations, record
from dmtools.dqm.record import RobberSays
from dmtools.dqm.robbing import processes
from tests.support import TEST_MARK, command, environment, wait_until

QUICK = {"robber_seconds": 0.05, "sleep_seconds": 3, "grab_seconds": 10, "back_off_seconds": 2}


def configure(home: Path, *sites: tuple[str, str], **keys: object) -> None:
    """[dqm] of the settings file: these sites (none: the simulator's two) and keys, quick ones unless told otherwise."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in (QUICK | keys).items()]
    if sites:
        lines.append("sites = [" + ", ".join(f'{{name = "{name}", url = "{url}"}}' for name, url in sites) + "]")
    file = home / "dmtools.toml"
    file.write_text(file.read_text().partition("\n[dqm]\n")[0] + "\n[dqm]\n" + "\n".join(lines) + "\n")


class Robber:
    """`dqm-robber --loop ...` in a process of its own."""

    def __init__(self, home: Path, *options: object) -> None:
        self.home, self.log = home, home / "robber-loop.log"
        with self.log.open("ab") as log:
            argv = command("dqm-robber", "--loop", *options)
            self.process = subprocess.Popen(argv, env=environment(home), stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    @property
    def said(self) -> str:
        return self.log.read_text()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal; gives the exit code."""
        self.process.send_signal(how)
        return self.process.wait(60)

    def named(self, name: str) -> list[int]:
        """Its descendants of this name, as `ps -o comm` has it."""
        return [pid for pid in self.all() if comm(pid).startswith(name)]

    def all(self) -> list[int]:
        """All that it started, below itself."""
        return processes.descendants([self.process.pid])


@contextmanager
def going(home: Path, *options: object) -> Iterator[Robber]:
    """One that goes on until the end of the block; nothing of it stays, whatever happens there."""
    robber = Robber(home, *options)
    try:
        yield robber
    finally:
        if robber.process.poll() is None:
            robber.stop()


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def says(home: Path, site: str = "production") -> RobberSays | None:
    """robber.json."""
    return record.read(home / "dqm/raw" / site / "robber.json", RobberSays)


def got(home: Path, site: str = "production") -> RobberSays:
    """robber.json, once the page was got and is in no trouble."""

    def found() -> RobberSays | None:
        told = says(home, site)
        return told if told and told.confirmed and not told.trouble else None

    told: RobberSays = wait_until(found, 90, f"{site} is got: {says(home, site)}")
    return told


def in_trouble(home: Path, trouble: str, site: str = "production") -> RobberSays:
    """robber.json, once it tells of this trouble."""

    def found() -> RobberSays | None:
        told = says(home, site)
        return told if told and told.trouble == trouble else None

    told: RobberSays = wait_until(found, 90, f"{site} is in trouble {trouble!r}: {says(home, site)}")
    return told


def newest(
    home: Path, site: str = "production", run: int | None = None
) -> tuple[generations.Generation, dict[str, bytes]] | None:
    """The grab in force, with its files."""
    place = home / "dqm/raw" / site
    return generations.load_newest(place / "live" if run is None else place / "runs" / str(run))


def grabbed(home: Path, site: str = "production", run: int | None = None) -> tuple[generations.Generation, dict[str, bytes]]:
    """The same; there must be one."""
    found = newest(home, site, run)
    assert found, f"nothing was grabbed of {site}, run {run}"
    return found


def documents(files: dict[str, bytes]) -> dict[str, Any]:
    """documents.json."""
    found: dict[str, Any] = json.loads(files["documents.json"])
    return found


def leftovers(home: Path) -> list[str]:
    """What no robber may leave: its processes, rooms, half-made files."""
    left = [str(path) for path in (home / "run/dqm").glob("*") if path.suffix != ".lock"]
    left += [str(path) for path in (home / "dqm/raw").rglob(".*")]
    mark = f"{TEST_MARK}={os.environ[TEST_MARK]}"
    return left + [f"{pid} {comm(pid)}" for pid in processes.marked(mark) if is_of_a_robber(comm(pid))]


def is_of_a_robber(name: str) -> bool:
    words = (
        "chrom",
        "firefox",
        "gecko",
        "dqm-",
        "Web Content",
        "Isolated",
        "WebExtensions",
        "Socket Process",
        "Utility",
        "RDD",
        "Privileged",
    )
    return name.startswith(words)
