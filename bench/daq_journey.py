#!/usr/bin/env python3
"""The whole journey of daq: a DAQ writes and writes; its disks go to site and tape, and all of it comes back.

    .venv/bin/python bench/daq_journey.py                     # 5,000 files, 4 disks, 250 files a disk
    .venv/bin/python bench/daq_journey.py --files 40 --a-disk 5

A thread of this program is the DAQ: it fills a disk, flags it ReadyToTransfer, and goes on with the next one that has
ReadyForData. What it writes it also writes to a tree of its own, under the LFNs. Passes of daq-transfer and daq-archive follow
each other, as cron would start them, only sooner; zip jobs are local processes, FTS is dm-sim fts, the tape a directory. At the
end all is restored from tape, and `diff -r` compares that with the tree, and the site with the tree. Exit code 0: both are equal,
and each zip came to tape once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATE = "261126"


class Daq(threading.Thread):
    """Fills disks that it may write to, until all files are written."""

    def __init__(self, home: Path, files: int, a_disk: int, size: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.disks = [home / f"demo/daq/data{n}" for n in range(1, 5)]
        self.origin = home / "origin"
        self.files, self.a_disk, self.size = files, a_disk, size
        self.dice = random.Random(seed)
        self.written, self.waited, self.stop = 0, 0.0, False

    def run(self) -> None:
        """Writes the files; a disk that is full is flagged."""
        fresh = set(self.disks)
        while self.written < self.files and not self.stop:
            disk = self._next(fresh)
            if disk is None:
                self.waited += 0.05
                time.sleep(0.05)
                continue
            fresh.discard(disk)
            (disk / "ReadyForData").unlink(missing_ok=True)
            for _ in range(min(self.a_disk, self.files - self.written)):
                self._write(disk)
            (disk / "ReadyToTransfer").touch()

    def _next(self, fresh: set[Path]) -> Path | None:
        free = [disk for disk in self.disks if disk in fresh or (disk / "ReadyForData").exists()]
        return free[0] if free else None

    def _write(self, disk: Path) -> None:
        number = self.written
        run = number // 100
        below = f"MIG_run{run:04d} ü/raw/run{run:04d}_{number:06d}_{DATE}T101010.dat"
        data = self.dice.randbytes(max(1, int(self.dice.lognormvariate(0, 0.5) * self.size))) if number % 500 else b""
        for place in (disk / below, self.origin / DATE[:4] / DATE / below):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        self.written += 1


class Journey:
    """A HOME, its server, its passes."""

    def __init__(self, home: Path, words: argparse.Namespace) -> None:
        self.home, self.words = home, words
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DMTOOLS_", "X509_"))}
        self.env = {**kept, "DMTOOLS_HOME": str(home), "LC_ALL": "C.UTF-8"}
        self.passes = 0
        self.seconds: dict[str, float] = {}

    def command(self, name: str, *more: object) -> str:
        """Runs it to its end; ends the bench when it fails."""
        begun = time.monotonic()
        argv = [sys.executable, str(ROOT / "bin" / name), *map(str, more)]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, check=False)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - begun
        if done.returncode not in (0, 1):
            raise SystemExit(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr}")
        return done.stdout

    def tally(self) -> dict[str, int]:
        """Files by state."""
        with closing(sqlite3.connect(f"file:{self.home}/dmtools.db?mode=ro", uri=True, timeout=60)) as db:
            return {
                state: n for state, n in db.execute("SELECT state, sum(n) FROM tally WHERE pipeline='daq' GROUP BY state") if n
            }

    def go(self) -> dict[str, Any]:
        """All of it; gives what was measured."""
        self.command("dm-config", "init", self.home, "--port-base", self.words.port_base)
        with (self.home / "dmtools.toml").open("a") as file:
            file.write("[daq]\nretry_seconds = 1\nmax_jobs = 300\n[fts]\nservers = [{name = 'fts1', url = 'sim:fts1'}]\n")
        log = (self.home / "log/sim.out").open("wb")
        argv = [sys.executable, str(ROOT / "bin/dm-sim"), "fts", "--name", "fts1", "--port", "0"]
        server = subprocess.Popen(argv, env=self.env, stdout=log, stderr=log)
        try:
            while not (self.home / "run/sim/fts1.json").exists():
                time.sleep(0.05)
            return self._go()
        finally:
            server.terminate()
            server.wait()
            log.close()

    def _go(self) -> dict[str, Any]:
        daq = Daq(self.home, self.words.files, self.words.a_disk, self.words.size, self.words.seed)
        begun = time.monotonic()
        daq.start()
        said = 0.0
        while daq.is_alive() or self.tally().get("Freed", 0) < self.words.files or not self._is_empty(daq):
            if time.monotonic() - begun > self.words.deadline:
                daq.stop = True
                raise SystemExit(f"not done within {self.words.deadline} s: {self.tally()}, {daq.written} written")
            self.command("daq-transfer", "-q")
            self.command("daq-archive", "-q")
            self.passes += 2
            if time.monotonic() - said > 10:
                said = time.monotonic()
                print(f"{said - begun:7.0f} s  {daq.written} written  {self.tally()}", file=sys.stderr, flush=True)
        there = time.monotonic() - begun
        names = self.home / "all.txt"
        origin = daq.origin
        names.write_text("".join(f"/{path.relative_to(origin)}\n" for path in sorted(origin.rglob("*.dat"))), "utf-8")
        again = time.monotonic()
        self.command("daq-restore", "--list", names, "--to", self.home / "back", "-q")
        restored = time.monotonic() - again
        differs = self._differs(origin, self.home / "back", "restored")
        differs += self._differs(origin, self.home / "demo/site", "site", "-x", "zips")
        zips = sum(1 for path in (self.home / "demo/tape").rglob("*.zip"))
        size = sum(path.stat().st_size for path in origin.rglob("*.dat"))
        with closing(sqlite3.connect(self.home / "dmtools.db")) as db:
            (copies,) = db.execute("SELECT count(*) FROM transfer WHERE pipeline = 'daq' AND state = 'Okay'").fetchone()
        good = not differs and zips == copies == self.words.files
        return {
            "good": good,
            "files": self.words.files,
            "bytes": size,
            "passes": self.passes,
            "seconds_to_tape_and_off_the_disks": round(there, 1),
            "seconds_the_daq_waited_for_a_disk": round(daq.waited, 1),
            "seconds_to_restore_all": round(restored, 1),
            "seconds_by_command": {name: round(seconds, 1) for name, seconds in self.seconds.items()},
            "zips_on_tape": zips,
            "diff": differs[:10],
        }

    def _is_empty(self, daq: Daq) -> bool:
        """All disks are handed back, with nothing but the flag on them."""
        return {name for disk in daq.disks for _, _, names in os.walk(disk) for name in names} == {"ReadyForData"}

    def _differs(self, one: Path, other: Path, what: str, *more: str) -> list[str]:
        done = subprocess.run(["diff", "-r", *more, str(one), str(other)], capture_output=True, text=True, check=False)
        return [f"{what}: {line}" for line in (done.stdout + done.stderr).splitlines()]


def main() -> int:
    """The bench; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--a-disk", type=int, default=250, help="files until a disk is full")
    parser.add_argument("--size", type=int, default=20_000, help="bytes of a file, in the middle of them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deadline", type=float, default=7200, help="seconds until it is given up")
    parser.add_argument("--port-base", type=int, default=18800)
    parser.add_argument("--keep", metavar="DIR", help="make its HOME here, and leave it")
    words = parser.parse_args()
    home = Path(words.keep).absolute() if words.keep else Path(tempfile.mkdtemp(prefix="daq-journey-")) / "home"
    try:
        told = Journey(home, words).go()
    finally:
        if not words.keep:
            shutil.rmtree(home.parent, ignore_errors=True)
    print(json.dumps(told, indent=1, ensure_ascii=False))
    return 0 if told["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
