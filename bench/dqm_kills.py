"""SIGKILL at random moments: what is left? .venv/bin/python bench/dqm_kills.py [--kills 200] [--browser firefox] [--seed N]

`dqm-robber --loop` with a real browser on a simulated page that moves. Again and again, after a random time (also while the
browser starts), one is killed: the command, its keeper, its grabber, the browser's driver, the browser, or all of ours at once.
A sample a line: who; after how long; how many processes were below it; how long until all of them were gone (wanted: 5 s at
most); then, when the command was killed, what is left of processes and files. Wanted: nothing; when all were killed at once, or
a command that had no keeper at that moment, the next start empties the room. At the end SIGTERM, and the same look. Exits 0
when all is as wanted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dmtools.dqm.robbing import processes  # noqa: E402

VICTIMS = ("command", "keeper", "grabber", "driver", "browser", "all")
GONE_SECONDS = 5.0


class Robber:
    """The command with its page, in a HOME of its own."""

    def __init__(self, home: Path, browser: str) -> None:
        self.home, self.room = home, home / "run/dqm/production"
        with (home / "dmtools.toml").open("a") as file:
            sites = '[{name = "production", url = "sim:dqm/production"}]'
            file.write(f'\n[dqm]\nbrowser = "{browser}"\nsites = {sites}\nrobber_seconds = 0.1\nback_off_seconds = 1\n')
        self.env = {**os.environ, "DMTOOLS_HOME": str(home), "LC_ALL": "C.UTF-8"}
        self.sim = self.start("dm-sim", "dqm", "--port", "0", out=subprocess.PIPE)
        assert self.sim.stdout
        self.sim.stdout.readline()
        self.command = self.start("dqm-robber", "--loop")

    def start(self, name: str, *words: str, out: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        argv = [sys.executable, str(ROOT / "bin" / name), *words]
        return subprocess.Popen(argv, env=self.env, stdout=out, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def again(self) -> None:
        if self.command.poll() is None:
            return
        self.command = self.start("dqm-robber", "--loop")

    def pids(self, victim: str) -> list[int]:
        below = processes.descendants([self.command.pid])
        names = {pid: comm(pid) for pid in below}
        if victim == "command":
            return [self.command.pid]
        if victim == "all":
            return [self.command.pid, *(pid for pid in below if names[pid].startswith("dqm-"))]
        wanted = {"keeper": "dqm-production", "grabber": "dqm-grabber", "driver": ("chromedriver", "geckodriver")}
        if victim in wanted:
            return [pid for pid in below if names[pid].startswith(wanted[victim])][:1]
        drivers = [pid for pid in below if "driver" in names[pid]]
        return [pid for pid, parent in processes.parents().items() if parent in drivers][:1]

    def left(self) -> list[str]:
        """Files that no robber may leave."""
        rooms = [path.name for path in (self.home / "run/dqm").glob("*") if path.suffix != ".lock"]
        return rooms + [path.name for path in (self.home / "dqm").rglob(".*")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--browser", choices=("chromium", "firefox"), default="chromium")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    dice = random.Random(options.seed)
    print(f"seed {options.seed}, {options.browser}", flush=True)
    place = Path(tempfile.mkdtemp(prefix="dqk-", dir="/tmp"))
    subprocess.run([sys.executable, str(ROOT / "bin/dm-config"), "init", str(place / "h"), "-q"], check=True)
    temporary = set(os.listdir("/tmp"))
    robber = Robber(place / "h", options.browser)
    try:
        good = [kill(robber, number, dice) for number in range(1, options.kills + 1)]
        good.append(end(robber))
    finally:
        for process in (robber.command, robber.sim):
            process.terminate()
            process.wait(30)
        shutil.rmtree(place, ignore_errors=True)
    new = {name for name in set(os.listdir("/tmp")) - temporary if "hromium" in name or "moz" in name.lower()}
    print(f"in /tmp since the beginning, of any browser on this machine: {sorted(new) or 'nothing'}")
    tell()
    return 0 if all(good) else 1


SECONDS: dict[str, list[float]] = {victim: [] for victim in VICTIMS}
WRONG: Counter[str] = Counter()


def kill(robber: Robber, number: int, dice: random.Random) -> bool:
    """One sample."""
    robber.again()
    victim, wait = dice.choice(VICTIMS), dice.choice((dice.uniform(0.2, 2), dice.uniform(2, 8)))
    time.sleep(wait)
    pids = until(lambda: robber.pids(victim), 60)
    mine = sorted({*pids, *processes.descendants(pids)})
    kept = bool(robber.pids("keeper"))
    begun = time.monotonic()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if victim in ("command", "all"):
        robber.command.wait()
    gone = until(lambda: not [pid for pid in mine if alive(pid)], 30)
    seconds = time.monotonic() - begun
    left = files_left(robber, victim, kept=kept)
    good = bool(gone) and seconds < GONE_SECONDS and not left
    SECONDS[victim].append(seconds)
    WRONG[victim] += not good
    alive_now = [f"{pid} {comm(pid)}" for pid in mine if alive(pid)]
    said = "good" if good else f"WRONG {alive_now} {left}"
    print(f"{number:4} {victim:8} after {wait:4.1f} s, {len(mine):2} processes, gone in {seconds:5.3f} s: {said}", flush=True)
    return good


def files_left(robber: Robber, victim: str, *, kept: bool) -> list[str]:
    """After the command's death: by its keeper, if it had one; else, and after that of all, by the next start."""
    if victim == "command" and kept:
        return [] if until(lambda: not robber.left(), 5) else robber.left()
    if victim in ("command", "all"):  # nobody is there now: what lies there waits for the next start
        with contextlib.suppress(FileNotFoundError):
            (robber.room / "canary").touch()
        robber.again()
        return [] if until(lambda: not (robber.room / "canary").exists(), 60) else ["canary"]
    return []


def end(robber: Robber) -> bool:
    """SIGTERM, the plain end."""
    robber.again()
    until(lambda: robber.pids("browser"), 60)
    below = processes.descendants([robber.command.pid])
    robber.command.terminate()
    code = robber.command.wait(30)
    left = [pid for pid in below if alive(pid)], robber.left()
    print(f"SIGTERM: exit code {code}, left {left}")
    return code == 143 and left == ([], [])


def tell() -> None:
    for victim, seconds in SECONDS.items():
        if seconds:
            gone = f"median {median(seconds):.3f} s, most {max(seconds):.3f} s"
            print(f"{victim:8} {len(seconds):3} kills, gone: {gone}, wrong {WRONG[victim]}")
    print(f"{sum(map(len, SECONDS.values()))} kills, {sum(WRONG.values())} wrong")


def until(condition: Callable[[], object], seconds: float) -> object:
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return found


def alive(pid: int) -> bool:
    """Zombies are dead; a number that another process has by now is taken for dead by its parent's absence."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
