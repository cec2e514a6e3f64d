"""A HOME that can be put back as it was, its two FTS servers, and the passes over it: what each point of a sweep starts from."""

from __future__ import annotations

import compileall
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.faults.warm import Done, Warm
from tests.support import ROOT, environment

SERVERS = ("fts1", "fts2")
ROUND_SECONDS = 120  # how far the clock goes on with each round of passes, so that no list still waits
PRODUCER = ("migrate-producer", "--lists", "0", "--lfns", "3")
CONSUMER = ("migrate-consumer", "--lists", "0")
MONITOR = ("migrate-monitor",)
# Of each LFN: what becomes of it. The sources differ, one is empty; two names need encoding.
OUTCOMES: dict[bytes, str] = {
    b"/one/a": "Okay",
    b"/one/b and c": "Okay",
    b"/one/gone": "Missing",
    b"/two/d\xff": "Okay",
    b"no/absolute/name": "Bad",
    b"/two/e": "Okay",
    b"/three/f": "Okay",
    b"/three/g": "Okay",
    b"/three/h": "Okay",
}
FIRST_FAILURES = """\
[[fault]]
match = "/castor/two/e"
op = "fail"
reason = "TRANSFER [5] Input/output error"

[[fault]]
match = "/castor/three/"
op = "fail"
reason = "TRANSFER [104] Connection reset by peer"
"""


@dataclass(frozen=True)
class Edit:
    """A change of the tree's text: `old` must stand in the file exactly once."""

    file: str
    old: str
    new: str


class EditDoesNotFit(Exception):
    """The text that an edit wants to change is not there (any more): the control of a sweep must be mended."""


def copy_tree(place: Path, edits: Sequence[Edit] = (), origin: Path = ROOT) -> Path:
    """A copy of bin and dmtools, with these edits, compiled; what others write into the checkout meanwhile changes nothing."""
    for name in ("bin", "dmtools"):
        shutil.copytree(origin / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for edit in edits:
        path = place / edit.file
        text = path.read_text("utf-8")
        if text.count(edit.old) != 1:
            raise EditDoesNotFit(f"{edit.file} holds {text.count(edit.old)} times, not once:\n{edit.old}")
        path.write_text(text.replace(edit.old, edit.new), "utf-8")
    if not compileall.compile_dir(place / "dmtools", quiet=1):
        raise EditDoesNotFit(f"{place} can't be compiled")
    return place


def quick_place() -> Path:
    """A new directory in memory where there is room, so that fsync costs nothing."""
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 200 << 20
    return Path(tempfile.mkdtemp(prefix="dmf-", dir=memory if roomy else None))


def seed_for(low: bool) -> str:
    """A seed of $DMTOOLS_SEED whose first choices all fall on the first server (low) or on the second."""
    for seed in range(1000):
        dice = random.Random(seed)
        if all((dice.random() < 0.5) == low for _ in range(4)):
            return str(seed)
    raise AssertionError("no such seed")


FIRST_SEED, OTHER_SEED = seed_for(low=True), seed_for(low=False)


@dataclass
class Machine:
    """One worker's place: HOME is always at the same path, whatever template it was last filled from."""

    tree: Path
    place: Path = field(default_factory=quick_place)
    rounds: int = 0
    _sim: int | None = None

    def __post_init__(self) -> None:
        self.home = self.place / "home"
        self.warm = Warm(self.tree, self.place)

    # ---- the HOME

    def init(self, lfns: Sequence[bytes] = tuple(OUTCOMES)) -> None:
        """A fresh HOME with sources and a master list."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.rounds = 0
        self.expect(self.run("dm-config", "init", str(self.home)), 0)
        settings = self.home / "dmtools.toml"
        settings.write_text("migrate.retry_seconds = 1\n" + settings.read_text("utf-8"), "utf-8")
        for lfn in lfns:
            if lfn.startswith(b"/") and not lfn.endswith(b"/gone"):
                path = os.fsencode(self.home / "demo/castor") + lfn
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as file:
                    file.write(b"" if lfn == b"/one/a" else random.Random(lfn).randbytes(300))
        (self.home / "migrate/TODO/ListOfLFNs/master.txt").write_bytes(b"".join(lfn + b"\n" for lfn in lfns))

    def keep(self, name: str) -> None:
        """Keeps HOME, servers' tables and clock as a template. The servers must be stopped."""
        assert self._sim is None
        shutil.rmtree(self.place / name, ignore_errors=True)
        self._copy(self.home, self.place / name)
        (self.place / f"{name}.rounds").write_text(str(self.rounds))

    def fill(self, name: str) -> None:
        """HOME as it was kept."""
        self.stop_servers(kill=True)
        shutil.rmtree(self.home, ignore_errors=True)
        self._copy(self.place / name, self.home)
        self.rounds = int((self.place / f"{name}.rounds").read_text())

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)

    # ---- commands

    def environment(self, seed: str = OTHER_SEED, offset: float | None = None) -> dict[str, str]:
        """The environment of a command on this HOME, at the clock of this round."""
        clock = self.rounds * ROUND_SECONDS if offset is None else offset
        own = {"DMTOOLS_CLOCK_OFFSET": str(clock), "DMTOOLS_SEED": seed, "PYTHONPATH": str(self.tree)}
        return environment(self.home, own)

    def run(self, *argv: str, seed: str = OTHER_SEED, offset: float | None = None, killed_after: float | None = None) -> Done:
        """A command, in a fork of the warm process; its code is negative when it was killed so many seconds after its start."""
        return self.warm.run(*argv, env=self.environment(seed, offset), killed_after=killed_after)

    @staticmethod
    def expect(done: Done, *codes: int) -> Done:
        """Fails when the command ended otherwise."""
        assert done.code in codes, done
        return done

    # ---- servers

    def start_servers(self) -> None:
        """Both FTS servers, with the tables of HOME."""
        env = environment(self.home, {"PYTHONPATH": str(self.tree)})
        self._sim = self.warm.serve("dm-sim", "fts", "--port", "0", env=env, listening=2)

    def stop_servers(self, kill: bool = False) -> None:
        """Ends them."""
        if self._sim is not None:
            self.warm.stop(self._sim, signal.SIGKILL if kill else signal.SIGTERM)
            self._sim = None

    def faults(self, text: str) -> None:
        """The faults of both servers, from now on."""
        for name in SERVERS:
            (self.home / "run/sim" / f"{name}.faults.toml").write_text(text)

    def ask(self, name: str, path: str) -> Any:
        """GET of one server."""
        told = json.loads((self.home / "run/sim" / f"{name}.json").read_text())
        request = urllib.request.Request(told["url"] + path, headers={"Authorization": f"Bearer {told['token']}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def records(self, kind: str) -> list[dict[str, Any]]:
        """The servers' own records: `copies` or `submissions`, each row with the name of its server."""
        return [{**row, "server": name} for name in SERVERS for row in self.ask(name, f"/sim/{kind}")]

    def wait_for_servers(self, seconds: float = 60) -> None:
        """Until no job is live at either."""
        live = quote("SUBMITTED,READY,ACTIVE,STAGING,ARCHIVING,STARTED", safe="")
        end = time.monotonic() + seconds
        while any(self.ask(name, f"/jobs?state_in={live}&limit=0") for name in SERVERS):
            assert time.monotonic() < end, "the servers' jobs did not end"
            time.sleep(0.01)

    # ---- passes

    def round(self) -> list[Done]:
        """One round of plain passes, as cron would start them, a while later than the one before."""
        self.rounds += 1
        done = [self.run(*PRODUCER), self.run(*CONSUMER)]
        self.wait_for_servers()
        return [*done, self.run(*MONITOR)]

    def to_the_end(self, most: int = 6) -> list[Done]:
        """Rounds until nothing is open; no more than `most`."""
        done: list[Done] = []
        for _ in range(most):
            done += self.round()
            if not self.open():
                break
        return done

    def open(self) -> list[str]:
        """What the tables say is not finished."""
        with closing(self.tables()) as db:
            lists = [f"list {n} {s}" for n, s in db.execute("SELECT name, state FROM filelist WHERE state != 'done'")]
            masters = [f"master list {n} {s}" for n, s in db.execute("SELECT name, state FROM master WHERE state != 'read'")]
        return lists + masters + [f"uncut {p.name}" for p in (self.home / "migrate/TODO/ListOfLFNs").iterdir() if p.is_file()]

    def tables(self) -> sqlite3.Connection:
        """The database, by sqlite3 alone; to be closed."""
        return sqlite3.connect(f"file:{self.home}/dmtools.db?mode=ro", uri=True)

    def close(self) -> None:
        """Ends the servers and takes the place away."""
        self.stop_servers(kill=True)
        self.warm.close()
        shutil.rmtree(self.place, ignore_errors=True)
